"""The Celery application that every worker, beat and publisher shares."""

import os
from typing import Any

from celery import Celery, signals
from kombu.transport import TRANSPORT_ALIASES

from eliza_site import logs
from eliza_site.broker import ALIASES

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "eliza_site.settings")
TRANSPORT_ALIASES.update(ALIASES)

app = Celery("eliza")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()


@signals.celeryd_init.connect
def be_the_only_worker(**_signal: Any) -> None:
    """End a second worker process on SQLite before it takes anything; errors of a signal would only be logged."""
    from django.conf import settings
    from django.core.exceptions import ImproperlyConfigured

    if settings.IS_SQLITE:
        from eliza_site.sqlite.one_worker import hold_for_worker

        try:
            hold_for_worker(settings.DATABASE["NAME"])
        except ImproperlyConfigured as error:
            raise SystemExit(str(error)) from None


@signals.setup_logging.connect
def configure_logs(**_signal: Any) -> None:
    """Configure logs as everywhere else; where nobody hears this signal, Celery configures its own."""
    from django.conf import settings

    logs.configure(settings.LOGGING)


@signals.task_prerun.connect
def bind_task(task_id: str, task: Any, **_signal: Any) -> None:
    """Bind the log's lines to the task that begins on this thread."""
    logs.bind_task(task_id, task.name)


@signals.task_postrun.connect
def forget_task(**_signal: Any) -> None:
    """Bind them no longer."""
    logs.forget_task()


@signals.worker_ready.connect
def serve_metrics(**_signal: Any) -> None:
    """Serve the worker's metrics where a port is set for them."""
    from django.conf import settings

    if settings.WORKER_METRICS_PORT:
        from eliza_site import metrics

        metrics.serve(settings.HOST, settings.WORKER_METRICS_PORT)
