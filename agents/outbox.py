"""Puts out what is said: the outbound message and its delivery in one statement, and a delivery's states.

The pipeline puts, in the transaction that ends the turn; `transports.delivery` claims and records what the
network answered. Only the first open delivery of a (connection, room) can be claimed, so parts and turns
stay in order there; uncertain, failed and expired ones count as passed.
"""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection
from uuid_utils.compat import uuid7

from agents.cleaning import clean_json, clean_text, clean_words
from agents.envelopes import Acknowledgement, Outgoing
from agents.wakeups import hand_on_after_commit
from plugins.api import Attachment

SEND_SHARE = 0.5
"""The part of a delivery's lease that a transport may take to send one message."""
MARGIN_SHARE = 0.1
"""What stays of it when a send has run into its limit: to record it, and for clocks of unlike speed."""


@dataclass(frozen=True, kw_only=True)
class Reply:
    """One thing to say."""

    text: str
    attachments: tuple[Attachment, ...] = ()


@dataclass(frozen=True, kw_only=True)
class Destination:
    """Where something is said, to whom, and which turn says it, if one does.

    `said_count` are the parts that this turn said already: those to come are numbered after them.
    """

    agent_id: UUID
    connection_id: UUID
    room_id: UUID
    person_id: UUID | None = None
    turn_id: UUID | None = None
    reply_to_external_id: str = ""
    said_count: int = 0


@dataclass(frozen=True, kw_only=True)
class ClaimedDelivery:
    """A delivery that this worker may send.

    `taken_at` is this machine's monotonic clock before the claim. `may_have_arrived` tells that an earlier attempt
    may have sent it, the first such one `tried_seconds_ago`.
    """

    id: int
    token: int
    taken_at: float
    attempts: int
    is_expired: bool
    may_have_arrived: bool
    tried_seconds_ago: float
    connection_id: UUID
    transport: str
    platform: str
    connection_external_id: str
    connection_settings: dict[str, Any]
    agent_id: UUID
    on_uncertain: str
    outgoing: Outgoing

    def may_start(self) -> bool:
        """Tell whether a send that starts now ends within the lease, its time limit included.

        A worker that was paused after its claim finds out here; what it may not start, it has not sent.
        """
        elapsed = time.monotonic() - self.taken_at
        return bool(elapsed <= settings.DELIVERY_LEASE_SECONDS * (1 - SEND_SHARE - MARGIN_SHARE))


PUT = """
WITH said AS (
    INSERT INTO agents_message (id, agent_id, connection_id, room_id, person_id, direction, text, attachments,
                                reply_to_external_id, is_verified, platform_data, turn_id, position, said_at,
                                received_at)
    SELECT part.id, %(agent)s, %(connection)s, %(room)s, %(person)s, 'out', part.text, part.attachments,
           %(reply_to)s, true, '{}'::jsonb, %(turn)s::uuid, part.position, clock_timestamp(), clock_timestamp()
    FROM unnest(%(ids)s::uuid[], %(texts)s::text[], %(attachments)s::jsonb[], %(positions)s::smallint[])
         AS part (id, text, attachments, position)
    RETURNING id, position
)
INSERT INTO agents_delivery (message_id, connection_id, room_id, state, attempts, lease_token, next_run_at,
                             expires_at, answer, error, created_at)
SELECT said.id, %(connection)s, %(room)s, 'pending', 0, 0, clock_timestamp(),
       clock_timestamp() + make_interval(secs => %(expires)s), '{}'::jsonb, '', clock_timestamp()
FROM said ORDER BY said.position
"""
"""Writes each part of a reply with its delivery. A part is unique on (turn, position)."""

