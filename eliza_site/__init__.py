"""The site: settings, Celery, URLs, logs, health, and the servers of a single machine."""

from eliza_site.celery import app as celery_app

__all__ = ["celery_app"]
