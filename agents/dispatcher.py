"""The dispatcher: finds what is due and nobody works, and hands it out. No leader, any number of them.

A thread in every worker process runs it, and `manage.py dispatch` for those who want it apart. It publishes
wake-ups; where the broker can't be reached it works what it found itself, through the same functions, so
that recovery needs neither beat nor the broker.
"""

from __future__ import annotations

import concurrent.futures
import threading
import time
from functools import lru_cache
from typing import Any

import redis
import structlog
from django.conf import settings
from django.core.cache import cache
from django.db import Error, connection

from agents import approvals, followups, forgetting, lanes, metrics, outbox
from agents.crashpoints import reach
from agents.databases import own_connection
from agents.learning import evaluation
from agents.wakeups import wake
from memory.conversations import LOOK_TASK, find_due_looks
from memory.writes import is_embedding_due
from plugins.calendar import is_task_due
from plugins.events import has_due_events

log = structlog.get_logger(__name__)

BATCH = 500
OWN_THREADS = 32
SEEN_AT_KEY = "dispatcher:seen_at"
SEEN_EXPIRES_AFTER_SECONDS = 3600


def dispatch_once() -> int:
    """Hand out everything that is due and nobody works; return how many wake-ups that took."""
    found: list[tuple[str, dict[str, Any]]] = [
        ("agents.drain_lane", {"lane_id": str(lane_id)})
        for lane_id in (
            *lanes.find_due(limit=BATCH, patience_seconds=settings.DISPATCH_PERIOD_SECONDS),
            *approvals.expire_due(BATCH),
        )
    ]
    found += [
        ("transports.deliver_message", {"connection_id": str(connection_id), "room_id": str(room_id)})
        for connection_id, room_id in outbox.find_due(BATCH)
    ]
    found += [("agents.evaluate_turn", {"lane_id": str(lane_id)}) for lane_id in evaluation.find_due(BATCH)]
    found += [(LOOK_TASK, {"conversation_id": str(id)}) for id in find_due_looks(BATCH)]
    found += [("agents.forget_person", {"forgetting_id": str(id)}) for id in forgetting.find_due(BATCH)]
    if is_embedding_due():
        found.append(("memory.embed_memories", {}))
    if is_task_due():
        found.append(("plugins.run_due_tasks", {}))
    if has_due_events():
        found.append(("plugins.handle_events", {}))
    if found:
        reach("dispatcher.found")
    for name, arguments in found:
        hand_out(name, arguments)
    return len(found)


def hand_out(name: str, arguments: dict[str, Any]) -> None:
    """Wake a worker by this task, or do it here where the broker is away."""
    if not wake(name, **arguments):
        _executor().submit(_work, name, arguments)


def run(stop: threading.Event) -> None:
    """Dispatch every DISPATCH_PERIOD_SECONDS until told to stop; an error costs one round.

    It has a connection of its own: where all of the pool's are taken, what was left behind is found still.
    """
    with own_connection(statement_timeout_seconds=settings.DATABASE_STATEMENT_TIMEOUT_SECONDS):
        while not stop.wait(settings.DISPATCH_PERIOD_SECONDS):
            _round()


def _round() -> None:
    try:
        count = dispatch_once()
        tell_alive()
        if count:
            log.info("dispatched", count=count)
    except Error as error:
        log.warning("dispatch_failed", error=error)
    except Exception:  # the door of a thread that must not end
        log.exception("dispatch_failed")
        metrics.ERRORS.labels(where="dispatcher").inc()
    finally:
        connection.close()


def tell_alive() -> None:
    """Tell whoever watches the site that dispatching goes on; it goes on without the cache too."""
    try:
        cache.set(SEEN_AT_KEY, time.time(), timeout=SEEN_EXPIRES_AFTER_SECONDS)
    except (redis.RedisError, OSError) as error:
        log.info("dispatcher_not_seen", error=error)


_stop = threading.Event()


def start(**_signal: object) -> None:
    """Start this process' dispatcher; Celery calls it when a worker is ready."""
    _stop.clear()
    threading.Thread(target=run, args=(_stop,), name="dispatcher", daemon=True).start()


def stop(**_signal: object) -> None:
    """Stop this process' dispatcher; Celery calls it when a worker shuts down."""
    _stop.set()


@lru_cache(maxsize=1)
def _executor() -> concurrent.futures.ThreadPoolExecutor:
    return concurrent.futures.ThreadPoolExecutor(max_workers=OWN_THREADS, thread_name_prefix="dispatched")


def _work(name: str, arguments: dict[str, Any]) -> None:
    try:
        followups.do(name, arguments)
    except Exception:  # the door of a thread: what failed is found again by the next round
        log.exception("dispatched_work_failed", task=name)
    finally:
        connection.close()
