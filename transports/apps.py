from django.apps import AppConfig


class TransportsConfig(AppConfig):
    """Registers the app and its task."""

    name = "transports"

    def ready(self) -> None:
        """Make the task known, so that whoever sends it by name knows it."""
        from transports import tasks  # noqa: F401
