"""Every address of the site."""

from django.contrib import admin
from django.urls import URLPattern, URLResolver, path, re_path

from eliza_site import health
from eliza_site.api import api, not_found
from eliza_site.metrics import metrics
from transports.web.views import chat

urlpatterns: list[URLPattern | URLResolver] = [
    path("", chat, name="chat"),
    path("c/<uuid:room>", chat, name="conversation"),
    path("api/v1/", api.urls),
    re_path(r"^api/v1/", not_found),
    path("admin/", admin.site.urls),
    path("healthz", health.healthz),
    path("readyz", health.readyz),
    path("statusz", health.statusz),
    path("metrics", metrics, name="metrics"),
]
