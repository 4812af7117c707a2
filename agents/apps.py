from django.apps import AppConfig


class AgentsConfig(AppConfig):
    """Registers the app, its tasks and checks, and the dispatcher of each worker."""

    name = "agents"

    def ready(self) -> None:
        """Make the tasks known, and let each worker process run a dispatcher."""
        from celery.signals import worker_ready, worker_shutting_down

        from agents import dispatcher, tasks  # noqa: F401

        worker_ready.connect(dispatcher.start, dispatch_uid="dispatcher-start")
        worker_shutting_down.connect(dispatcher.stop, dispatch_uid="dispatcher-stop")
