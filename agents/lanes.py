"""Lanes: who may work a person's messages, one after the other.

A lane is claimed by one conditional update that writes a lease and a new fencing token. Every write that
matters asks for that token again, so a holder that lost its lease can change nothing. Time is the database's.
Called by `agents.tasks`, the dispatcher and the pipeline.
"""

from __future__ import annotations

import datetime as dt
import json
import os
import socket
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection


class Fenced(Exception):
    """The lane's lease was lost: somebody else works it now, and nothing more may be written."""


@dataclass(frozen=True, kw_only=True)
class Lease:
    """The right to work a lane, until it is renewed or lost.

    `taken_at` is this machine's monotonic clock before the statement that took it: it lasts no longer from there.
    """

    lane_id: UUID
    token: int
    taken_at: float = field(default_factory=time.monotonic, compare=False)


Claim = tuple[UUID, int]
"""What is held, and the token that it is held by."""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What became of leases that were to be renewed. What is in neither stands as it was: its row was locked."""

    renewed: frozenset[Claim]
    lost: frozenset[Claim]


@dataclass(frozen=True, kw_only=True)
class ClaimedTurn:
    """A turn that was taken from its lane, with all that its work needs to know of it.

    `error_count`, `crash_count` and `suspect_count` are those of earlier attempts, `take_count` counts this one
    too; `interrupt_count` the turns before it that were superseded for it. `is_collected` tells that its set of
    messages is stored. `now` is the database's time when it was taken. The two `has_` say whether a second look
    is worth a statement.
    """

    id: UUID
    lease: Lease
    sequence: int
    agent_id: UUID
    agent_revision: int
    double_texting: str
    character_version: int
    room_id: UUID
    room_type: str
    room_platform: str
    room_external_id: str
    room_name: str
    person_id: UUID | None
    person_name: str
    person_is_bot: bool
    participant_state: str
    connection_id: UUID
    supports_streaming: bool
    message_id: UUID
    message_text: str
    message_attachments: list[dict[str, str]]
    message_external_id: str
    message_is_addressed: bool | None
    message_is_verified: bool
    message_said_at: dt.datetime
    bucket_count: int
    error_count: int
    crash_count: int
    error: str
    suspect_count: int
    take_count: int
    said_count: int
    interrupt_count: int
    is_stop_requested: bool
    is_interrupt_requested: bool
    is_collected: bool
    received_at: dt.datetime
    evaluation_token: int
    evaluation_attempts: int
    outcome: str
    now: dt.datetime
    has_goals: bool
    has_plugin_states: bool

    @property
    def is_second_attempt(self) -> bool:
        """Tell whether an earlier attempt may have left finished steps."""
        return self.take_count > 1


def owner() -> str:
    """Return who this process is, for the lease: host and process id."""
    return f"{socket.gethostname()}:{os.getpid()}"


_TAKE_HEAD = """
head AS (
    SELECT turn.id FROM agents_turn AS turn JOIN held ON turn.lane_id = held.id
    WHERE turn.state IN ('waiting', 'running')
    ORDER BY turn.sequence LIMIT 1
), taken AS (
    UPDATE agents_turn AS turn
    SET state = 'running',
        suspect_count = turn.suspect_count + CASE WHEN turn.state = 'running' THEN 1 ELSE 0 END,
        take_count = turn.take_count + 1,
        lease_token = held.lease_token,
        started_at = coalesce(turn.started_at, clock_timestamp())
    FROM held, head
    WHERE turn.id = head.id AND turn.state IN ('waiting', 'running')
    RETURNING turn.*
)
"""

SELECT_TAKEN = """
SELECT held.id AS lane_id, held.lease_token, held.bucket_count,
       taken.id, taken.sequence, taken.error_count, taken.crash_count, taken.error, taken.suspect_count,
       taken.take_count, taken.said_count, taken.received_at,
       taken.evaluation_token, taken.evaluation_attempts, taken.outcome, clock_timestamp() AS now,
       taken.interrupt_count, taken.collected_at IS NOT NULL AS is_collected,
       taken.stop_requested_at IS NOT NULL AS is_stop_requested,
       taken.interrupt_requested_at IS NOT NULL AS is_interrupt_requested,
       agent.id AS agent_id, agent.revision AS agent_revision, agent.double_texting,
       persona.version AS character_version,
       room.id AS room_id, room.type AS room_type, room.platform AS room_platform,
       room.external_id AS room_external_id, room.name AS room_name,
       person.id AS person_id, coalesce(person.name, '') AS person_name,
       coalesce(person.is_bot, false) AS person_is_bot,
       coalesce(participant.state, '') AS participant_state,
       link.id AS connection_id, link.supports_streaming,
       message.id AS message_id, message.text AS message_text,
       message.attachments::text AS message_attachments, message.external_id AS message_external_id,
       message.is_addressed AS message_is_addressed, message.is_verified AS message_is_verified,
       message.said_at AS message_said_at,
       EXISTS (SELECT 1 FROM memory_goal WHERE agent_id = agent.id AND status = 'active') AS has_goals,
       EXISTS (SELECT 1 FROM plugins_pluginstate WHERE agent_id = agent.id) AS has_plugin_states
