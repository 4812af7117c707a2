from django.apps import AppConfig


class MemoryConfig(AppConfig):
    """Registers the app."""

    name = "memory"
