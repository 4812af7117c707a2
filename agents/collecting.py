"""Collecting: what waits of one person is answered together, where an agent's double texting says so.

When a turn is picked, the person's next messages in the lane become one turn with it: the last of them
answers, and the others end, pointing to it. The set is stored before the work begins, so that a turn which is
taken again answers exactly the same messages. `agents.work` collects, `agents.scene` reads the set.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from itertools import takewhile
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction
from django.db.models.functions import Now

from agents import lanes
from agents.kept import message_drafts
from agents.lanes import ClaimedTurn, Fenced
from agents.models import Agent, Message, Turn
from agents.streams import StreamEvent, put_event
from memory.conversations import hear
from memory.writes import wake_embedding
from plugins.api import Attachment

MAX_COLLECTED = 20

WAITING_BEHIND = """
SELECT turn.id, turn.message_id, length(message.text),
       turn.person_id IS NOT DISTINCT FROM %(person)s AND turn.room_id = %(room)s
       AND turn.connection_id = %(connection)s AND turn.cause_kind = 'message'
       AND message.is_verified = %(is_verified)s AS belongs
FROM agents_turn AS turn LEFT JOIN agents_message AS message ON message.id = turn.message_id
WHERE turn.lane_id = %(lane)s AND turn.state = 'waiting' AND turn.sequence > %(sequence)s
ORDER BY turn.sequence LIMIT %(limit)s FOR UPDATE OF turn
"""
"""What waits behind a turn, and whether it is the same person's, said in the same room by the same way."""

END_COLLECTED = """
UPDATE agents_turn SET state = 'done', outcome = 'collected', collected_into_id = %(into)s,
       ended_at = clock_timestamp()
WHERE id = ANY(%(turns)s) AND state IN ('waiting', 'running')
"""


@dataclass(frozen=True, kw_only=True)
class CollectedMessage:
    """One message that was said before the one that is answered, and is answered with it."""

    id: UUID
    text: str
    attachments: tuple[Attachment, ...]
    is_addressed: bool | None


def collect(turn: ClaimedTurn) -> bool:
    """Store the set of messages that the turn answers, if it is to collect and was not picked before.

    True where a later turn answers for it: this one has ended, and the other stands at the lane's head.
    Raises: Fenced.
    """
    is_due = turn.double_texting == Agent.DoubleTexting.COLLECT and not turn.is_collected
    if not is_due or turn.is_stop_requested:
        return False
    with transaction.atomic():
        lanes.guard(turn.lease)
        chosen = _choose(turn)
        last = chosen[-1][0] if chosen else turn.id
        counts = {"error_count": turn.error_count, "crash_count": turn.crash_count} if chosen else {}
        Turn.objects.filter(pk=last).update(collected_at=Now(), **counts)
        if not chosen:
            return False
        ended = [(turn.id, turn.message_id), *((row[0], row[1]) for row in chosen[:-1])]
        _end(turn, [turn_id for turn_id, _message in ended], last)
        message_ids = [message_id for _turn, message_id in ended]
        hear(message_drafts(message_ids), from_people=message_ids)
        transaction.on_commit(wake_embedding)
        if turn.supports_streaming:
            for turn_id, message_id in ended:
                transaction.on_commit(partial(_tell_done, turn.room_id, turn_id, message_id))
    return True


def collected_messages(turn: ClaimedTurn) -> tuple[CollectedMessage, ...]:
    """Return the messages that the turn answers beside its own, in the order in which they came."""
    if not turn.is_collected:
        return ()
    rows = (
        Message.objects.filter(caused_turns__collected_into=turn.id)
        .order_by("caused_turns__sequence")
        .values_list("id", "text", "attachments", "is_addressed")
    )
    return tuple(
        CollectedMessage(
            id=row[0],
            text=row[1],
            attachments=tuple(Attachment(**attachment) for attachment in row[2]),
            is_addressed=row[3],
        )
        for row in rows
    )


def _choose(turn: ClaimedTurn) -> list[tuple[UUID, UUID, int]]:
    """Choose what waits right behind the turn and belongs to it; together no longer than a message may be."""
    with connection.cursor() as cursor:
        cursor.execute(
            WAITING_BEHIND,
            {
                "lane": turn.lease.lane_id,
                "sequence": turn.sequence,
                "person": turn.person_id,
                "room": turn.room_id,
                "connection": turn.connection_id,
                "is_verified": turn.message_is_verified,
                "limit": MAX_COLLECTED - 1,
            },
        )
        behind: list[tuple[Any, ...]] = cursor.fetchall()
    chosen: list[tuple[UUID, UUID, int]] = []
    length = len(turn.message_text)
    for turn_id, message_id, characters, _belongs in takewhile(lambda row: row[3], behind):
        length += characters
        if length > settings.MESSAGE_MAX_CHARACTERS:
            break
        chosen.append((turn_id, message_id, characters))
    return chosen


def _end(turn: ClaimedTurn, turn_ids: list[UUID], into: UUID) -> None:
    with connection.cursor() as cursor:
        cursor.execute(END_COLLECTED, {"into": into, "turns": turn_ids})
        if cursor.rowcount != len(turn_ids):
            raise Fenced(f"Turn {turn.id} was ended by another while its messages were collected.")


def _tell_done(room_id: UUID, turn_id: UUID, message_id: UUID) -> None:
    put_event(room_id, StreamEvent.DONE, {"state": "collected"}, turn_id=turn_id, message_id=message_id)