FROM held
LEFT JOIN taken ON true
LEFT JOIN agents_agent AS agent ON agent.id = taken.agent_id
LEFT JOIN agents_character AS persona ON persona.id = agent.character_id
LEFT JOIN agents_room AS room ON room.id = taken.room_id
LEFT JOIN agents_person AS person ON person.id = taken.person_id
LEFT JOIN agents_participant AS participant
       ON participant.room_id = taken.room_id AND participant.person_id = taken.person_id
LEFT JOIN transports_connection AS link ON link.id = taken.connection_id
LEFT JOIN agents_message AS message ON message.id = taken.message_id
"""

CLAIM = (
    """
WITH held AS (
    UPDATE agents_lane AS lane
    SET lease_owner = %(owner)s, lease_token = lane.lease_token + 1,
        lease_until = clock_timestamp() + make_interval(secs => %(lease)s)
    FROM agents_agent AS agent
    WHERE lane.id = %(lane)s AND agent.id = lane.agent_id AND agent.status = 'running'
      AND (lane.lease_until IS NULL OR lane.lease_until < clock_timestamp())
      AND lane.next_run_at <= clock_timestamp()
      AND EXISTS (SELECT 1 FROM agents_turn AS turn
                  WHERE turn.lane_id = lane.id AND turn.state IN ('waiting', 'running'))
    RETURNING lane.id, lane.lease_token, lane.bucket_count
), """
    + _TAKE_HEAD
    + SELECT_TAKEN
)
"""Claims the lane if it is free, due and has an open turn, and takes its first one. A turn that is found
running was left by a crash: it becomes a suspect, for others may have been worked in the same process.
"""

TAKE_NEXT = (
    """
WITH held AS (
    UPDATE agents_lane AS lane
    SET lease_until = clock_timestamp() + make_interval(secs => %(lease)s)
    FROM agents_agent AS agent
    WHERE lane.id = %(lane)s AND lane.lease_token = %(token)s AND agent.id = lane.agent_id
      AND agent.status = 'running' AND lane.next_run_at <= clock_timestamp()
    RETURNING lane.id, lane.lease_token, lane.bucket_count
), """
    + _TAKE_HEAD
    + SELECT_TAKEN
)
"""Takes the next turn of a lane that is held, and renews its lease."""

READ_TAKEN = (
    """
WITH held AS (
    UPDATE agents_lane SET lease_until = clock_timestamp() + make_interval(secs => %(lease)s)
    WHERE id = %(lane)s AND lease_token = %(token)s
    RETURNING id, lease_token, bucket_count
), taken AS (
    SELECT turn.* FROM agents_turn AS turn JOIN held ON turn.lane_id = held.id
    WHERE turn.id = %(turn)s AND turn.state = 'running'
)
"""
    + SELECT_TAKEN
)
"""Reads a turn that was taken by the same token in another process, and renews the lease."""

RENEW = """
UPDATE agents_lane SET lease_until = clock_timestamp() + make_interval(secs => %(lease)s)
WHERE (id, lease_token) IN (SELECT * FROM unnest(%(lanes)s::uuid[], %(tokens)s::bigint[]))
  AND lease_until IS NOT NULL
