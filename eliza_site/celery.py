"""The Celery application that every worker, beat and publisher shares."""

import os

from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "eliza_site.settings")

app = Celery("eliza")
app.config_from_object("django.conf:settings", namespace="CELERY")
app.autodiscover_tasks()
