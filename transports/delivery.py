"""Sends what is in the outbox: one room's deliveries of one connection, in order.

`transports.deliver_message` and, by that name, the dispatcher call it. No database connection is held while
a network is waited for, and a send ends within its lease or does not start. What may have arrived is never
repeated blindly: where the network knows a message again by its key it is sent again under the same key,
elsewhere the agent's `on_uncertain` decides.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from functools import partial
from typing import Any
from uuid import UUID

import structlog
from cachetools import TTLCache, cached
from cachetools.keys import hashkey
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection

from agents import metrics, outbox
from agents.crashpoints import reach
from agents.envelopes import Acknowledgement
from agents.models import Agent, Delivery
from agents.outbox import ClaimedDelivery
from agents.processes import shutdown
from plugins.time_limits import call_within
from transports.base import ConnectionView, Transport, TransportError
from transports.models import Connection
from transports.registry import UnknownTransport, get_transport

log = structlog.get_logger(__name__)

LONGEST_BACKOFF_SECONDS = 300.0
SECRETS_STAY_FRESH_SECONDS = 30.0
RECORD_PAUSES_SECONDS = (0.5, 1.0, 2.0)


class NotStarted(Exception):
    """The lease may be over before a send could end; nothing was sent."""


def deliver_room(connection_id: UUID, room_id: UUID) -> int:
    """Send the room's deliveries until none is due; return how many were sent."""
    sent = 0
    # Read before the claim: what fails between the claim and the send would leave an uncertain delivery.
    secrets = _secrets(connection_id)
    while not shutdown.is_begun():
        delivery = outbox.claim(connection_id, room_id)
        if delivery is None:
            break
        with structlog.contextvars.bound_contextvars(delivery=delivery.id):
            is_more, is_sent = _deliver(delivery, secrets)
        sent += is_sent
        if not is_more:
            break
    return sent


def _deliver(delivery: ClaimedDelivery, secrets: dict[str, Any]) -> tuple[bool, bool]:
    try:
        transport = get_transport(delivery.transport)
    except UnknownTransport as error:
        return _unsent(delivery, Delivery.State.FAILED, str(error)), False
    if delivery.may_have_arrived and not _may_repeat(delivery, transport):
        return _unsent(delivery, Delivery.State.UNCERTAIN, _why_uncertain(delivery, transport)), False
    if delivery.is_expired and not delivery.may_have_arrived:
        return _unsent(delivery, Delivery.State.EXPIRED, "It waited longer than a reply may."), False
    try:
        acknowledgement = call_within(
            outbox.send_timeout_seconds(), _send, transport, _view(delivery, secrets), delivery
        )
    except NotStarted as late:
        log.warning("delivery_not_started", error=late)
        state = Delivery.State.PENDING
        record = partial(outbox.record_unsent, delivery, state=state, error=str(late), is_counted=False)
        return _persistently(record), False
    except TransportError as error:
        return _refused(delivery, transport, error), False
    except Exception as error:  # the door to a network: whatever it raised, the message may have arrived
        log.warning("transport_failed", transport=transport.name, exc_info=True)
        lost = TransportError(f"{type(error).__name__}: {error}", may_have_arrived=True)
        return _refused(delivery, transport, lost), False
    metrics.DELIVERIES.labels(platform=delivery.platform, state="sent").inc()
    is_more = _persistently(partial(outbox.record_sent, delivery, acknowledgement))
    reach("delivery.recorded")
    return is_more, True


def _send(transport: Transport, view: ConnectionView, delivery: ClaimedDelivery) -> Acknowledgement:
    reach("delivery.claimed")
    if not delivery.may_start():
        raise NotStarted("The lease may have been over before it was sent; it was not.")
    acknowledgement = transport.deliver(view, delivery.outgoing)
    reach("delivery.sent")
    return acknowledgement