RETURNING id, lease_token
"""
"""Renews leases, locks their lanes' rows, and says which are still held. One that was released in the same moment
is not taken again: nobody would work the lane until it ended.
"""

KEEP = """
WITH asked AS (
    SELECT * FROM unnest(%(lanes)s::uuid[], %(tokens)s::bigint[]) AS asked (id, token)
), free AS (
    SELECT lane.id FROM agents_lane AS lane
    JOIN asked ON asked.id = lane.id AND asked.token = lane.lease_token
    WHERE lane.lease_until IS NOT NULL
    FOR NO KEY UPDATE OF lane SKIP LOCKED
), renewed AS (
    UPDATE agents_lane AS lane SET lease_until = clock_timestamp() + make_interval(secs => %(lease)s)
    FROM free WHERE lane.id = free.id
    RETURNING lane.id, lane.lease_token
)
SELECT asked.id, asked.token, renewed.id IS NOT NULL, lane.lease_token IS NOT DISTINCT FROM asked.token
FROM asked
LEFT JOIN renewed ON renewed.id = asked.id AND renewed.lease_token = asked.token
LEFT JOIN agents_lane AS lane ON lane.id = asked.id
"""
"""Renews many leases at once without waiting: one lane's row that is locked must not cost all the others, and
many rows locked in no order would meet those who lock two in the order of their ids.
"""

RELEASE_IF_EMPTY = """
UPDATE agents_lane AS lane SET lease_until = NULL, lease_owner = ''
WHERE lane.id = %(lane)s AND lane.lease_token = %(token)s
  AND NOT EXISTS (SELECT 1 FROM agents_turn AS turn
                  WHERE turn.lane_id = lane.id AND turn.state IN ('waiting', 'running'))
"""
"""Releases a lane that has nothing more to do. The lane's row must be locked by an earlier statement of the
same transaction: in one statement the look at the turns would be older than the lock, and a message that was
stored in between would be left without anyone to wake.
"""

RELEASE = """
UPDATE agents_lane SET lease_until = NULL, lease_owner = '',
       next_run_at = clock_timestamp() + make_interval(secs => %(delay)s)
