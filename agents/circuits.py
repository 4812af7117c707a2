"""Leaves a server that does not answer alone for a while: a hang costs one wait, not one a message.

`agents.wakeups` asks before it publishes, `agents.streams` before it writes. Where broker and cache are one
server, they share what they learn.
"""

from __future__ import annotations

import time

from django.conf import settings

REST_SECONDS = 5.0
PROBE_SECONDS = 0.5


class Circuit:
    """What this process knows of one server: whether it failed a moment ago.

    Unit: after a failure it rests for REST_SECONDS; then one caller tries, and the others wait for what it
    learns, PROBE_SECONDS at most, without standing still.
    """

    def __init__(self) -> None:
        self._rests_until = 0.0

    def may_try(self) -> bool:
        """Tell whether the server may be asked now; who is told so says afterwards how it went."""
        if not self._rests_until:
            return True
        now = time.monotonic()
        if now < self._rests_until:
            return False
        self._rests_until = now + PROBE_SECONDS
        return True

    def is_resting(self) -> bool:
        """Tell whether the server failed a moment ago."""
        return time.monotonic() < self._rests_until

    def fail(self) -> None:
        """Leave the server alone for a while."""
        self._rests_until = time.monotonic() + REST_SECONDS

    def succeed(self) -> None:
        """Ask the server again like any other."""
        if self._rests_until:
            self._rests_until = 0.0


_of_cache, _of_broker = Circuit(), Circuit()


def cache_circuit() -> Circuit:
    """Return what is known of the server behind REDIS_URL."""
    return _of_cache


def broker_circuit() -> Circuit:
    """Return what is known of the broker."""
    return _of_cache if settings.BROKER_IS_CACHE else _of_broker
