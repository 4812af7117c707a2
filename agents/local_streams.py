"""Streams in this process' memory, in the words of redis-py that `agents.streams` and its readers use.

For a process that talks with itself, without a server (`manage.py talk --ephemeral`).
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

Entry = tuple[str, dict[str, str]]
_Place = tuple[int, int]


class LocalStreams:
    """A stream a key. Threads may share it."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._streams: dict[str, deque[tuple[_Place, dict[str, str]]]] = {}
        self._last: _Place = (0, 0)

    @contextmanager
    def pipeline(self, transaction: bool = True) -> Iterator[LocalStreams]:  # noqa: ARG002
        """Return itself: nothing is sent anywhere, so nothing is sent together."""
        yield self

    def execute(self) -> None:
        """Do nothing; each entry was added at once."""

    def expire(self, key: str, seconds: int) -> None:
        """Do nothing; all of it goes with the process."""

    def xadd(self, key: str, fields: Mapping[str, str], maxlen: int, approximate: bool = True) -> str:  # noqa: ARG002
        """Add an entry and return its id; the oldest beyond `maxlen` go."""
        with self._changed:
            now = int(time.time() * 1000)
            self._last = (now, 0) if now > self._last[0] else (self._last[0], self._last[1] + 1)
            self._streams.setdefault(key, deque(maxlen=maxlen)).append((self._last, dict(fields)))
            self._changed.notify_all()
            return _written(self._last)

    def xread(self, streams: Mapping[str, str], count: int, block: int) -> list[tuple[str, list[Entry]]]:
        """Return at most `count` entries a stream after the ids; where there are none, wait for the first.

        Unit: `block` in milliseconds.
        """
        with self._changed:
            self._changed.wait_for(lambda: self._read(streams, count), timeout=block / 1000)
            return self._read(streams, count)

    def delete(self, key: str) -> None:
        """Forget the stream."""
        with self._changed:
            self._streams.pop(key, None)

    def _read(self, streams: Mapping[str, str], count: int) -> list[tuple[str, list[Entry]]]:
        found = []
        for key, after in streams.items():
            milliseconds, _, number = after.partition("-")
            start = int(milliseconds), int(number or 0)
            entries = [
                (_written(place), fields) for place, fields in self._streams.get(key, ()) if place > start
            ]
            if entries:
                found.append((key, entries[:count]))
        return found


def _written(place: _Place) -> str:
    return f"{place[0]}-{place[1]}"
