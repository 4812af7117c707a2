"""Wakes the workers through Celery: best effort, never in the way, never with data in it.

Losing a wake-up costs a few seconds, until the dispatcher looks; so a broker that does not answer is left
alone for a while instead of being asked again by every message.
"""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import Any

import kombu
import structlog
from celery import current_app
from django.db import transaction
from kombu.exceptions import OperationalError
from kombu.pools import ProducerPool

from agents import followups
from agents.crashpoints import reach

log = structlog.get_logger(__name__)

PUBLISH_TIMEOUT_SECONDS = 0.5
BROKER_REST_SECONDS = 5.0


class _Publisher:
    """The process' own way to the broker: short limits, no retries, a rest after a failure."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pool: ProducerPool | None = None
        self._rests_until = 0.0

    def publish(self, name: str, arguments: dict[str, Any]) -> bool:
        if time.monotonic() < self._rests_until:
            return False
        try:
            with self._producers().acquire(block=True, timeout=PUBLISH_TIMEOUT_SECONDS) as producer:
                reach("wakeup.publishing")
                current_app.send_task(name, kwargs=arguments, producer=producer, retry=False)
        except (OperationalError, OSError, kombu.exceptions.LimitExceeded) as error:
            self._rests_until = time.monotonic() + BROKER_REST_SECONDS
            log.warning("wakeup_not_published", task=name, error=str(error))
            return False
        return True

    def is_resting(self) -> bool:
        return time.monotonic() < self._rests_until

    def _producers(self) -> ProducerPool:
        with self._lock:
            if self._pool is None:
                connection = current_app.connection_for_write(
                    connect_timeout=PUBLISH_TIMEOUT_SECONDS,
                    transport_options={
                        "socket_timeout": PUBLISH_TIMEOUT_SECONDS,
                        "socket_connect_timeout": PUBLISH_TIMEOUT_SECONDS,
                        "max_retries": 0,
                        "interval_start": 0,
                        "interval_step": 0,
                        "interval_max": 0,
                    },
                )
                self._pool = ProducerPool(connection.Pool(limit=16), limit=16)
            return self._pool


_publisher = _Publisher()


def wake(name: str, **arguments: Any) -> bool:
    """Publish a wake-up at once and tell whether the broker took it.

    Unit: waits at most PUBLISH_TIMEOUT_SECONDS.
    """
    reach("wakeup.before_publish")
    return _publisher.publish(name, arguments)


def wake_after_commit(name: str, **arguments: Any) -> None:
    """Publish a wake-up when the current transaction has committed."""
    transaction.on_commit(partial(wake, name, **arguments))


def hand_on_after_commit(name: str, **arguments: Any) -> None:
    """Have a task done when the current transaction has committed: in this process, if it is a worker of that
    task's queue and has a thread free, else by a wake-up.

    It saves the way through the broker; dying with the process, it is found by the dispatcher as any other.
    """
    transaction.on_commit(partial(_hand_on, name, arguments))


def _hand_on(name: str, arguments: dict[str, Any]) -> None:
    if not followups.take(name, arguments):
        wake(name, **arguments)


def is_broker_away() -> bool:
    """Tell whether the last publishing failed a moment ago."""
    return _publisher.is_resting()
