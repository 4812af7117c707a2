"""Waking: best effort, bounded, and left alone for a while after a failure."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator

import pytest
from celery import current_app

from agents.wakeups import BROKER_REST_SECONDS, _Publisher


@pytest.fixture
def silent_broker() -> Iterator[str]:
    """A broker that takes connections and never answers."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(50)
        yield f"redis://127.0.0.1:{listening.getsockname()[1]}/0"


def publisher_for(url: str, monkeypatch: pytest.MonkeyPatch) -> _Publisher:
    original = current_app.connection_for_write
    monkeypatch.setattr(current_app, "connection_for_write", lambda **options: original(url, **options))
    return _Publisher()


@pytest.mark.parametrize("kind", ["silent", "refused"])
def test_a_broker_that_does_not_take_it_costs_little_once_and_nothing_for_a_while(
    kind: str, silent_broker: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = silent_broker if kind == "silent" else "redis://127.0.0.1:9/0"
    publisher = publisher_for(url, monkeypatch)
    started = time.monotonic()
    assert publisher.publish("agents.drain_lane", {"lane_id": "x"}) is False
    assert time.monotonic() - started < BROKER_REST_SECONDS / 2
    assert publisher.is_resting()
    started = time.monotonic()
    assert publisher.publish("agents.drain_lane", {"lane_id": "x"}) is False
    assert time.monotonic() - started < 0.05


def test_a_broker_that_is_there_takes_it() -> None:
    assert _Publisher().publish("agents.drain_lane", {"lane_id": "00000000-0000-0000-0000-000000000000"})
