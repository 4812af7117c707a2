"""The site: settings, Celery, URLs, logs, health, and the servers of a single machine."""

import sys

from eliza_site import refusals
from eliza_site.celery import app as celery_app

sys.excepthook = refusals.explain

__all__ = ["celery_app"]
