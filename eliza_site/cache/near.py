"""The near level: the values that this process read lately, bounded in number, bytes and time.

Values lie here as bytes, and each reader gets a copy of its own. What is here is served only while it is known to
be fresh: either it was read a moment ago, or the listener (`eliza_site.cache.listener`) vouches for all of it.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any, Final

from eliza_site.cache.pickles import PLAIN, load_again

ENTRY_BYTES = 400
"""What an entry costs beside its key and value: measured with tracemalloc, rounded up."""
LARGEST_SHARE = 8
"""A value larger than this part of all bytes is not kept here: it would push out everything else."""
SLOTS = 1024

Ticket = tuple[int, int]
"""What stood when a value was asked for; a value whose ticket stands no more is not kept."""


class Missing:
    """What stands for no value, as None is one."""


MISSING: Final = Missing()


@dataclass(frozen=True, slots=True)
class _Entry:
    value: Any
    is_plain: bool
    fresh_until: float
    expires_at: float
    size: int


class NearLevel:
    """The values of this process. Threads share it.

    Unit: seconds by the monotonic clock; sizes in bytes. It is an LRU of its own for cachetools' is bounded by one
    measure alone, and costs three times as much a hit.
    """

    def __init__(
        self, *, most_entries: int, most_bytes: int, most_seconds: float, stale_seconds: float
    ) -> None:
        self._most_entries, self._most_bytes = most_entries, most_bytes
        self._most_seconds, self._stale_seconds = most_seconds, stale_seconds
        self.is_on = most_entries > 0
        self.reset()

    def reset(self) -> None:
        """Begin anew, with a new lock: a forked child must not wait for a thread that it has not."""
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, _Entry] = OrderedDict()
        self._bytes = 0
        self._vouched_until = 0.0
        self._clears = 0
        # How often a key of this slot was dropped. Two keys may share one: then a value is asked for once more.
        self._drops = [0] * SLOTS
        self.hit_count = 0

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def byte_count(self) -> int:
        """Tell how many bytes all entries are reckoned to take."""
        return self._bytes

    def get(self, key: str) -> Any:
        """Return a copy of the value, or MISSING where none is known to be fresh."""
        now = time.monotonic()
        with self._lock:
            entry = self._entries.get(key)
            if entry is None:
                return MISSING
            if now >= entry.expires_at:
                self._remove(key)
                return MISSING
            if now >= entry.fresh_until and now >= self._vouched_until:
                return MISSING
            self._entries.move_to_end(key)
            self.hit_count += 1
        return entry.value if entry.is_plain else load_again(entry.value)

    def ticket(self, key: str) -> Ticket:
        """Return what `keep` asks for: take it before the value is asked for elsewhere."""
        return self._clears, self._drops[hash(key) % SLOTS]

    def keep(
        self,
        key: str,
        ticket: Ticket,
        *,
        value: Any,
        data: int | bytes,
        read_at: float,
        lasts_seconds: float | None,
    ) -> bool:
        """Keep a value, unless the key was dropped since its ticket; tell whether nothing had dropped it.

        `read_at` is a moment before the value was asked for, `lasts_seconds` what it had to live from there, None
        for ever.
        """
        is_plain = type(value) in PLAIN
        size = len(key) + (len(data) if isinstance(data, bytes) else 32) + ENTRY_BYTES
        lives = self._most_seconds if lasts_seconds is None else min(lasts_seconds, self._most_seconds)
        entry = _Entry(
            value=value if is_plain else data,
            is_plain=is_plain,
            fresh_until=read_at + self._stale_seconds,
            expires_at=read_at + lives,
            size=size,
        )
        with self._lock:
            if ticket != (self._clears, self._drops[hash(key) % SLOTS]):
                return False
            if key in self._entries:
                self._remove(key)
            if self.is_on and size * LARGEST_SHARE <= self._most_bytes:
                self._entries[key] = entry
                self._bytes += size
                while len(self._entries) > self._most_entries or self._bytes > self._most_bytes:
                    self._remove(next(iter(self._entries)))
        return True

    def drop(self, keys: Iterable[str]) -> int:
        """Forget these keys, and what is being asked for by them; return how many were here."""
        count = 0
        with self._lock:
            for key in keys:
                self._drops[hash(key) % SLOTS] += 1
                if key in self._entries:
                    self._remove(key)
                    count += 1
        return count

    def clear(self) -> int:
        """Forget everything, and what is being asked for; return how many were here."""
        with self._lock:
            count = len(self._entries)
            self._entries.clear()
            self._bytes = 0
            self._clears += 1
        return count

    def vouch(self, until: float) -> None:
        """Serve what is here until then: whatever changed elsewhere has been dropped."""
        self._vouched_until = until

    def is_vouched_for(self) -> bool:
        """Tell whether the listener vouches for what is here."""
        return time.monotonic() < self._vouched_until

    def take_hit_count(self) -> int:
        """Return how many hits there were since the last call."""
        with self._lock:
            count, self.hit_count = self.hit_count, 0
        return count

    def _remove(self, key: str) -> None:
        self._bytes -= self._entries.pop(key).size
