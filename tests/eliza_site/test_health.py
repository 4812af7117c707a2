"""The three questions of whoever watches the site."""

import time

import pytest
from django.core.cache import cache
from django.test import Client

from agents.dispatcher import SEEN_AT_KEY, tell_alive
from eliza_site import health

pytestmark = pytest.mark.django_db(transaction=True)


def refuse() -> str:
    raise ConnectionError("secret-host:6379 refused")


def test_alive_is_answered_without_asking_anything(client: Client) -> None:
    assert client.get("/healthz").content == b"ok\n"


def test_ready_when_a_message_can_be_stored(client: Client) -> None:
    answer = client.get("/readyz")

    assert answer.status_code == 200
    assert answer.json()["degraded"] == []
    assert set(answer.json()["parts"]) == {"database", "migrations", "broker", "cache"}


def test_a_broker_that_fails_degrades_and_is_named(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "ask_broker", refuse)

    answer = client.get("/readyz")

    assert answer.status_code == 200
    assert answer.json()["degraded"] == ["broker"]
    assert answer.json()["parts"]["broker"]["detail"] == "ConnectionError"


def test_a_database_that_fails_is_not_ready(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "ask_database", refuse)

    answer = client.get("/readyz")

    assert answer.status_code == 503
    assert "secret-host" not in answer.content.decode()


def test_a_part_that_hangs_has_failed_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "PART_SECONDS", 0.2)

    def hang() -> str:
        time.sleep(1)
        return ""

    started_at = time.monotonic()
    parts = health.ask({"hanging": hang, "quick": lambda: "here"})

    assert time.monotonic() - started_at < 0.9
    assert not parts["hanging"].ok
    assert parts["quick"].detail == "here"


def test_status_names_each_part_that_is_missing(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "PING_SECONDS", 0.1)
    cache.delete(SEEN_AT_KEY)

    answer = client.get("/statusz")
    parts = answer.json()["parts"]

    assert answer.status_code == 503
    assert {name for name, part in parts.items() if not part["ok"]} == {"workers", "beat", "dispatcher"}


def test_status_is_good_when_every_part_answers(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(health, "find_nodes", lambda: ["worker-1@here", "celerybeat@here"])
    tell_alive()

    answer = client.get("/statusz")

    assert answer.status_code == 200
    assert answer.json()["parts"]["workers"]["detail"] == "worker-1@here"


def test_a_dispatcher_that_stood_still_is_told(client: Client) -> None:
    cache.set(SEEN_AT_KEY, time.time() - 3600, timeout=60)

    detail = client.get("/statusz").json()["parts"]["dispatcher"]["detail"]

    assert "seen 3600 seconds ago" in detail


def test_a_connection_from_before_the_broker_was_away_is_asked_again(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []

    def ping(**_given: object) -> list[dict[str, object]]:
        asked.append(time.monotonic())
        if len(asked) == 1:
            raise ConnectionError("closed by the server")
        return [{"worker-1@here": {"ok": "pong"}}]

    monkeypatch.setattr(health.app.control, "ping", ping)
    assert health.find_nodes() == ["worker-1@here"]
    assert len(asked) == 2
