"""Celery's consumer, which outlives the loss of its broker while tasks are at work. `CELERY_WORKER_CONSUMER` names it.

Celery 5.7 with kombu 5.7 ends the whole worker in two places where a channel is used after its connection was
taken away: cleaning up behind a lost Redis while a wake-up is unacknowledged, and acknowledging one whose broker
has gone meanwhile. Both raise AttributeError, which neither counts among a connection's errors. Nothing is lost
by going on: the wake-up comes again or not, and changes nothing either way.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import structlog
from celery.worker.consumer import Consumer as CelerysConsumer

log = structlog.get_logger(__name__)


class Consumer(CelerysConsumer):
    """Takes wake-ups from the broker; connects again whatever was under way when the connection was lost."""

    def on_connection_error_after_connected(self, exc: Exception) -> None:
        """Give the lost connection up, as Celery does, even where its channel can't be closed any more."""
        try:
            super().on_connection_error_after_connected(exc)
        except AttributeError as error:
            log.info("lost_connection_not_closed", error=error)

    def call_soon_ack(self, p: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Acknowledge a wake-up in the event loop, or let it be where its connection is gone."""
        return super().call_soon_ack(partial(_acknowledge, p), *args, **kwargs)  # type: ignore[misc]


def _acknowledge(acknowledge: Callable[..., Any], *args: Any, **kwargs: Any) -> None:
    try:
        acknowledge(*args, **kwargs)
    except AttributeError as error:
        log.info("wakeup_not_acknowledged", error=error)
