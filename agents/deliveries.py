"""People's decisions about deliveries that were not sent, or of which nobody knows whether they were.

The admin calls it. Each decision says who took it and why, and leaves an entry in the audit.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction

from agents import audit
from agents.models import Delivery
from agents.wakeups import wake_after_commit

DECIDE = """
WITH unsent AS (
    SELECT id, state FROM agents_delivery WHERE id = ANY(%(ids)s) AND state = ANY(%(unsent)s)
    ORDER BY id FOR UPDATE
)
UPDATE agents_delivery AS delivery
SET state = %(state)s::text, next_run_at = clock_timestamp(),
    attempts = CASE WHEN %(is_resent)s THEN 0 ELSE delivery.attempts END,
    tried_at = CASE WHEN %(is_resent)s THEN NULL ELSE delivery.tried_at END,
    expires_at = CASE WHEN %(is_resent)s THEN clock_timestamp() + make_interval(secs => %(expires)s)
                      ELSE delivery.expires_at END
FROM unsent WHERE delivery.id = unsent.id
RETURNING delivery.id, delivery.connection_id, delivery.room_id, unsent.state
"""
"""Decides about those that are still undecided; whoever decides second changes nothing."""


class NoReason(audit.NotDecided):
    """A decision needs a reason: say why."""


def resend(delivery_ids: Sequence[int], *, by: str, why: str) -> list[int]:
    """Send them again, under the same key where their network takes one; return which of them were undecided.

    Each gets the time that a new reply has before it expires, and goes before what waits in its room.
    Raises: NoReason.
    """
    return _decide("resend", delivery_ids, Delivery.State.PENDING, by=by, why=why)


def mark_sent(delivery_ids: Sequence[int], *, by: str, why: str) -> list[int]:
    """Note that they arrived, as somebody has seen; return which of them were undecided.

    Raises: NoReason.
    """
    return _decide("mark_sent", delivery_ids, Delivery.State.SENT, by=by, why=why)


def drop(delivery_ids: Sequence[int], *, by: str, why: str) -> list[int]:
    """Leave them unsent for good, as failed; return which of them were undecided.

    Raises: NoReason.
    """
    return _decide("drop", delivery_ids, Delivery.State.FAILED, by=by, why=why)


def _decide(verb: str, delivery_ids: Sequence[int], state: Delivery.State, *, by: str, why: str) -> list[int]:
    if not why.strip():
        raise NoReason(f"To {verb.replace('_', ' ')} a delivery takes a reason: say why.")
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            DECIDE,
            {
                "state": state.value,
                "is_resent": state == Delivery.State.PENDING,
                "expires": settings.DELIVERY_EXPIRES_AFTER_SECONDS,
                "ids": list(delivery_ids),
                "unsent": [unsent.value for unsent in Delivery.UNSENT_STATES],
            },
        )
        rows: list[tuple[int, UUID, UUID, str]] = cursor.fetchall()
        audit.record(by, verb, "delivery", {row[0]: {"from": row[3]} for row in sorted(rows)}, why=why)
        if state == Delivery.State.PENDING:
            _wake_rooms({(row[1], row[2]) for row in rows})
    return sorted(row[0] for row in rows)


def _wake_rooms(places: set[tuple[Any, Any]]) -> None:
    for connection_id, room_id in places:
        wake_after_commit(
            "transports.deliver_message", connection_id=str(connection_id), room_id=str(room_id)
        )
