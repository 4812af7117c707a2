"""Puts back a turn whose work met a database that was away, or a lease that may be over.

An outage is no fault of the message: it counts neither as an error nor as a crash. The outcome of a COMMIT that
broke off is unknown, so nothing is assumed: the turn is put back under its token, and where that finds it ended,
the first COMMIT had happened. `agents.work` calls it.
"""

from __future__ import annotations

import time

import structlog
from django.db import InterfaceError, OperationalError, connection

from agents import lanes, turns
from agents.lanes import ClaimedTurn, Fenced
from agents.trace import Trace
from agents.wakeups import wake

log = structlog.get_logger(__name__)

RETRY_SECONDS = 1.0
PATIENCE_SECONDS = 300.0
SHORT_DELAY_SECONDS = 5.0
"""How long a turn waits that met a full disk: a little room may take it back, and not its answer."""


def hand_back(turn: ClaimedTurn, trace: Trace, *, reason: str, delay_seconds: float = 0.0) -> bool:
    """Put the turn back, as soon as the database answers; tell whether its lane needs no more of this worker. It
    does where the turn turns out to have ended, and the lane is held still.

    What was heard of a model is kept with it: no answer is asked for twice because of an outage.
    The token decides, not the lease's time: what nobody else has claimed meanwhile can be put back.
    Unit: gives up after PATIENCE_SECONDS; the lease is over then, and whoever claims it counts a crash.
    """
    gives_up_at = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return _hand_back(turn, trace, reason, delay_seconds)
        except (OperationalError, InterfaceError) as error:
            connection.close()
            if time.monotonic() > gives_up_at:
                log.error("turn_not_handed_back", error=error)
                return True
            time.sleep(RETRY_SECONDS)


def _hand_back(turn: ClaimedTurn, trace: Trace, reason: str, delay_seconds: float) -> bool:
    try:
        with trace.saving():
            turns.put_back(turn, error=reason, is_counted=False)
            lanes.release(turn.lease, delay_seconds=delay_seconds)
    except Fenced:
        is_over = turn.lease not in lanes.renew([turn.lease])
        log.warning("turn_ended_or_taken", reason=reason, is_taken=is_over)
        return is_over
    if not delay_seconds:
        wake("agents.drain_lane", lane_id=str(turn.lease.lane_id))
    log.warning("turn_handed_back", reason=reason)
    return True
