"""What tests of turns that are ended early share."""

from __future__ import annotations

from typing import Any

import pytest

from agents import turns
from agents.processes.keeper import Watch


@pytest.fixture
def hearing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a turn hear what is asked of it at every look, by itself: no thread, and no second in between."""
    is_cancelled = Watch.is_cancelled

    def look(watch: Any) -> bool:
        stopped, interrupted = turns.find_requests([watch.turn_id])
        watch.is_stopped, watch.is_interrupted = bool(stopped), bool(interrupted)
        return is_cancelled(watch)

    monkeypatch.setattr(Watch, "is_cancelled", look)
