"""Keeps the leases of this process: one thread that renews them and hears a person's "stop".

Every turn that is being worked is under its watch. It has a database connection of its own, and renews all
leases of the process in one statement. Started by the first turn, ends with the process.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from uuid import UUID

import structlog
from django.conf import settings
from django.db import Error, connection

from agents import lanes, shutdown, turns
from agents.lanes import ClaimedTurn, Lease

log = structlog.get_logger(__name__)

LOOK_PERIOD_SECONDS = 1.0


class Watch:
    """What the keeper knows of one turn: whether its lease was lost, or a person wants it stopped."""

    def __init__(self, turn: ClaimedTurn) -> None:
        self.turn_id: UUID = turn.id
        self.lease: Lease = turn.lease
        self.renewed_at = time.monotonic()
        self.is_lost = False
        self.is_stopped = False

    def is_cancelled(self) -> bool:
        """Tell whether the work should end at the next chance."""
        return self.is_lost or self.is_stopped or shutdown.is_grace_over()


class _Keeper:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watches: dict[UUID, Watch] = {}
        self._thread: threading.Thread | None = None

    def add(self, watch: Watch) -> None:
        with self._lock:
            self._watches[watch.turn_id] = watch
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="lease-keeper", daemon=True)
                self._thread.start()

    def remove(self, watch: Watch) -> None:
        with self._lock:
            self._watches.pop(watch.turn_id, None)

    def watched(self) -> list[Watch]:
        with self._lock:
            return list(self._watches.values())

    def _run(self) -> None:
        while True:
            time.sleep(LOOK_PERIOD_SECONDS)
            watches = self.watched()
            if not watches:
                continue
            try:
                self._look(watches)
            except Error as error:
                log.warning("leases_not_renewed", turns=len(watches), error=str(error))
                self._give_up_expired(watches)
            finally:
                connection.close()

    def _look(self, watches: list[Watch]) -> None:
        now = time.monotonic()
        long_running = [watch for watch in watches if now - watch.renewed_at >= LOOK_PERIOD_SECONDS]
        if long_running:
            stopped = turns.find_stopped([watch.turn_id for watch in long_running])
            for watch in long_running:
                watch.is_stopped = watch.turn_id in stopped
        due = [watch for watch in watches if now - watch.renewed_at >= settings.LANE_LEASE_SECONDS / 3]
        if due:
            held = lanes.renew([watch.lease for watch in due])
            for watch in due:
                watch.renewed_at = now
                watch.is_lost = watch.lease not in held

    def _give_up_expired(self, watches: list[Watch]) -> None:
        for watch in watches:
            if time.monotonic() - watch.renewed_at > settings.LANE_LEASE_SECONDS:
                watch.is_lost = True


_keeper = _Keeper()


def watched() -> list[Watch]:
    """Return the watches over all turns that this process works at the moment."""
    return _keeper.watched()


@contextmanager
def watch_over(turn: ClaimedTurn) -> Iterator[Watch]:
    """Keep the turn's lease renewed while the block runs, and tell the block when to stop."""
    watch = Watch(turn)
    _keeper.add(watch)
    try:
        yield watch
    finally:
        _keeper.remove(watch)
