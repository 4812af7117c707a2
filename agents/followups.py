"""Work that follows a turn at once in the same worker process, such as sending its reply.

`agents.wakeups` hands it on. Only a worker takes any, and only for queues that it serves: where networks are
served by workers of their own, replies go to them through the broker.
"""

from __future__ import annotations

import concurrent.futures
import threading
from typing import Any

import structlog
from celery import current_app
from django.conf import settings
from django.db import connection

log = structlog.get_logger(__name__)

THREADS = 32


class _Followups:
    def __init__(self) -> None:
        self._queues: frozenset[str] = frozenset()
        self._executor: concurrent.futures.ThreadPoolExecutor | None = None
        self._free = threading.Semaphore(THREADS)

    def start(self, queues: frozenset[str]) -> None:
        self._queues = queues
        self._executor = concurrent.futures.ThreadPoolExecutor(THREADS, thread_name_prefix="followup")

    def stop(self) -> None:
        self._queues = frozenset()
        if self._executor is not None:
            self._executor.shutdown(wait=False, cancel_futures=True)

    def take(self, name: str, arguments: dict[str, Any]) -> bool:
        if name.split(".")[0] not in self._queues or self._executor is None:
            return False
        if not self._free.acquire(blocking=False):
            return False
        try:
            self._executor.submit(self._work, name, arguments)
        except RuntimeError:  # the worker is shutting down
            self._free.release()
            return False
        return True

    def _work(self, name: str, arguments: dict[str, Any]) -> None:
        try:
            do(name, arguments)
        except Exception:  # the door of a thread: what failed is found again by the dispatcher
            log.exception("followup_failed", task=name)
        finally:
            connection.close()
            self._free.release()


_followups = _Followups()


def do(name: str, arguments: dict[str, Any]) -> None:
    """Do a task on this thread, its log's lines bound to it as those of a worker's tasks are (`eliza_site.celery`)."""
    with structlog.contextvars.bound_contextvars(task=name):
        current_app.tasks[name](**arguments)


def take(name: str, arguments: dict[str, Any]) -> bool:
    """Do the task on a thread of this process and tell so; False where it is not this process' to do."""
    return _followups.take(name, arguments)


def start(sender: Any = None, **_signal: object) -> None:
    """Begin to take work; Celery calls it when a worker is ready, with the consumer as the sender."""
    consumed = getattr(getattr(sender, "app", current_app).amqp.queues, "consume_from", {})
    _followups.start(frozenset(consumed))


def start_all() -> None:
    """Begin to take all work there is: this process is the only one."""
    _followups.start(frozenset(route["queue"] for route in settings.CELERY_TASK_ROUTES.values()))


def stop(**_signal: object) -> None:
    """Take no more; Celery calls it when a worker shuts down."""
    _followups.stop()
