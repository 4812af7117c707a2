"""Who calls the API: a page by its session, a program by its key.

The API's operations find the caller in `request.auth`.

A key is `eliza_<prefix>_<secret>`. The secret is 32 random bytes, so a plain SHA-256 is a sufficient hash.
A program with a key acts as the key's user, the same account that the user's own pages use.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
from importlib import import_module
from typing import Any

from cachetools import TTLCache, cached
from cachetools.keys import hashkey
from django.conf import settings
from django.contrib.auth import get_user
from django.contrib.auth.models import AbstractBaseUser, AnonymousUser, User
from django.http import HttpRequest
from ninja.errors import HttpError
from ninja.security import APIKeyCookie, APIKeyHeader, HttpBearer
from ninja.utils import check_csrf

from agents.conversations import Caller
from transports.models import ApiKey
from transports.web.payloads import PLATFORM

VERIFIED_KEYS_STAY_FRESH_SECONDS = 10.0
VISITOR = "visitor"
SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})


def create_api_key(name: str, user: User) -> str:
    """Make a key that speaks for the user, and return it: only its hash is kept."""
    prefix, secret = secrets.token_hex(4), secrets.token_hex(32)
    ApiKey.objects.create(name=name, prefix=prefix, key_hash=_hash(secret), user=user)
    return f"eliza_{prefix}_{secret}"


def caller_of_user(user: AbstractBaseUser) -> Caller:
    """Return the caller that a signed-in user is."""
    assert isinstance(user, User), f"{user!r} is no user of this site"
    return Caller(
        platform=PLATFORM,
        external_id=f"user:{user.pk}",
        name=user.get_full_name() or user.get_username(),
        username=user.get_username(),
        user_id=user.pk,
    )


def introduce_visitor(request: HttpRequest) -> None:
    """Give a visitor who has none an id in the session, by which the API knows them again."""
    if not request.user.is_authenticated and VISITOR not in request.session:
        request.session[VISITOR] = secrets.token_hex(16)


class BearerKey(HttpBearer):
    """`Authorization: Bearer eliza_…`"""

    def authenticate(self, request: HttpRequest, token: str) -> Caller:  # noqa: ARG002
        """Return whom the key speaks for.

        Raises: HttpError 401.
        """
        return _caller_of_key(token.strip())


class HeaderKey(APIKeyHeader):
    """`X-API-Key: eliza_…`"""

    param_name = "X-API-Key"

    def authenticate(self, request: HttpRequest, key: str | None) -> Caller | None:  # noqa: ARG002
        """Return whom the key speaks for; None without one.

        Raises: HttpError 401.
        """
        return _caller_of_key(key.strip()) if key else None


class PageSession(APIKeyCookie):
    """The session that the chat page opened; unsafe methods need the page's CSRF token."""

    param_name = settings.SESSION_COOKIE_NAME

    def _get_key(self, request: HttpRequest) -> str | None:
        return request.COOKIES.get(self.param_name)

    def authenticate(self, request: HttpRequest, key: str | None) -> Caller | None:
        """Return the signed-in user or the visitor of the session; None where there is neither.

        Raises: HttpError 403 without the CSRF token.
        """
        if not key:
            return None
        if request.method not in SAFE_METHODS and check_csrf(request) is not None:
            raise HttpError(
                403, "The page's X-CSRFToken header is missing or old: reload the page, or use an API key."
            )
        if not hasattr(request, "session"):
            request.session = import_module(settings.SESSION_ENGINE).SessionStore(key)
        user = get_user(request)
        if not isinstance(user, AnonymousUser):
            return caller_of_user(user)
        visitor: Any = request.session.get(VISITOR)
        return Caller(platform=PLATFORM, external_id=f"visitor:{visitor}", name="Guest") if visitor else None


AUTHENTICATION = [BearerKey(), HeaderKey(), PageSession()]


def _caller_of_key(key: str) -> Caller:
    caller = _verify(_hash(key), key)
    if caller is None:
        raise HttpError(
            401,
            "This API key isn't known or was revoked: `manage.py create_api_key NAME --user USER` makes one.",
        )
    return caller


_verified: TTLCache[object, Caller | None] = TTLCache(maxsize=4096, ttl=VERIFIED_KEYS_STAY_FRESH_SECONDS)


@cached(_verified, key=lambda whole_hash, _key: hashkey(whole_hash), lock=threading.Lock())
def _verify(_whole_hash: str, key: str) -> Caller | None:
    """Return whom the key speaks for. Kept for a moment, by the key's hash."""
    parts = key.split("_")
    if len(parts) != 3 or parts[0] != "eliza" or not parts[1].isalnum():
        return None
    row = ApiKey.objects.select_related("user").filter(prefix=parts[1], revoked_at__isnull=True).first()
    if row is None or not hmac.compare_digest(row.key_hash, _hash(parts[2])):
        return None
    return caller_of_user(row.user) if row.user.is_active else None


def forget_verified_keys() -> None:
    """Forget which keys were verified, so that a change is seen at once."""
    _verified.clear()


def _hash(secret: str) -> str:
    return hashlib.sha256(secret.encode(errors="surrogatepass")).hexdigest()