def _refused(delivery: ClaimedDelivery, transport: Transport, error: TransportError) -> bool:
    may_have_arrived = error.may_have_arrived or delivery.may_have_arrived
    if error.permanent:
        return _unsent(delivery, Delivery.State.FAILED, str(error))
    if may_have_arrived and not _may_repeat(delivery, transport):
        return _unsent(delivery, Delivery.State.UNCERTAIN, str(error))
    # Waiting as long as the network asks is no attempt; how long a reply may wait bounds it.
    is_counted = error.retry_after_seconds is None or error.may_have_arrived
    if is_counted and delivery.attempts >= settings.DELIVERY_MAX_ATTEMPTS:
        state = Delivery.State.UNCERTAIN if may_have_arrived else Delivery.State.FAILED
        return _unsent(delivery, state, f"{error} ({delivery.attempts} attempts)")
    delay = min(LONGEST_BACKOFF_SECONDS, 2.0**delivery.attempts)
    if error.retry_after_seconds is not None:
        delay = (
            max(0.0, error.retry_after_seconds) if not is_counted else max(delay, error.retry_after_seconds)
        )
    log.warning("delivery_put_back", error=error, delay_seconds=delay)
    _persistently(
        partial(
            outbox.record_unsent,
            delivery,
            state=Delivery.State.PENDING,
            error=str(error),
            delay_seconds=delay,
            may_have_arrived=error.may_have_arrived,
            is_counted=is_counted,
        )
    )
    return False


def _may_repeat(delivery: ClaimedDelivery, transport: Transport) -> bool:
    """Tell whether what may have arrived may be sent again: under a key that the network surely remembers, or
    where the agent would rather say it twice; but what is stale is not said for the chance of being the first.
    """
    if transport.supports_idempotency_key:
        lasts = transport.idempotency_key_lasts_seconds
        if lasts is None or delivery.tried_seconds_ago + settings.DELIVERY_LEASE_SECONDS < lasts:
            return True
    return delivery.on_uncertain == Agent.OnUncertain.RESEND and not delivery.is_expired


def _why_uncertain(delivery: ClaimedDelivery, transport: Transport) -> str:
    error = (
        f"An attempt {delivery.tried_seconds_ago:.0f} s ago never came to its end, so it may have arrived."
    )
    return (
        f"{error} {transport.name} may have forgotten its key."
        if transport.supports_idempotency_key
        else error
    )


def _persistently(record: Callable[[], bool]) -> bool:
    """Record what is known, again where the database is away for a moment; the token keeps it from doing harm.

    What could not be recorded would have to be called uncertain.
    """
    for pause in RECORD_PAUSES_SECONDS:
        try:
            return record()
        except (OperationalError, InterfaceError) as error:
            log.warning("delivery_not_recorded", error=error)
            connection.close()
            time.sleep(pause)
    return record()


def _unsent(delivery: ClaimedDelivery, state: Delivery.State, error: str) -> bool:
    log.warning("delivery_not_sent", state=state.value, error=error)
    metrics.DELIVERIES.labels(platform=delivery.platform, state=state.value).inc()
    return _persistently(
        partial(
            outbox.record_unsent,
            delivery,
            state=state,
            error=error,
            may_have_arrived=state == Delivery.State.UNCERTAIN,
        )
    )


def _view(delivery: ClaimedDelivery, secrets: dict[str, Any]) -> ConnectionView:
    return ConnectionView(
        id=delivery.connection_id,
        agent_id=delivery.agent_id,
        platform=delivery.platform,
        external_id=delivery.connection_external_id,
        secrets=secrets,
        settings=delivery.connection_settings,
    )


@cached(TTLCache(maxsize=4096, ttl=SECRETS_STAY_FRESH_SECONDS), key=hashkey, lock=threading.Lock())
def _secrets(connection_id: UUID) -> dict[str, Any]:
    return Connection.objects.filter(pk=connection_id).values_list("secrets", flat=True).first() or {}