CLAIM = """
WITH head AS (
    SELECT id, tried_at FROM agents_delivery
    WHERE connection_id = %(connection)s AND room_id = %(room)s AND state IN ('pending', 'sending')
    ORDER BY id LIMIT 1 FOR UPDATE
)
UPDATE agents_delivery AS delivery
SET state = 'sending', attempts = delivery.attempts + 1, lease_token = delivery.lease_token + 1,
    lease_until = clock_timestamp() + make_interval(secs => %(lease)s),
    tried_at = coalesce(delivery.tried_at, clock_timestamp())
FROM head, agents_message AS message, agents_room AS room, transports_connection AS link,
     agents_agent AS agent
WHERE delivery.id = head.id AND delivery.next_run_at <= clock_timestamp()
  AND (delivery.state = 'pending' OR delivery.lease_until < clock_timestamp())
  AND message.id = delivery.message_id AND room.id = delivery.room_id AND link.id = delivery.connection_id
  AND agent.id = link.agent_id
RETURNING delivery.id, delivery.lease_token, delivery.attempts,
          coalesce(delivery.expires_at <= clock_timestamp(), false), head.tried_at IS NOT NULL,
          extract(epoch FROM clock_timestamp() - delivery.tried_at)::float,
          link.transport, link.platform, link.external_id, link.settings::text, agent.id, agent.on_uncertain,
          message.id, room.id, room.external_id, room.type, message.text, message.attachments::text,
          message.reply_to_external_id, message.turn_id
"""
"""Claims the first open delivery of a connection's room, if it is due and nobody holds it. It waits for the
row instead of skipping it: the second in line must not overtake. `tried_at` stands where an attempt may have
brought the message to the network, and says when the first such one began.
"""

RECORD = """
UPDATE agents_delivery SET state = %(state)s::text, error = %(error)s, answer = %(answer)s::jsonb, lease_until = NULL,
       sent_at = CASE WHEN %(state)s::text = 'sent' THEN coalesce(%(sent_at)s::timestamptz, clock_timestamp()) END,
       next_run_at = least(clock_timestamp() + make_interval(secs => %(delay)s),
                           CASE WHEN expires_at > clock_timestamp() THEN expires_at END),
       attempts = attempts - CASE WHEN %(is_counted)s THEN 0 ELSE 1 END,
       tried_at = CASE WHEN %(may_have_arrived)s THEN tried_at END
WHERE id = %(id)s AND lease_token = %(token)s AND state = 'sending'
RETURNING EXISTS (SELECT 1 FROM agents_delivery AS other
                  WHERE other.connection_id = agents_delivery.connection_id
                    AND other.room_id = agents_delivery.room_id
                    AND other.state IN ('pending', 'sending') AND other.id <> agents_delivery.id)
"""
"""Records what became of a delivery under its token, and tells whether others wait behind it. What is to be tried
again later is looked at no later than when it expires.
"""

FIND_DUE = """
SELECT connection_id, room_id FROM (
    SELECT DISTINCT ON (connection_id, room_id) connection_id, room_id, state, next_run_at, lease_until
    FROM agents_delivery WHERE state IN ('pending', 'sending')
    ORDER BY connection_id, room_id, id
) AS head
WHERE next_run_at <= clock_timestamp()
  AND (state = 'pending' AND next_run_at < clock_timestamp() - make_interval(secs => 2)
       OR state = 'sending' AND lease_until < clock_timestamp())
LIMIT %(limit)s
"""
"""The heads that nobody works: those that have just become due are left to the wake-up that is on its way."""


def put(destination: Destination, replies: Sequence[Reply]) -> list[UUID]:
    """Write the replies and their deliveries in the caller's transaction, to be sent after its commit."""
    if not replies:
        return []
    ids = [uuid7() for _reply in replies]
    with connection.cursor() as cursor:
        cursor.execute(
            PUT,
            {
                "agent": destination.agent_id,
                "connection": destination.connection_id,
                "room": destination.room_id,
                "person": destination.person_id,
                "turn": destination.turn_id,
                "reply_to": destination.reply_to_external_id,
                "ids": ids,
                "texts": [clean_words(reply.text) for reply in replies],
                "attachments": [
                    json.dumps(clean_json([vars(attachment) for attachment in reply.attachments]))
                    for reply in replies
                ],
                "positions": list(range(destination.said_count, destination.said_count + len(replies))),
                "expires": settings.DELIVERY_EXPIRES_AFTER_SECONDS,
            },
        )
    hand_on_after_commit(
        "transports.deliver_message",
        connection_id=str(destination.connection_id),
        room_id=str(destination.room_id),
    )
    return ids


