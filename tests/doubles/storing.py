"""A transaction of somebody else's that holds its locks until another waits for them: a race whose order is sure."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from django.db import connection, transaction

LONGEST_WAIT_SECONDS = 5.0
SOMEBODY_WAITS = "SELECT 1 FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY(pg_blocking_pids(pid))"


@contextmanager
def open_until_waited_for(store: Callable[[], object]) -> Iterator[None]:
    """Let another thread do this in a transaction, which is open when the block begins, and committed when
    somebody waits for it.
    """
    thread = _begin(store)
    yield
    thread.join()


@contextmanager
def open_meanwhile(
    monkeypatch: pytest.MonkeyPatch, place: Any, name: str, store: Callable[[], object]
) -> Iterator[None]:
    """Let such a transaction be open when this function is called first, for as long as nobody waits for it."""
    real, threads = getattr(place, name), []

    def call(*given: Any, **named: Any) -> Any:
        if not threads:
            threads.append(_begin(store))
        return real(*given, **named)

    monkeypatch.setattr(place, name, call)
    yield
    for thread in threads:
        thread.join()


def _begin(store: Callable[[], object]) -> threading.Thread:
    is_stored = threading.Event()

    def work() -> None:
        try:
            with transaction.atomic(), connection.cursor() as cursor:
                store()
                is_stored.set()
                _wait_for_somebody(cursor)
        finally:
            connection.close()

    thread = threading.Thread(target=work)
    thread.start()
    assert is_stored.wait(LONGEST_WAIT_SECONDS)
    return thread


def _wait_for_somebody(cursor: Any) -> None:
    deadline = time.monotonic() + LONGEST_WAIT_SECONDS
    while time.monotonic() < deadline:
        cursor.execute(SOMEBODY_WAITS)
        if cursor.fetchone():
            return
        time.sleep(0.02)
