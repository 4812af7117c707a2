"""Work that stays in the process: all of it where the process is alone."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from celery import current_app

from agents import followups, wakeups


@pytest.fixture
def alone(settings: Any) -> Iterator[None]:
    settings.EPHEMERAL = True
    followups.start_all()
    yield
    followups.stop()


def test_a_process_that_is_alone_works_what_it_wakes(alone: None, monkeypatch: pytest.MonkeyPatch) -> None:
    worked: list[dict[str, Any]] = []
    done = threading.Event()

    def work(**arguments: Any) -> None:
        worked.append(arguments | structlog.contextvars.get_contextvars())
        done.set()

    monkeypatch.setitem(current_app.tasks, "agents.drain_lane", work)
    monkeypatch.setattr(wakeups._publisher, "publish", lambda *_: pytest.fail("there is no broker"))
    assert wakeups.wake("agents.drain_lane", lane_id="1")
    assert done.wait(10)
    assert worked == [{"lane_id": "1", "task": "agents.drain_lane"}], "its lines are bound to it"


def test_what_nobody_works_is_told_and_found_by_the_dispatcher(settings: Any) -> None:
    settings.EPHEMERAL = True
    assert not wakeups.wake("agents.drain_lane", lane_id="1")
