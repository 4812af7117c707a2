"""The door for ASGI servers: uvicorn, which the Procfile starts."""

import os

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "eliza_site.settings")
os.environ.setdefault("DATABASE_HEALTH_CHECKS", "true")
django.setup(set_prefix=False)

from eliza_site.threaded import ThreadedHandler  # noqa: E402

application = ThreadedHandler()
