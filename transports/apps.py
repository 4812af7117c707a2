from django.apps import AppConfig


class TransportsConfig(AppConfig):
    """Registers the app."""

    name = "transports"
