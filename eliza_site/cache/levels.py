"""The two levels of one cache in this process. All threads share them; Django makes a backend for each thread."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from django.conf import settings

from agents.circuits import Circuit, cache_circuit
from eliza_site.cache.counting import FAR_HITS, INVALIDATIONS, MISSES, NEAR_HITS
from eliza_site.cache.far import FarAway, FarLevel
from eliza_site.cache.flights import Flights
from eliza_site.cache.listener import Listener
from eliza_site.cache.near import MISSING, NearLevel, Ticket
from eliza_site.cache.pickles import UntrustedValue, load

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Shape:
    """Where a cache lies and how large it may get; equal ones are one cache.

    Unit: bytes, seconds. `stale_seconds` is the bound: no read that begins so long after a change misses it.
    """

    location: str
    namespace: str = "eliza:cache"
    near_entries: int = 10_000
    near_bytes: int = 32 * 1024 * 1024
    near_seconds: float = 60.0
    stale_seconds: float = 2.0
    timeout_seconds: float = 0.5
    connections: int = 8


class Levels:
    """Near and far level, with the listener between them and the computations that are under way."""

    def __init__(self, shape: Shape) -> None:
        self.shape = shape
        self.near = NearLevel(
            # Where nothing may be stale for a moment, nothing is kept here.
            most_entries=shape.near_entries if shape.stale_seconds else 0,
            most_bytes=shape.near_bytes,
            most_seconds=shape.near_seconds,
            stale_seconds=shape.stale_seconds,
        )
        self.far = FarLevel(
            shape.location,
            namespace=shape.namespace,
            timeout_seconds=shape.timeout_seconds,
            connections=shape.connections,
            circuit=cache_circuit() if shape.location == settings.REDIS_URL else Circuit(),
        )
        self.listener = Listener(self.near, self.far, stale_seconds=shape.stale_seconds)
        self.flights = Flights()

    def read(self, key: str) -> Any:
        """Return the value, or MISSING; a server that is away has none."""
        found = self.near.get(key)
        if found is MISSING:
            return self.read_many([key]).get(key, MISSING)
        if self.near.hit_count >= 256:
            self.count()
        return found

    def read_many(self, keys: Sequence[str]) -> dict[str, Any]:
        """Return the values of those keys that have one, with one question to the server at most."""
        found = {key: value for key in keys if (value := self.near.get(key)) is not MISSING}
        asked = [key for key in keys if key not in found]
        if asked:
            found |= self._read_far(asked)
        self.count()
        return found

    def _read_far(self, keys: list[str]) -> dict[str, Any]:
        tickets = [self.near.ticket(key) for key in keys]
        read_at = time.monotonic()
        try:
            answers = self.far.read(keys)
        except FarAway:
            answers = [None] * len(keys)
        found = {}
        for key, ticket, answer in zip(keys, tickets, answers, strict=True):
            if answer is None:
                continue
            data, left = answer
            try:
                value = found[key] = load(data)
            except UntrustedValue as error:
                log.warning("cache_value_refused", error=error)
                continue
            self.near.keep(
                key,
                ticket,
                value=value,
                data=data,
                read_at=read_at,
                lasts_seconds=None if left is None else left / 1000,
            )
        FAR_HITS.inc(len(found))
        MISSES.inc(len(keys) - len(found))
        if found and self.near.is_on:
            self.listener.ensure_started()
        return found

    def keep_alone(
        self,
        key: str,
        value: Any,
        data: int | bytes,
        milliseconds: int | None,
        *,
        ticket: Ticket | None = None,
        read_at: float | None = None,
    ) -> None:
        """Keep a value that the server did not take: for this process, and for the bound at most."""
        lasts = self.shape.stale_seconds
        if milliseconds is not None:
            lasts = min(lasts, milliseconds / 1000)
        self.near.keep(
            key,
            ticket or self.near.ticket(key),
            value=value,
            data=data,
            read_at=time.monotonic() if read_at is None else read_at,
            lasts_seconds=lasts,
        )

    def drop(self, keys: Iterable[str]) -> None:
        """Forget what this process holds of these keys: they were changed here."""
        INVALIDATIONS.labels("own").inc(self.near.drop(keys))

    def clear(self) -> None:
        """Forget all that this process holds."""
        INVALIDATIONS.labels("own").inc(self.near.clear())

    def count(self) -> None:
        """Tell the metrics of the near level's hits: to count each would take longer than the hit."""
        if self.near.hit_count:
            NEAR_HITS.inc(self.near.take_hit_count())

    def close(self) -> None:
        """End the listener and the connections."""
        self.listener.stop()
        self.far.close()

    def reset_after_fork(self) -> None:
        """Begin with nothing, as a child that has none of the threads which may have held a lock."""
        self.near.reset()
        self.far.reset()
        self.listener.reset()
        self.flights.reset()


_all: dict[Shape, Levels] = {}
_making = threading.Lock()


def levels_for(shape: Shape) -> Levels:
    """Return this process' levels of this shape, made at the first call."""
    with _making:
        if shape not in _all:
            _all[shape] = Levels(shape)
        return _all[shape]


def close_levels() -> None:
    """End what runs of all caches of this process; their next use starts it again."""
    for levels in list(_all.values()):
        levels.close()


def _after_fork() -> None:
    global _making
    _making = threading.Lock()
    for levels in _all.values():
        levels.reset_after_fork()


os.register_at_fork(after_in_child=_after_fork)
