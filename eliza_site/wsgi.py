"""The door for WSGI servers; the token streams of the chat page want ASGI, all else works here too."""

import os

from django.core.wsgi import get_wsgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "eliza_site.settings")
os.environ.setdefault("DATABASE_HEALTH_CHECKS", "true")

application = get_wsgi_application()
