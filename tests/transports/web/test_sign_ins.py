"""What the site knows of people who sign in: found by their accounts, forgotten, and told without secrets."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.auth.models import User
from django.contrib.sessions.backends.db import SessionStore
from django.contrib.sessions.models import Session

from plugins.registry import find_service
from transports.models import ApiKey
from transports.web.auth import create_api_key
from transports.web.sign_ins import SignIns

pytestmark = pytest.mark.django_db


def open_session(**known: str) -> str:
    session = SessionStore()
    session.update(known)
    session.create()
    assert session.session_key is not None
    return session.session_key


@pytest.fixture
def two() -> Any:
    """Two users with keys and sessions each, and two visitors."""
    users = [User.objects.create_user(name, email=f"{name}@mail.example") for name in ("ann", "bob")]
    for user in users:
        create_api_key(f"{user.username}'s", user)
        open_session(_auth_user_id=str(user.pk))
    sessions = [open_session(visitor=visitor) for visitor in ("abc", "def")]
    return users, sessions


def test_it_is_the_service_that_lower_floors_ask() -> None:
    assert isinstance(find_service("sign_ins"), SignIns)


def test_a_users_row_keys_and_sessions_go_and_no_others(two: Any) -> None:
    (ann, bob), _sessions = two
    accounts = [["web", f"user:{ann.pk}"], ["telegram", f"user:{bob.pk}"], ["web", "user:x"]]
    assert SignIns().count(accounts) == {"api_keys": 1, "sessions": 1, "users": 1}
    assert Session.objects.count() == 4
    assert SignIns().forget(accounts) == {"api_keys": 1, "sessions": 1, "users": 1}
    assert list(User.objects.values_list("username", flat=True)) == ["bob"]
    assert ApiKey.objects.get().user == bob
    assert Session.objects.count() == 3
    assert SignIns().forget(accounts) == {"api_keys": 0, "sessions": 0, "users": 0}


def test_a_visitors_session_goes(two: Any) -> None:
    _users, (abc, other) = two
    assert SignIns().forget([["web", "visitor:abc"]])["sessions"] == 1
    assert not Session.objects.filter(pk=abc).exists()
    assert Session.objects.filter(pk=other).exists()


@pytest.mark.parametrize("right", ["is_staff", "is_superuser"])
def test_who_may_see_the_admin_stays(two: Any, right: str) -> None:
    (ann, _bob), _sessions = two
    User.objects.filter(pk=ann.pk).update(**{right: True})
    assert SignIns().forget([["web", f"user:{ann.pk}"]]) == {"api_keys": 0, "sessions": 0, "users": 0}
    assert User.objects.filter(pk=ann.pk).exists()


def test_what_is_told_has_no_secret(two: Any, django_assert_num_queries: Any) -> None:
    (ann, bob), _sessions = two
    with django_assert_num_queries(2):
        told = SignIns().export([["web", f"user:{ann.pk}"], ["web", f"user:{bob.pk}"]])
    assert [user["email"] for user in told] == ["ann@mail.example", "bob@mail.example"]
    assert [key["name"] for key in told[0]["api_keys"]] == ["ann's"]
    key = ApiKey.objects.get(user=ann)
    assert key.key_hash not in str(told)
    assert key.prefix not in str(told)
