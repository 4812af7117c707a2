"""Sends what is in the outbox: one room's deliveries of one connection, in order.

`transports.deliver_message` and, by that name, the dispatcher call it. No database connection is held while
a network is waited for. What may have arrived is never repeated blindly: where the network knows a message
again by its key it is sent again under the same key, elsewhere the agent's `on_uncertain` decides.
"""

from __future__ import annotations

import threading
from typing import Any
from uuid import UUID

import structlog
from cachetools import TTLCache, cached
from cachetools.keys import hashkey
from django.conf import settings

from agents import outbox, shutdown
from agents.databases import release_connection
from agents.models import Agent, Delivery
from agents.outbox import ClaimedDelivery
from transports.base import ConnectionView, Transport, TransportError
from transports.models import Connection
from transports.registry import UnknownTransport, get_transport

log = structlog.get_logger(__name__)

LONGEST_BACKOFF_SECONDS = 300.0
SECRETS_STAY_FRESH_SECONDS = 30.0


def deliver_room(connection_id: UUID, room_id: UUID) -> int:
    """Send the room's deliveries until none is due; return how many were sent."""
    sent = 0
    while not shutdown.is_begun():
        delivery = outbox.claim(connection_id, room_id)
        if delivery is None:
            break
        with structlog.contextvars.bound_contextvars(delivery=delivery.id):
            is_more, is_sent = _deliver(delivery)
        sent += is_sent
        if not is_more:
            break
    return sent


def _deliver(delivery: ClaimedDelivery) -> tuple[bool, bool]:
    if delivery.is_expired:
        return _unsent(delivery, Delivery.State.EXPIRED, "It waited longer than a reply may."), False
    try:
        transport = get_transport(delivery.transport)
        if delivery.was_sending and not _may_repeat(delivery, transport):
            error = "A worker died while it sent this, so it may have arrived."
            return _unsent(delivery, Delivery.State.UNCERTAIN, error), False
        view = _view(delivery)
        release_connection()
        acknowledgement = transport.deliver(view, delivery.outgoing)
    except TransportError as error:
        return _refused(delivery, transport, error), False
    except UnknownTransport as error:
        return _unsent(delivery, Delivery.State.FAILED, str(error)), False
    return outbox.record_sent(delivery, acknowledgement), True


def _refused(delivery: ClaimedDelivery, transport: Transport, error: TransportError) -> bool:
    if error.permanent:
        return _unsent(delivery, Delivery.State.FAILED, str(error))
    if error.may_have_arrived and not _may_repeat(delivery, transport):
        return _unsent(delivery, Delivery.State.UNCERTAIN, str(error))
    if delivery.attempts >= settings.DELIVERY_MAX_ATTEMPTS:
        state = Delivery.State.UNCERTAIN if error.may_have_arrived else Delivery.State.FAILED
        return _unsent(delivery, state, f"{error} ({delivery.attempts} attempts)")
    delay = min(LONGEST_BACKOFF_SECONDS, max(error.retry_after_seconds or 0.0, 2.0**delivery.attempts))
    log.warning("delivery_put_back", error=str(error), delay_seconds=delay)
    outbox.record_unsent(delivery, state=Delivery.State.PENDING, error=str(error), delay_seconds=delay)
    return False


def _may_repeat(delivery: ClaimedDelivery, transport: Transport) -> bool:
    return transport.supports_idempotency_key or delivery.on_uncertain == Agent.OnUncertain.RESEND


def _unsent(delivery: ClaimedDelivery, state: Delivery.State, error: str) -> bool:
    log.warning("delivery_not_sent", state=state.value, error=error)
    return outbox.record_unsent(delivery, state=state, error=error)


def _view(delivery: ClaimedDelivery) -> ConnectionView:
    return ConnectionView(
        id=delivery.connection_id,
        agent_id=delivery.agent_id,
        platform=delivery.platform,
        external_id=delivery.connection_external_id,
        secrets=_secrets(delivery.connection_id),
        settings=delivery.connection_settings,
    )


@cached(TTLCache(maxsize=4096, ttl=SECRETS_STAY_FRESH_SECONDS), key=hashkey, lock=threading.Lock())
def _secrets(connection_id: UUID) -> dict[str, Any]:
    secrets: dict[str, Any] = Connection.objects.values_list("secrets", flat=True).get(pk=connection_id)
    return secrets
