from types import ModuleType

from django.apps import AppConfig


class PluginsConfig(AppConfig):
    """Registers the app, its tasks, and the service by which events wake the workers."""

    name = "plugins"

    def ready(self) -> None:
        """Import the tasks, so that whoever sends one by name knows it."""
        from plugins import tasks  # noqa: F401
        from plugins.services import register_service

        register_service("wakeups", _wakeups)


def _wakeups() -> ModuleType:
    # Stands above the floor of events, which reach it by name.
    from agents import wakeups

    return wakeups
