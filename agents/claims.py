"""What is claimed: a turn with its lane's lease, and the statement that reads all that its work needs to know.

Lanes and evaluations claim turns; both end their statements by SELECT_TAKEN.
"""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import connection

from memory.relationships import TOLD


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
    is worth a statement. `conversation_context` sums up what was said before the room's last messages;
    `relationships` are the person's, as JSON.
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
    conversation_context: str
    relationships: str | None

    @property
    def is_second_attempt(self) -> bool:
        """Tell whether an earlier attempt may have left finished steps."""
        return self.take_count > 1


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
       EXISTS (SELECT 1 FROM plugins_pluginstate WHERE agent_id = agent.id) AS has_plugin_states,
       concat_ws(E'\\n', nullif(talk.earlier, ''), nullif(talk.summary, '')) AS conversation_context,
       ({relationships})::text AS relationships
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
LEFT JOIN memory_conversation AS talk ON talk.agent_id = taken.agent_id AND talk.room_id = taken.room_id
""".replace("{relationships}", TOLD.format(person="person.id", agent="agent.id", room="room.id"))
"""Reads a turn that `taken` and `held` name, with all that its work needs to know."""


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


def kept_of(rows: Sequence[tuple[UUID, int, bool, bool]]) -> Kept:
    """Read rows of id, token, whether it was renewed, and whether the token stands."""
    return Kept(
        renewed=frozenset((row[0], row[1]) for row in rows if row[2]),
        lost=frozenset((row[0], row[1]) for row in rows if not row[2] and not row[3]),
    )
