"""The chat page: the shell that `chat.js` fills through the API."""

from __future__ import annotations

from uuid import UUID

from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.csrf import ensure_csrf_cookie
from django.views.decorators.http import require_safe

from transports.web.auth import introduce_visitor

CONTENT_SECURITY_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self';"
    " font-src 'self'; base-uri 'none'; form-action 'self'; frame-ancestors 'none'"
)


@require_safe
@ensure_csrf_cookie
def chat(request: HttpRequest, room: UUID | None = None) -> HttpResponse:  # noqa: ARG001
    """Show the page; the room stands in its address, and its script reads it from there."""
    introduce_visitor(request)
    response = render(request, "web/chat.html", {"person": request.user, "is_sqlite": settings.IS_SQLITE})
    response["Content-Security-Policy"] = CONTENT_SECURITY_POLICY
    response["Cache-Control"] = "no-store"
    return response
