"""The harm that a drill does: workers killed, the broker emptied, the database's sessions cut."""

from __future__ import annotations

import os
import random
import signal
import time
from dataclasses import dataclass, field
from typing import Any

from celery import current_app
from django.conf import settings
from django.db import connection

from agents.processes.workers import WorkerProcess
from transports.drill.planning import Fault, Order
from transports.drill.roll import Roll, is_worker

KILLABLE_SECONDS = 60.0
"""How long a kill waits for a worker: the supervisor of `make run` pauses for up to 30 s before a start."""
LOOK_SECONDS = 0.05

CUT = """
SELECT count(*) FILTER (WHERE pg_terminate_backend(pid)) FROM pg_stat_activity
WHERE pid <> pg_backend_pid() AND datname = current_database() AND usename = current_user
  AND backend_type = 'client backend' AND application_name = current_setting('application_name')
"""
"""Ends the sessions of this site's processes, and its own not. Somebody's psql or pg_dump has another name; a role
may always end what is its own.
"""


class NotAllowed(Exception):
    """Something that the drill may not do; the text says what, and the cure."""


@dataclass(kw_only=True)
class Damage:
    """What was done. `skipped_kills` are those for which no worker was left, or none that might be killed."""

    killed: list[WorkerProcess] = field(default_factory=list)
    skipped_kills: int = 0
    flushes: int = 0
    cut_sessions: int = 0


class Faults:
    """Does one fault at a time, and counts."""

    def __init__(self, order: Order, roll: Roll) -> None:
        self.damage = Damage()
        self._roll = roll
        self._chance = random.Random(order.seed)  # noqa: S311 - has to be repeatable, not secret

    def happen(self, fault: Fault) -> str:
        """Do it, and say what was done.

        Raises: NotAllowed.
        """
        match fault:
            case Fault.KILL_WORKER:
                return self._kill_worker()
            case Fault.FLUSH_BROKER:
                flush_broker()
                self.damage.flushes += 1
                return "the broker was emptied"
            case Fault.CUT_DATABASE:
                # With every worker dead there is little to cut.
                self._await_worker()
                count = cut_database()
                self.damage.cut_sessions += count
                return f"{count} sessions of the database were cut"

    def _kill_worker(self) -> str:
        while (worker := self._await_victim()) is not None:
            if kill(worker):
                self._roll.strike(worker)
                self.damage.killed.append(worker)
                return f"{worker.name} was killed (process {worker.pid})"
        self.damage.skipped_kills += 1
        return "no worker could be killed"

    def _await_worker(self) -> None:
        deadline = time.monotonic() + KILLABLE_SECONDS
        while not self._roll.alive() and time.monotonic() < deadline:
            time.sleep(LOOK_SECONDS)

    def _await_victim(self) -> WorkerProcess | None:
        """Choose a worker, or wait for one: the last is spared until one that was killed has come back."""
        # Where the wait was in vain once, nobody starts workers: the other kills don't wait again.
        deadline = time.monotonic() + (0.0 if self.damage.skipped_kills else KILLABLE_SECONDS)
        while True:
            alive = self._roll.alive()
            is_last_spared = bool(self.damage.killed) and not self._roll.has_newcomers()
            if len(alive) > is_last_spared:
                return self._chance.choice(sorted(alive, key=lambda worker: worker.name))
            if time.monotonic() >= deadline:
                return None
            time.sleep(LOOK_SECONDS)


def kill(worker: WorkerProcess) -> bool:
    """Kill the worker's process, and tell whether it was one of this machine's workers still.

    Raises: NotAllowed.
    """
    if not is_worker(worker.pid):
        return False
    try:
        os.kill(worker.pid, signal.SIGKILL)
    except ProcessLookupError:
        return False
    except PermissionError:
        raise NotAllowed(
            f"{worker.name} (process {worker.pid}) is another user's: run the drill as the user of the workers."
        ) from None
    return True


def flush_broker() -> None:
    """Delete what the broker holds: the whole database of a Redis or Valkey, or the fleet's queues elsewhere.

    Raises: NotAllowed.
    """
    with current_app.connection_for_write() as broker:
        try:
            channel: Any = broker.default_channel
            if is_redis():
                channel.client.flushdb()
                return
            for name in queue_names():
                channel.queue_purge(name)
        except (*broker.connection_errors, *broker.channel_errors) as error:
            raise NotAllowed(
                f"The broker could not be emptied ({error}): see that it runs and that its user may, or leave out"
                " --flush-broker."
            ) from error


def is_redis() -> bool:
    """Tell whether the broker is a Redis or Valkey, of which flushing empties the whole database."""
    return str(settings.CELERY_BROKER_URL).startswith(("redis", "valkey", "sentinel"))


def queue_names() -> list[str]:
    """Return the names of the fleet's queues."""
    routed = {route["queue"] for route in settings.CELERY_TASK_ROUTES.values()}
    return sorted({settings.CELERY_TASK_DEFAULT_QUEUE, *routed})


def cut_database() -> int:
    """End the other sessions of the site's role in its database, and return how many there were.

    Raises: NotAllowed on SQLite, which has none.
    """
    if connection.vendor != "postgresql":
        raise NotAllowed("SQLite has no sessions that could be cut: leave out --kill-backends.")
    with connection.cursor() as cursor:
        cursor.execute(CUT)
        count: int = cursor.fetchone()[0]
    return count
