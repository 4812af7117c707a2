"""The API under /api/v1/: its routers, and its errors, which are always a sentence in `detail`."""

from __future__ import annotations

import json
import math
from typing import Any

import structlog
from django.core.exceptions import RequestDataTooBig
from django.db import DatabaseError
from django.http import Http404, HttpRequest, HttpResponse
from ninja import NinjaAPI
from ninja.errors import AuthenticationError, HttpError, ValidationError
from ninja.parser import Parser

from agents.api.agents import router as agents_router
from agents.api.memories import router as memories_router
from agents.inbox import Refused, TooMany
from transports.web.api import router as conversations_router
from transports.web.auth import AUTHENTICATION

log = structlog.get_logger(__name__)

MAX_BODY_BYTES = 1024 * 1024
TOO_LARGE = "The request is larger than 1 MB: send the message in parts."


class BoundedParser(Parser):
    """Reads JSON of at most MAX_BODY_BYTES, and says what is wrong with it."""

    def parse_body(self, request: HttpRequest) -> Any:
        """Return the request's JSON.

        Raises: HttpError 413 or 400.
        """
        if len(request.body) > MAX_BODY_BYTES:
            raise HttpError(413, TOO_LARGE)
        try:
            return json.loads(request.body)
        except (ValueError, RecursionError) as error:
            reason = "it is nested too deeply" if isinstance(error, RecursionError) else str(error)
            raise HttpError(400, f"The request's body is no JSON in UTF-8: {reason}.") from error


api = NinjaAPI(
    title="Eliza",
    version="1",
    description="Speak with the agents of this site. Answers come as server-sent events.",
    auth=AUTHENTICATION,
    parser=BoundedParser(),
    urls_namespace="api",
)
api.add_router("", agents_router)
api.add_router("", conversations_router)
api.add_router("", memories_router)


def not_found(request: HttpRequest) -> HttpResponse:
    """Answer an address of the API that isn't there."""
    return _error(request, 404, f"There is nothing at {request.path[:200]}: see /api/v1/docs.")


@api.exception_handler(HttpError)
def _on_http_error(request: HttpRequest, error: HttpError) -> HttpResponse:
    # Ninja turns whatever its parser raises into a 400 of its own; the parser's word is the better one.
    if isinstance(error.__cause__, HttpError):
        error = error.__cause__
    return _error(request, error.status_code, error.message)


@api.exception_handler(AuthenticationError)
def _on_stranger(request: HttpRequest, _stranger: AuthenticationError) -> HttpResponse:
    response = _error(
        request,
        401,
        "Nobody is signed in here: send an API key as `Authorization: Bearer …` (`manage.py create_api_key`"
        " makes one), or open the chat page first.",
    )
    response["WWW-Authenticate"] = "Bearer"
    return response


@api.exception_handler(ValidationError)
def _on_invalid(request: HttpRequest, error: ValidationError) -> HttpResponse:
    faults = [f"{_place(fault['loc'])}: {fault['msg']}" for fault in error.errors]
    return _error(request, 422, "; ".join(faults))


@api.exception_handler(TooMany)
def _on_too_many(request: HttpRequest, error: TooMany) -> HttpResponse:
    response = _error(request, 429, str(error))
    response["Retry-After"] = str(math.ceil(error.retry_after_seconds))
    return response


@api.exception_handler(Refused)
def _on_refused(request: HttpRequest, error: Refused) -> HttpResponse:
    return _error(request, 422, str(error))


@api.exception_handler(RequestDataTooBig)
def _on_too_big(request: HttpRequest, _too_big: RequestDataTooBig) -> HttpResponse:
    return _error(request, 413, TOO_LARGE)


@api.exception_handler(Http404)
def _on_not_found(request: HttpRequest, error: Http404) -> HttpResponse:
    return _error(request, 404, str(error) or "Not found.")


@api.exception_handler(DatabaseError)
def _on_database_away(request: HttpRequest, error: DatabaseError) -> HttpResponse:
    log.error("api_database_error", path=request.path, error=error)
    response = _error(request, 503, "The database can't be reached just now. Please try again in a moment.")
    response["Retry-After"] = "2"
    return response


@api.exception_handler(Exception)
def _on_defect(request: HttpRequest, error: Exception) -> HttpResponse:
    log.exception("api_request_failed", path=request.path, exc_info=error)
    return _error(request, 500, "Something went wrong here; it was written to the log. Please try again.")


def _place(location: tuple[str | int, ...]) -> str:
    """Name a fault's place as the caller knows it; a body is one object to them, not a parameter."""
    known = location[2:] if location[0] == "body" else location[1:]
    return ".".join(map(str, known)) or "body"


def _error(request: HttpRequest, status: int, detail: str) -> HttpResponse:
    return api.create_response(request, {"detail": detail}, status=status)
