from django.apps import AppConfig


class PluginsConfig(AppConfig):
    """Registers the app."""

    name = "plugins"
