"""Wakes the workers through Celery: best effort, never in the way, never with data in it.

Losing a wake-up costs a few seconds, until the dispatcher looks; so a broker that does not answer is left
alone for a while instead of being asked again by every message (`agents.circuits`).
"""

from __future__ import annotations

import threading
import time
from functools import partial
from typing import Any

import kombu
import structlog
from celery import current_app
from django.conf import settings
from django.db import transaction
from kombu.exceptions import LimitExceeded, OperationalError
from kombu.pools import ProducerPool

from agents import followups
from agents.circuits import broker_circuit
from agents.crashpoints import reach

log = structlog.get_logger(__name__)

PUBLISH_TIMEOUT_SECONDS = 0.5
PRODUCERS = 16


class _Publisher:
    """The process' own way to the broker: short limits, no retries, a rest after a failure."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._pool: ProducerPool | None = None
        self._errors: tuple[type[BaseException], ...] = ()

    def publish(self, name: str, arguments: dict[str, Any]) -> bool:
        circuit = broker_circuit()
        if not circuit.may_try():
            return False
        producers = self._producers()
        try:
            with producers.acquire(block=True, timeout=PUBLISH_TIMEOUT_SECONDS) as producer:
                reach("wakeup.publishing")
                self._send(producer, name, arguments)
        except self._errors as error:
            circuit.fail()
            log.warning("wakeup_not_published", task=name, error=error)
            return False
        circuit.succeed()
        return True

    def is_resting(self) -> bool:
        return broker_circuit().is_resting()

    def _send(self, producer: kombu.Producer, name: str, arguments: dict[str, Any]) -> None:
        link: Any = producer.connection
        was_open, started = link.connected, time.monotonic()
        try:
            current_app.send_task(name, kwargs=arguments, producer=producer, retry=False)
        except self._errors:
            # Its answer may still come, and would be taken for the answer to the next wake-up.
            link.collect()
            producer.revive(link)
            if not was_open or time.monotonic() - started > PUBLISH_TIMEOUT_SECONDS / 5:
                raise
            # An old connection that the broker has closed meanwhile is no sign of its being away.
            current_app.send_task(name, kwargs=arguments, producer=producer, retry=False)

    def _producers(self) -> ProducerPool:
        with self._lock:
            if self._pool is None:
                # RabbitMQ ends a connection whose heartbeats stay away, and nobody here would send them.
                link: Any = current_app.connection_for_write(
                    heartbeat=0, connect_timeout=PUBLISH_TIMEOUT_SECONDS, transport_options=_SHORT_LIMITS
                )
                # Each waiting request thread has a way of its own: in a hang they wait side by side.
                limit = max(PRODUCERS, settings.WEB_THREADS)
                # py-amqp raises AttributeError now and then where a connection was lost under it.
                self._errors = (OperationalError, OSError, LimitExceeded, AttributeError)
                self._errors += link.connection_errors + link.channel_errors
                self._pool = ProducerPool(link.Pool(limit=limit), limit=limit)
            return self._pool


def _bound_waiting(link: Any) -> None:
    """Bound every wait on an AMQP connection; py-amqp's own `read_timeout` only makes it look again."""
    link.transport.sock.settimeout(PUBLISH_TIMEOUT_SECONDS)


# Each transport of kombu takes those that it knows: connecting is not repeated, no answer is waited for long.
_SHORT_LIMITS: dict[str, Any] = {
    "max_retries": 0,
    "interval_start": 0,
    "interval_step": 0,
    "interval_max": 0,
    # Valkey and Redis.
    "socket_timeout": PUBLISH_TIMEOUT_SECONDS,
    "socket_connect_timeout": PUBLISH_TIMEOUT_SECONDS,
    # RabbitMQ. Without its confirmation, a broker that hangs seems to take everything: nobody would be woken,
    # and the dispatcher would not know that it has to do the work.
    "confirm_publish": True,
    "on_open": _bound_waiting,
}

_publisher = _Publisher()


def wake(name: str, **arguments: Any) -> bool:
    """Publish a wake-up at once and tell whether the broker took it; an ephemeral process works it itself.

    Unit: waits at most PUBLISH_TIMEOUT_SECONDS.
    """
    reach("wakeup.before_publish")
    if settings.EPHEMERAL:
        return followups.take(name, arguments)
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
