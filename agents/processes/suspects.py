"""Suspects: turns that were in hand when a worker died, so that one of them may have killed it.

A worker has a hundred turns in hand, and its death says little of each. So the first costs nothing but the
time of its lease. Who was there at SHARED_CRASHES deaths is worked alone, a process for the turn, while its
worker looks on: only that process's death counts against the turn. `agents.work` calls it.
"""

from __future__ import annotations

import threading
from functools import lru_cache

import structlog
from django.conf import settings
from django.db import transaction

from agents import lanes, turns
from agents.databases import release_connection
from agents.lanes import ClaimedTurn
from agents.processes import alone, keeper, shutdown
from agents.processes.alone import End, Verdict
from agents.wakeups import wake_after_commit

log = structlog.get_logger(__name__)

SHARED_CRASHES = 2
"""After so many workers' deaths a turn is worked alone. With 1, a single death would make a hundred turns
wait for processes of their own.
"""

LOOK_SECONDS = 0.25


def is_suspect(turn: ClaimedTurn) -> bool:
    """Tell whether the turn must be worked alone."""
    return turn.suspect_count >= SHARED_CRASHES or turn.crash_count > 0


def work_suspect(turn: ClaimedTurn) -> bool:
    """Work the turn in a process of its own, and tell whether its lane needs nothing more of this worker.

    At most SUSPECT_PROCESSES run at once; a quarter of the worker's threads may wait for them, and further
    suspects are put back for a while.

    Raises: Fenced where the lease was lost.
    """
    if not _line().acquire(blocking=False):
        return _put_back(turn, "", delay_seconds=settings.DISPATCH_PERIOD_SECONDS)
    try:
        with keeper.watch_over(turn) as watch:
            release_connection()
            while not _places().acquire(timeout=LOOK_SECONDS):
                if watch.is_cancelled() or shutdown.is_begun():
                    return _put_back(turn, "")
            try:
                log.info("suspect_worked_alone", suspect_count=turn.suspect_count, crashes=turn.crash_count)
                verdict = alone.work_alone(
                    turn, is_stopping=shutdown.is_begun, is_unwanted=lambda: watch.is_stopped
                )
            finally:
                _places().release()
        return _after(turn, verdict)
    except OSError as error:
        log.error("suspect_not_worked", error=error)
        reason = f"No process could be started for it: {error}"
        return _put_back(turn, reason, delay_seconds=settings.DISPATCH_PERIOD_SECONDS)
    finally:
        _line().release()


def _after(turn: ClaimedTurn, verdict: Verdict) -> bool:
    if verdict.end == End.UNKNOWN:
        # It may live on; if not, its lease ends, and it is found as a suspect again.
        log.warning("suspect_unseen")
        return True
    if verdict.end not in {End.DIED, End.KILLED}:
        return verdict.end == End.RELEASED
    if shutdown.is_begun() or verdict.end == End.KILLED:
        # Told to end, others end too, and some in haste.
        return _put_back(turn, "")
    crashes = turn.crash_count + 1
    is_last = crashes >= settings.TURN_MAX_CRASHES
    log.error("suspect_died_alone", reason=verdict.reason, crashes=crashes)
    return _put_back(turn, verdict.reason, is_crash=True, delay_seconds=0.0 if is_last else 2.0**crashes)


def _put_back(turn: ClaimedTurn, reason: str, *, is_crash: bool = False, delay_seconds: float = 0.0) -> bool:
    with transaction.atomic():
        turns.put_back(turn, error=reason, is_counted=is_crash, is_crash=is_crash)
        lanes.release(turn.lease, delay_seconds=delay_seconds)
        if not delay_seconds:
            wake_after_commit("agents.drain_lane", lane_id=str(turn.lease.lane_id))
    return True


@lru_cache(maxsize=1)
def _line() -> threading.Semaphore:
    return threading.Semaphore(max(settings.SUSPECT_PROCESSES, settings.WORKER_THREADS // 4))


@lru_cache(maxsize=1)
def _places() -> threading.Semaphore:
    return threading.Semaphore(settings.SUSPECT_PROCESSES)
