"""Whether a fleet can be drilled: workers that answer, on this machine, with a dispatcher; each fault has its cure."""

from __future__ import annotations

import os
import socket
import time

from django.conf import settings
from django.core.cache import cache

from agents.dispatcher import SEEN_AT_KEY
from agents.processes.workers import BrokerAway, WorkerProcess, find_processes
from transports.drill.planning import Order
from transports.drill.roll import is_here, is_worker

GRACE_SECONDS = 10.0
LOOK_SECONDS = 0.2


class NotReady(Exception):
    """The fleet can't be drilled; the text says why, and the cure."""


def require_fleet(order: Order) -> list[WorkerProcess]:
    """Return the workers that are to be drilled.

    Raises: NotReady.
    """
    try:
        workers = find_processes()
    except BrokerAway as error:
        raise NotReady(str(error)) from error
    if not workers:
        raise NotReady("No worker answers: start the fleet (`make run`, or the Procfile's `worker`).")
    elsewhere = [worker.name for worker in workers if not is_here(worker)]
    if elsewhere:
        raise NotReady(
            f"This machine is {socket.gethostname()}, and there are workers elsewhere: {', '.join(elsewhere)}."
            " A drill's ledger is a file that all workers write: run it where all of them run, or stop the"
            " others for as long."
        )
    for worker in workers if order.kills else ():
        _require_killable(worker)
    _require_dispatcher()
    return workers


def _require_killable(worker: WorkerProcess) -> None:
    if not is_worker(worker.pid):
        raise NotReady(
            f"{worker.name} says that it is process {worker.pid}, which is no Celery worker here: it runs in a"
            " container of its own. Run the drill inside it, or without --kill-workers."
        )
    try:
        os.kill(worker.pid, 0)
    except ProcessLookupError:
        return
    except PermissionError:
        raise NotReady(
            f"{worker.name} (process {worker.pid}) is another user's: run the drill as the user of the workers."
        ) from None


def _require_dispatcher() -> None:
    """Wait for a round of a dispatcher: what is left behind by the killed is found by nobody else."""
    period = float(settings.DISPATCH_PERIOD_SECONDS)
    deadline = time.monotonic() + period + GRACE_SECONDS
    while (seen_at := cache.get(SEEN_AT_KEY)) is None or time.time() - float(
        seen_at
    ) > 3 * period + GRACE_SECONDS:
        if time.monotonic() > deadline:
            raise NotReady(
                "No dispatcher was seen at work, and nobody else finds what a killed worker leaves behind: every"
                " worker runs one; see that the drill and the workers have the same REDIS_URL."
            )
        time.sleep(LOOK_SECONDS)