def send_timeout_seconds() -> float:
    """Return how long a transport may take to send one message."""
    return float(settings.DELIVERY_LEASE_SECONDS * SEND_SHARE)


def find_due(limit: int) -> list[tuple[UUID, UUID]]:
    """Return the (connection, room) pairs whose first open delivery is due and free."""
    with connection.cursor() as cursor:
        cursor.execute(FIND_DUE, {"limit": limit})
        return [(row[0], row[1]) for row in cursor.fetchall()]


def claim(connection_id: UUID, room_id: UUID) -> ClaimedDelivery | None:
    """Claim the first open delivery of the connection's room; None where none is due or free."""
    taken_at = time.monotonic()
    with connection.cursor() as cursor:
        cursor.execute(
            CLAIM,
            {"connection": connection_id, "room": room_id, "lease": settings.DELIVERY_LEASE_SECONDS},
        )
        row = cursor.fetchone()
    if row is None:
        return None
    return ClaimedDelivery(
        id=row[0],
        token=row[1],
        taken_at=taken_at,
        attempts=row[2],
        is_expired=row[3],
        may_have_arrived=row[4],
        tried_seconds_ago=row[5],
        connection_id=connection_id,
        transport=row[6],
        platform=row[7],
        connection_external_id=row[8],
        connection_settings=json.loads(row[9]),
        agent_id=row[10],
        on_uncertain=row[11],
        outgoing=Outgoing(
            delivery_id=row[0],
            message_id=row[12],
            room_id=row[13],
            room_external_id=row[14],
            room_type=row[15],
            text=row[16],
            attachments=tuple(Attachment(**attachment) for attachment in json.loads(row[17])),
            reply_to_external_id=row[18],
            turn_id=row[19],
            nonce=nonce_of(row[12]),
        ),
    )


def record_sent(delivery: ClaimedDelivery, acknowledgement: Acknowledgement) -> bool:
    """Record what the network said, and tell whether more waits in the room."""
    answer = {"external_id": acknowledgement.external_id, **acknowledgement.platform_data}
    return _record(delivery, state="sent", answer=answer, sent_at=acknowledgement.acknowledged_at)


def record_unsent(
    delivery: ClaimedDelivery,
    *,
    state: str,
    error: str,
    delay_seconds: float = 0.0,
    may_have_arrived: bool = False,
    is_counted: bool = True,
) -> bool:
    """Record why it was not sent (`pending` is tried again), and tell whether more waits in the room.

    `may_have_arrived` says so of this attempt, `is_counted` whether it counts as one.
    """
    return _record(
        delivery,
        state=state,
        error=error,
        delay=delay_seconds,
        may_have_arrived=may_have_arrived or delivery.may_have_arrived,
        is_counted=is_counted,
    )


def nonce_of(message_id: UUID) -> str:
    """Return the key by which a network knows the message again.

    Shape: 25 characters of base 36.
    Source: Discord's limit for a nonce is 25 characters.
    """
    digits = "0123456789abcdefghijklmnopqrstuvwxyz"
    number, nonce = message_id.int, ""
    for _place in range(25):
        number, digit = divmod(number, 36)
        nonce = digits[digit] + nonce
    return nonce


def _record(
    delivery: ClaimedDelivery,
    *,
    state: str,
    error: str = "",
    answer: dict[str, Any] | None = None,
    sent_at: dt.datetime | None = None,
    delay: float = 0.0,
    may_have_arrived: bool = True,
    is_counted: bool = True,
) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            RECORD,
            {
                "id": delivery.id,
                "token": delivery.token,
                "state": state,
                "error": clean_text(error),
                "answer": json.dumps(clean_json(answer or {})),
                "sent_at": sent_at,
                "delay": delay,
                "may_have_arrived": may_have_arrived,
                "is_counted": is_counted,
            },
        )
        row = cursor.fetchone()
    return row is not None and bool(row[0])
