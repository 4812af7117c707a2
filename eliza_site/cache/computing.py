"""One caller computes what is not there; the others wait for it, or take the value that ended just now.

Within a process, threads wait for the one that computes. Over the fleet, a lease on the server says who does; it is
lost with the value when somebody changes that, and then what was computed is not stored: it was made of what was
true before.
Source: Nishtala et al., "Scaling Memcache at Facebook", NSDI 2013, section 3.2.1 (leases).
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

from eliza_site.cache.counting import COMPUTATIONS
from eliza_site.cache.far import FarAway
from eliza_site.cache.levels import Levels
from eliza_site.cache.near import MISSING
from eliza_site.cache.pickles import UntrustedValue, dump, load

LEASE_SECONDS = 10.0
"""Whoever computes for longer, or died, is no longer waited for: another computes, too."""
PAUSE_SECONDS = 0.02
LONGEST_PAUSE_SECONDS = 0.2


class Computation:
    """One call's way to a value that is not there. `milliseconds` is how long it will live, None for ever."""

    def __init__(
        self,
        levels: Levels,
        key: str,
        compute: Callable[[], Any],
        *,
        milliseconds: int | None,
        old_milliseconds: int,
    ) -> None:
        self._levels, self._key, self._compute = levels, key, compute
        self._milliseconds, self._old_milliseconds = milliseconds, old_milliseconds
        self._deadline = time.monotonic() + LEASE_SECONDS

    def result(self) -> Any:
        """Return the value, computed here or elsewhere. What `compute` raises goes to the caller who computed."""
        pause = PAUSE_SECONDS
        while True:
            with self._levels.flights.lead(self._key) as leads:
                found = self._lead() if leads else MISSING
            if found is MISSING:
                found = self._old()
            if found is not MISSING:
                return found
            left = self._deadline - time.monotonic()
            if left <= 0:
                COMPUTATIONS.labels("alone").inc()
                return self._compute()
            if leads:
                time.sleep(min(pause, left))
                pause = min(pause * 2, LONGEST_PAUSE_SECONDS)
            else:
                self._levels.flights.wait(self._key, left)
            found = self._levels.read(self._key)
            if found is not MISSING:
                COMPUTATIONS.labels("waited").inc()
                return found

    def _lead(self) -> Any:
        """Compute for this process and store, unless another process does."""
        # Another thread may have ended between this one's look and its turn.
        found = self._levels.read(self._key)
        if found is not MISSING:
            return found
        token = secrets.token_hex(8)
        ticket, began_at = self._levels.near.ticket(self._key), time.monotonic()
        try:
            if not self._levels.far.lease(self._key, token, int(LEASE_SECONDS * 1000)):
                return self._levels.read(self._key)
        except FarAway:
            token = ""
        try:
            value = self._compute()
            data = dump(value)
        except BaseException:
            self._give_up(token)
            raise
        COMPUTATIONS.labels("computed").inc()
        if not self._settle(token, data):
            # For the other threads of this process, who wait for it; not if it was changed here meanwhile.
            self._levels.keep_alone(
                self._key, value, data, self._milliseconds, ticket=ticket, read_at=began_at
            )
        return value

    def _settle(self, token: str, data: int | bytes) -> bool:
        """Store what was computed where the lease still stands; tell whether the server was there."""
        try:
            if token:
                self._levels.far.settle(self._key, token, data, self._milliseconds, self._old_milliseconds)
        except FarAway:
            return False
        return bool(token)

    def _give_up(self, token: str) -> None:
        if token:
            with suppress(FarAway):
                self._levels.far.give_up(self._key, token)

    def _old(self) -> Any:
        if not self._old_milliseconds:
            return MISSING
        try:
            data = self._levels.far.read_old(self._key)
            found = MISSING if data is None else load(data)
        except (FarAway, UntrustedValue):
            return MISSING
        if found is not MISSING:
            COMPUTATIONS.labels("old").inc()
        return found
