"""Leaves in order: when this process is told to end, what it can't finish in time is given back at once.

Turns that listen are broken off when the grace is over, and put themselves back (`agents.work`). Those that
don't, because a plugin or a silent model server holds them, are put back here a moment later, and the process
ends without them. Nothing of it counts as an attempt. Celery's signal calls it by way of `agents.apps`.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable

import structlog
from django.conf import settings
from django.db import Error, connection, transaction

from agents import lanes, turns
from agents.lanes import Fenced
from agents.processes import keeper, shutdown
from agents.processes.keeper import Watch
from agents.wakeups import wake

log = structlog.get_logger(__name__)

DEAF_SECONDS = 5.0
"""How long after the grace a turn may take to notice that it was broken off."""

LOOK_SECONDS = 0.2


def begin(*, leave: Callable[[], None] = lambda: os._exit(0), **_signal: object) -> None:
    """Begin nothing new, and see to it that the process ends soon after the grace, whatever it does.

    `leave` ends the process; it is called only where turns were still held then.
    """
    if shutdown.is_begun():
        return
    shutdown.begin()
    grace = settings.SHUTDOWN_GRACE_SECONDS
    log.info("shutdown_begun", turns=len(keeper.watched()), grace_seconds=grace)
    threading.Thread(
        target=_see_to_it, args=(grace + DEAF_SECONDS, leave), name="departure", daemon=True
    ).start()


def give_back_all() -> int:
    """Put every turn that is worked in this process back uncounted, and return how many were."""
    return sum(_give_back(watch) for watch in keeper.watched())


def _see_to_it(seconds: float, leave: Callable[[], None]) -> None:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        time.sleep(LOOK_SECONDS)
    # One whose lease was lost can't be given back, and its thread would keep the process all the same.
    is_held = bool(keeper.watched())
    count = give_back_all()
    connection.close()
    if is_held:
        log.warning("turns_given_back", count=count)
        leave()


def _give_back(watch: Watch) -> bool:
    try:
        with transaction.atomic():
            turns.leave(watch.turn_id, watch.lease)
            lanes.release(watch.lease)
    except Fenced:  # it ended in this very moment
        return False
    except Error as error:
        # Its lease ends by itself, and the dispatcher of another process finds it.
        log.warning("turn_not_given_back", turn=str(watch.turn_id), error=error)
        return True
    wake("agents.drain_lane", lane_id=str(watch.lease.lane_id))
    return True
