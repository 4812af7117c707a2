"""People's decisions about deliveries that were not sent, or of which nobody knows whether they were.

The admin calls it. Each decision says who took it and why; it stands in the delivery and in the log.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import UUID

import structlog
from django.conf import settings
from django.db import connection, transaction

from agents.cleaning import clean_text
from agents.models import Delivery
from agents.wakeups import wake_after_commit

log = structlog.get_logger(__name__)

DECIDE = """
UPDATE agents_delivery AS delivery
SET state = %(state)s::text, next_run_at = clock_timestamp(),
    decisions = delivery.decisions || jsonb_build_array(jsonb_build_object(
        'verb', %(verb)s::text, 'by', %(by)s::text, 'why', %(why)s::text, 'from', delivery.state,
        'at', clock_timestamp())),
    attempts = CASE WHEN %(is_resent)s THEN 0 ELSE delivery.attempts END,
    tried_at = CASE WHEN %(is_resent)s THEN NULL ELSE delivery.tried_at END,
    expires_at = CASE WHEN %(is_resent)s THEN clock_timestamp() + make_interval(secs => %(expires)s)
                      ELSE delivery.expires_at END
WHERE id = ANY(%(ids)s) AND state = ANY(%(unsent)s)
RETURNING id, connection_id, room_id
"""
"""Decides about those that are still undecided; whoever decides second changes nothing."""


class NoReason(ValueError):
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
                "verb": verb,
                "by": clean_text(by),
                "why": clean_text(why),
                "is_resent": state == Delivery.State.PENDING,
                "expires": settings.DELIVERY_EXPIRES_AFTER_SECONDS,
                "ids": list(delivery_ids),
                "unsent": [unsent.value for unsent in Delivery.UNSENT_STATES],
            },
        )
        rows: list[tuple[int, UUID, UUID]] = cursor.fetchall()
        if state == Delivery.State.PENDING:
            _wake_rooms({(row[1], row[2]) for row in rows})
    decided = sorted(row[0] for row in rows)
    log.info("deliveries_decided", verb=verb, by=by, why=why, deliveries=decided)
    return decided


def _wake_rooms(places: set[tuple[Any, Any]]) -> None:
    for connection_id, room_id in places:
        wake_after_commit(
            "transports.deliver_message", connection_id=str(connection_id), room_id=str(room_id)
        )
