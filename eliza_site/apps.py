from django.apps import AppConfig


class ElizaSiteConfig(AppConfig):
    """Registers the site's own commands and checks."""

    name = "eliza_site"
