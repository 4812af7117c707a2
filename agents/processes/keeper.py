"""Keeps the leases of this process: one thread that renews them and hears a person's "stop" or newer message.

Every turn that is being worked, and every evaluation, is under its watch. It has a database connection of its
own outside of the pool, so that a process whose threads have taken all connections loses no lease, and renews
all leases of a kind in one statement that waits for no lock. Started by the first watch, ends with the process.
"""

from __future__ import annotations

import threading
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from uuid import UUID

import structlog
from django.conf import settings
from django.db import connection

from agents import lanes, turns
from agents.databases import own_connection
from agents.lanes import Claim, ClaimedTurn, Fenced, Kept, Lease
from agents.processes import shutdown

log = structlog.get_logger(__name__)

LOOK_PERIOD_SECONDS = 0.5
"""A "stop" is heard within two of these, even by a turn that has just begun, and obeyed within half a second."""
STATEMENT_TIMEOUT_SECONDS = 5
MARGIN = 0.05
"""The part of a lease that its holder leaves unused: clocks of two machines do not run at one speed."""


class Stopped(Exception):
    """A person, a newer message or the loss of the lease ended the work."""


class Watch:
    """What is known of one turn in work: whether its lease was lost, or it is to make way.

    The lease counts from before the statement that claimed or renewed it, by this machine's monotonic clock;
    so a process that was paused, or whose keeper is stuck, knows by itself that its lease may be over.

    A newer message ends a turn only as long as that has done nothing outward. Which came first is decided
    here, once: a turn that is to end says nothing more, and one that has spoken is not interrupted.
    """

    hears_stop = True

    def __init__(self, turn: ClaimedTurn) -> None:
        self.turn_id: UUID = turn.id
        self.lease: Lease = turn.lease
        self.began_at = self.renewed_at = turn.lease.taken_at
        self.is_lost = False
        self.is_stopped = turn.is_stop_requested
        self.is_interrupted = turn.is_interrupt_requested
        self._may_be_interrupted = turn.interrupt_count < turns.MAX_INTERRUPTS
        self._is_over = False
        self._lock = threading.Lock()

    @property
    def claim(self) -> Claim:
        """What is held: the row and the token."""
        return self.lease.lane_id, self.lease.token

    @classmethod
    def lease_seconds(cls) -> float:
        """Return how long a lease of this kind lasts."""
        return float(settings.LANE_LEASE_SECONDS)

    @classmethod
    def keep(cls, claims: Sequence[Claim]) -> Kept:
        """Renew leases of this kind."""
        return lanes.keep(claims)

    def is_held(self) -> bool:
        """Tell whether the lease is surely held at this moment; a lease that may be over counts as lost."""
        if time.monotonic() - self.renewed_at > self.lease_seconds() * (1 - MARGIN):
            self.is_lost = True
        return not self.is_lost

    def is_cancelled(self) -> bool:
        """Tell whether the work should end at the next chance; once it should, it always should."""
        with self._lock:
            if not self._is_over:
                gives_way = self.is_interrupted and self._may_be_interrupted
                self._is_over = self.is_stopped or gives_way or not self.is_held() or shutdown.is_grace_over()
            return self._is_over

    def may_go_outward(self) -> bool:
        """Tell whether something may still be done that others see; if so, no newer message ends the turn.

        A worker that was paused past its lease finds out here, before it shows the piece that it had read.
        """
        with self._lock:
            self._is_over = self._is_over or not self.is_held()
            if not self._is_over:
                self._may_be_interrupted = False
            return not self._is_over

    def go_on(self) -> None:
        """Do nothing, unless the work should end.

        Raises: Stopped.
        """
        if self.is_cancelled():
            raise Stopped("The turn is to end.")

    def require_held(self) -> None:
        """Go on only where the lease is held: asked before anything is done that others see or that costs.

        Raises: Fenced.
        """
        if not self.is_held():
            raise Fenced(f"The lease on {self.claim[0]} by token {self.claim[1]} is lost or over.")


class _Keeper:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watches: dict[tuple[type[Watch], Claim], Watch] = {}
        self._thread: threading.Thread | None = None

    def add(self, watch: Watch) -> None:
        with self._lock:
            self._watches[type(watch), watch.claim] = watch
            if self._thread is None or not self._thread.is_alive():
                self._thread = threading.Thread(target=self._run, name="lease-keeper", daemon=True)
                self._thread.start()

    def remove(self, watch: Watch) -> None:
        with self._lock:
            if self._watches.get((type(watch), watch.claim)) is watch:
                del self._watches[type(watch), watch.claim]

    def find(self, kind: type[Watch], claim: Claim) -> Watch | None:
        return self._watches.get((kind, claim))

    def watched(self) -> list[Watch]:
        with self._lock:
            return list(self._watches.values())

    def _run(self) -> None:
        with own_connection(statement_timeout_seconds=STATEMENT_TIMEOUT_SECONDS):
            while True:
                time.sleep(LOOK_PERIOD_SECONDS)
                watches = self.watched()
                try:
                    self._look(watches)
                except Exception as error:  # the door of a thread that must not end
                    log.warning("leases_not_renewed", watches=len(watches), error=error)
                    connection.close()
                if not watches:
                    connection.close()

    def _look(self, watches: list[Watch]) -> None:
        self._renew(watches)
        now = time.monotonic()
        heard = [w for w in watches if w.hears_stop and now - w.began_at >= LOOK_PERIOD_SECONDS]
        if heard:
            stopped, interrupted = turns.find_requests([watch.turn_id for watch in heard])
            for watch in heard:
                watch.is_stopped = watch.turn_id in stopped
                watch.is_interrupted = watch.turn_id in interrupted

    def _renew(self, watches: list[Watch]) -> None:
        due: dict[type[Watch], list[Watch]] = defaultdict(list)
        for watch in watches:
            if not watch.is_lost and time.monotonic() - watch.renewed_at >= watch.lease_seconds() / 3:
                due[type(watch)].append(watch)
        for kind, those in due.items():
            asked_at = time.monotonic()
            kept = kind.keep([watch.claim for watch in those])
            for watch in those:
                if watch.claim in kept.renewed:
                    watch.renewed_at = asked_at
                elif watch.claim in kept.lost:
                    watch.is_lost = True


_keeper = _Keeper()


def watched() -> list[Watch]:
    """Return the watches over all turns that this process works at the moment."""
    return [watch for watch in _keeper.watched() if watch.hears_stop]


@contextmanager
def watch_over(turn: ClaimedTurn, kind: Callable[[ClaimedTurn], Watch] = Watch) -> Iterator[Watch]:
    """Keep the turn's lease renewed while the block runs, and tell the block when to stop."""
    watch = kind(turn)
    _keeper.add(watch)
    try:
        yield watch
    finally:
        _keeper.remove(watch)


def require_held(lease: Lease) -> None:
    """Go on only where the lane is held as far as this process can know, without asking the database.

    For steps that have no watch at hand: before a model is asked, before an action works outward.
    Raises: Fenced.
    """
    watch = _keeper.find(Watch, (lease.lane_id, lease.token))
    if watch is not None:
        watch.require_held()
