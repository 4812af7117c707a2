"""What the site itself knows of whoever speaks on the web: users, their keys, sessions of pages.

The service `sign_ins`: `agents.forgetting` and `agents.exports` ask it by name, as accounts of the web are told
from others here alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from django.contrib.auth import SESSION_KEY
from django.contrib.auth.models import User
from django.contrib.sessions.models import Session

from transports.models import ApiKey
from transports.web.auth import VISITOR, forget_verified_keys
from transports.web.payloads import PLATFORM

BATCH = 1000
USER, COLON = "user", ":"


class SignIns:
    """Users and sessions by people's accounts, each a pair of network and account id.

    Users who may see the admin stay: they are operators, whom others must take out by hand. Their sessions and keys
    stay with them.
    """

    def forget(self, accounts: Sequence[Sequence[str]]) -> dict[str, int]:
        """Delete what the site knows, and return how many rows of which kind went."""
        users = self._users(accounts)
        keys = ApiKey.objects.filter(user__in=users)
        counts = {"api_keys": keys.delete()[0]}
        gone = [session.pk for session in self._sessions(accounts, {str(user.pk) for user in users})]
        counts["sessions"] = Session.objects.filter(pk__in=gone).delete()[0]
        counts["users"] = (
            User.objects.filter(pk__in=[user.pk for user in users]).delete()[1].get("auth.User", 0)
        )
        forget_verified_keys()
        return counts

    def count(self, accounts: Sequence[Sequence[str]]) -> dict[str, int]:
        """Count what `forget` would delete."""
        users = self._users(accounts)
        return {
            "api_keys": ApiKey.objects.filter(user__in=users).count(),
            "sessions": len(list(self._sessions(accounts, {str(user.pk) for user in users}))),
            "users": len(users),
        }

    def staff(self, accounts: Sequence[Sequence[str]]) -> list[str]:
        """Return the names of those of the users who stay, because they may see the admin."""
        users = User.objects.filter(pk__in=_keys(accounts, USER), is_staff=True)
        return sorted(users.values_list("username", flat=True))

    def export(self, accounts: Sequence[Sequence[str]]) -> list[dict[str, Any]]:
        """Return what the site knows of these users, without passwords and keys."""
        users = User.objects.filter(pk__in=_keys(accounts, USER)).order_by("pk")
        return [
            {
                "username": user.username,
                "first_name": user.first_name,
                "last_name": user.last_name,
                "email": user.email,
                "joined_at": user.date_joined.isoformat(),
                "last_login_at": user.last_login.isoformat() if user.last_login else None,
                "api_keys": [
                    {"name": key.name, "created_at": key.created_at.isoformat()}
                    for key in user.api_keys.all()
                ],
            }
            for user in users.prefetch_related("api_keys")
        ]

    def _users(self, accounts: Sequence[Sequence[str]]) -> list[User]:
        return list(User.objects.filter(pk__in=_keys(accounts, USER), is_staff=False, is_superuser=False))

    def _sessions(self, accounts: Sequence[Sequence[str]], users: set[str]) -> Iterator[Session]:
        visitors = set(_keys(accounts, VISITOR))
        if not visitors and not users:
            return
        after = ""
        while page := list(Session.objects.filter(pk__gt=after).order_by("pk")[:BATCH]):
            after = page[-1].pk
            for session in page:
                known = session.get_decoded()
                if known.get(VISITOR) in visitors or known.get(SESSION_KEY) in users:
                    yield session


def _keys(accounts: Sequence[Sequence[str]], kind: str) -> list[str]:
    """Return the keys of the web's accounts of this kind: users', or visitors'."""
    ids = [external_id for platform, external_id in accounts if platform == PLATFORM]
    keys = [key for found, _colon, key in (id.partition(COLON) for id in ids) if found == kind]
    return [key for key in keys if kind != USER or key.isdecimal()]
