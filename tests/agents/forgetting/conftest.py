"""A life to forget."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from agents import forgetting, streams
from agents.forgetting import quiet
from agents.models import Agent
from agents.people import merging
from tests.doubles.lives import Life, live
from transports.models import Connection


@pytest.fixture
def life(agent: Agent, connection: Connection, monkeypatch: Any) -> Iterator[Life]:
    """Ann's life with Eliza; nothing of it waits longer than it must."""
    monkeypatch.setattr(merging, "LATE_PAUSE_SECONDS", 0.0)
    monkeypatch.setattr(quiet, "LOOK_SECONDS", 0.01)
    yield live(agent, connection)
    for key in streams.client().scan_iter("eliza:room:*"):
        streams.client().delete(key)


def forget(life: Life, why: str = "She asked for it.") -> Any:
    """Forget Ann, to the end."""
    begun = forgetting.begin(life.ann.pk, by="ada", why=why)
    assert forgetting.go_on(begun.pk)
    return begun