WHERE id = %(lane)s AND lease_token = %(token)s
"""
"""Releases a lane whatever waits in it, to be worked again after the delay."""


def claim(lane_id: UUID) -> tuple[Lease, ClaimedTurn | None] | None:
    """Claim the lane and take its first open turn; None where there is nothing to claim.

    The turn is None where another holder finished it in the same moment: `take_next` then looks afresh.
    """
    return take_turn_by(CLAIM, {"lane": lane_id, "owner": owner(), "lease": settings.LANE_LEASE_SECONDS})


def take_next(lease: Lease) -> ClaimedTurn | None:
    """Take the next open turn of a lane that is held; None where none is open, the agent rests, or it is lost."""
    found = take_turn_by(
        TAKE_NEXT,
        {"lane": lease.lane_id, "token": lease.token, "lease": settings.LANE_LEASE_SECONDS},
    )
    return found[1] if found else None


def read_taken(lease: Lease, turn_id: UUID) -> ClaimedTurn | None:
    """Return the turn that another process took by this lease; None where it is held no longer."""
    found = take_turn_by(
        READ_TAKEN,
        {
            "lane": lease.lane_id,
            "token": lease.token,
            "turn": turn_id,
            "lease": settings.LANE_LEASE_SECONDS,
        },
    )
    return found[1] if found else None


FIND_DUE = """
UPDATE agents_lane SET woke_at = clock_timestamp()
WHERE id IN (
    SELECT lane.id FROM agents_lane AS lane JOIN agents_agent AS agent ON agent.id = lane.agent_id
    WHERE lane.id IN (SELECT turn.lane_id FROM agents_turn AS turn
                      WHERE turn.state IN ('waiting', 'running')
                        AND turn.received_at < clock_timestamp() - make_interval(secs => %(patience)s))
      AND (lane.lease_until IS NULL OR lane.lease_until < clock_timestamp())
      AND lane.next_run_at <= clock_timestamp() AND agent.status = 'running'
      AND lane.woke_at < clock_timestamp() - make_interval(secs => %(patience)s)
    LIMIT %(limit)s FOR UPDATE OF lane SKIP LOCKED
)
RETURNING id
"""
"""Finds lanes with work that nobody holds and nobody was told of lately, and notes that they are told now. Who is
told of a message is told when it is stored, so the oldest message counts and a new one changes nothing: if each
marked its lane as told of, a person who goes on talking while the broker is away would never be heard.
"""


def find_due(*, limit: int, patience_seconds: float) -> list[UUID]:
    """Return lanes that were left behind, each to one caller at a time."""
    with connection.cursor() as cursor:
        cursor.execute(FIND_DUE, {"limit": limit, "patience": patience_seconds})
        return [row[0] for row in cursor.fetchall()]


def keep(claims: Sequence[Claim]) -> Kept:
    """Renew many leases at once, waiting for no lock, and tell which were renewed and which are lost."""
    with connection.cursor() as cursor:
        cursor.execute(
            KEEP,
            {
                "lanes": [lane_id for lane_id, _token in claims],
                "tokens": [token for _lane_id, token in claims],
                "lease": settings.LANE_LEASE_SECONDS,
            },
        )
        return kept_of(cursor.fetchall())


def kept_of(rows: Sequence[tuple[UUID, int, bool, bool]]) -> Kept:
    """Read rows of id, token, whether it was renewed, and whether the token stands."""
    return Kept(
        renewed=frozenset((row[0], row[1]) for row in rows if row[2]),
        lost=frozenset((row[0], row[1]) for row in rows if not row[2] and not row[3]),
    )


def renew(leases: list[Lease]) -> set[Lease]:
    """Renew the leases, keep their lanes' rows locked until the commit, and return those still held."""
    with connection.cursor() as cursor:
        cursor.execute(
            RENEW,
            {
                "lanes": [lease.lane_id for lease in leases],
                "tokens": [lease.token for lease in leases],
                "lease": settings.LANE_LEASE_SECONDS,
            },
        )
        return {Lease(lane_id=row[0], token=row[1]) for row in cursor.fetchall()}


def release_if_empty(lease: Lease) -> bool:
    """Release the lane if no turn is open in it, and tell so. The caller's transaction holds its row."""
    with connection.cursor() as cursor:
        cursor.execute(RELEASE_IF_EMPTY, {"lane": lease.lane_id, "token": lease.token})
        return bool(cursor.rowcount == 1)


def release(lease: Lease, *, delay_seconds: float = 0.0) -> None:
    """Release the lane with whatever waits in it; it is due again after the delay."""
    with connection.cursor() as cursor:
        cursor.execute(RELEASE, {"lane": lease.lane_id, "token": lease.token, "delay": delay_seconds})


def guard(lease: Lease) -> None:
    """Lock the lane's row and renew its lease, for the writes that follow in this transaction.

    Raises: Fenced where the lease was lost.
    """
    if lease not in renew([lease]):
        raise Fenced(f"Lane {lease.lane_id} is no longer held by token {lease.token}.")


def take_turn_by(statement: str, parameters: dict[str, Any]) -> tuple[Lease, ClaimedTurn | None] | None:
    """Run a statement that ends in SELECT_TAKEN, and return the lease and the turn that it took."""
    taken_at = time.monotonic()
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        row = cursor.fetchone()
        if row is None:
            return None
        found = dict(zip([column.name for column in cursor.description], row, strict=True))
    lease = Lease(lane_id=found.pop("lane_id"), token=found.pop("lease_token"), taken_at=taken_at)
    if found["id"] is None:
        return lease, None
    found["message_attachments"] = json.loads(found["message_attachments"])
    return lease, ClaimedTurn(lease=lease, **found)
