"""`dispatch`: goes its rounds until it is told to stop."""

from __future__ import annotations

import io
import os
import signal
import threading
from typing import Any

import pytest
from django.core.management import call_command

from agents import dispatcher


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_works_until_it_is_told_to_stop(monkeypatch: Any, settings: Any, number: signal.Signals) -> None:
    settings.DISPATCH_PERIOD_SECONDS = 0.1
    rounds: list[int] = []

    def count() -> int:
        rounds.append(1)
        if len(rounds) == 2:
            os.kill(os.getpid(), number)
        return 0

    monkeypatch.setattr(dispatcher, "dispatch_once", count)
    monkeypatch.setattr(dispatcher, "tell_alive", lambda: None)
    monkeypatch.setattr(dispatcher.connection, "close", lambda: None)
    before = signal.getsignal(number)
    out = io.StringIO()
    assert threading.current_thread() is threading.main_thread()
    call_command("dispatch", stdout=out)
    assert out.getvalue() == "Dispatching every 0.1 seconds.\nThe dispatcher stops.\n"
    assert len(rounds) == 2
    assert signal.getsignal(number) is before
