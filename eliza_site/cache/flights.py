"""Which values are being computed in this process, so that one thread computes each and the others wait for it."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager


class Flights:
    """Which keys are being computed in this process."""

    def __init__(self) -> None:
        self.reset()

    def reset(self) -> None:
        """Begin with none, after a fork."""
        self._lock = threading.Lock()
        self._under_way: dict[str, threading.Event] = {}

    @contextmanager
    def lead(self, key: str) -> Iterator[bool]:
        """Let one thread in at a time for each key; the others are told False at once."""
        with self._lock:
            leads = key not in self._under_way
            if leads:
                self._under_way[key] = threading.Event()
        try:
            yield leads
        finally:
            if leads:
                with self._lock:
                    ended = self._under_way.pop(key, None)
                if ended is not None:
                    ended.set()

    def wait(self, key: str, seconds: float) -> None:
        """Wait until the one who computes this has ended, or for so long."""
        with self._lock:
            event = self._under_way.get(key)
        if event is not None:
            event.wait(seconds)
