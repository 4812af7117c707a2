"""Conversations: what was said in each room and nobody has reflected on yet, and who is at it.

The pipeline calls `hear` where it keeps messages, in the transaction that ends a turn; `agents.learning.reflection`
claims a look, and ends it. The cadence: a look after every REFLECT_AFTER_MESSAGES messages of people, and one
at whatever is left when a conversation has paused for CONVERSATION_PAUSE_SECONDS. It stands in the database,
so it holds over any change of workers.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection
from uuid_utils.compat import uuid7

from memory.memories import MemoryDraft, insertion, remember
from memory.metrics import timed
from plugins.registry import find_service

LOOK_TASK = "agents.reflect_conversation"
MAX_UNSEEN = 1000
"""So many messages of a room wait at most; of what comes beyond, nothing is learnt."""
PATIENCE_SECONDS = 2
"""A look that was due for so long was told to nobody, or to somebody who is gone."""

_HEAR = """
WITH kept AS (
    {insertion} RETURNING source_key
), heard AS (
    SELECT array_agg(message ORDER BY place) AS messages, count(*)::int AS number
    FROM unnest(%s::uuid[]) WITH ORDINALITY AS given (message, place)
    WHERE 'message:' || message::text IN (SELECT source_key FROM kept)
), noted AS (
    INSERT INTO memory_conversation AS talk (id, agent_id, room_id, unseen, last_message, heard_at, look_at)
    SELECT %s::uuid, %s::uuid, %s::uuid, messages, messages[number], clock_timestamp(),
           clock_timestamp() + make_interval(secs => CASE WHEN number >= %s::int THEN 0 ELSE %s::float END)
    FROM heard WHERE number > 0
    ON CONFLICT (agent_id, room_id) DO UPDATE
    SET unseen = CASE WHEN cardinality(talk.unseen) < %s::int
                      THEN talk.unseen || excluded.unseen ELSE talk.unseen END,
        last_message = excluded.last_message, heard_at = excluded.heard_at,
        look_at = greatest(talk.not_before, CASE
            WHEN cardinality(talk.unseen) + cardinality(excluded.unseen) >= %s::int THEN excluded.heard_at
            ELSE excluded.heard_at + make_interval(secs => %s::float) END)
    RETURNING id, cardinality(unseen) >= %s::int AND look_at <= clock_timestamp() AS is_due
)
SELECT (SELECT count(*) FROM kept), (SELECT id FROM noted WHERE is_due)
"""
"""Keeps messages and notes those of people that were new, in one statement: the row of the conversation is locked
until the commit, so that no message is missed or counted twice, whoever ends turns in the room meanwhile.
"""

_CLAIM = """
UPDATE memory_conversation AS talk
SET lease_token = lease_token + 1, attempts = attempts + 1,
    lease_until = clock_timestamp() + make_interval(secs => %(lease)s),
    in_hand = CASE WHEN in_hand > 0 THEN in_hand ELSE least(cardinality(unseen), %(messages)s) END
WHERE id = %(conversation)s AND look_at <= clock_timestamp()
  AND (lease_until IS NULL OR lease_until < clock_timestamp())
RETURNING id, agent_id, room_id, lease_token, attempts, unseen[:in_hand], last_message, look_count, summary,
          outcome, earlier, episode_first, episode_began_at, episode_count, episode_people,
          in_hand = cardinality(unseen)
              AND heard_at <= clock_timestamp() - make_interval(secs => %(pause)s)
"""
"""Takes the next look that is due. Its messages stay the same until it has ended, however often it is begun."""

_KEEP = """
WITH asked AS (
    SELECT * FROM unnest(%(ids)s::uuid[], %(tokens)s::bigint[]) AS asked (id, token)
), free AS (
    SELECT talk.id FROM memory_conversation AS talk
    JOIN asked ON asked.id = talk.id AND asked.token = talk.lease_token
    WHERE talk.lease_until IS NOT NULL FOR NO KEY UPDATE OF talk SKIP LOCKED
), renewed AS (
    UPDATE memory_conversation AS talk
    SET lease_until = clock_timestamp() + make_interval(secs => %(lease)s)
    FROM free WHERE talk.id = free.id
    RETURNING talk.id, talk.lease_token
)
SELECT asked.id, asked.token, renewed.id IS NOT NULL,
       talk.lease_token IS NOT DISTINCT FROM asked.token AND talk.lease_until IS NOT NULL
FROM asked
LEFT JOIN renewed ON renewed.id = asked.id AND renewed.lease_token = asked.token
LEFT JOIN memory_conversation AS talk ON talk.id = asked.id
"""

_GUARD = """
SELECT 1 FROM memory_conversation AS talk JOIN agents_turn AS turn ON turn.id = %(turn)s
WHERE talk.id = %(conversation)s AND talk.lease_token = %(token)s
FOR NO KEY UPDATE OF talk FOR KEY SHARE OF turn
"""

_END = """
UPDATE memory_conversation
SET unseen = unseen[%(taken)s::int + 1:], in_hand = 0, lease_until = NULL, attempts = 0, not_before = NULL,
    look_count = look_count + 1, error = %(error)s, summary = %(summary)s, outcome = %(outcome)s,
    earlier = %(earlier)s,
    episode_first = %(first)s::uuid, episode_began_at = %(began_at)s::timestamptz,
    episode_count = %(count)s, episode_people = %(people)s::uuid[],
    look_at = CASE
        WHEN cardinality(unseen) - %(taken)s::int >= %(messages)s::int THEN clock_timestamp()
        WHEN cardinality(unseen) > %(taken)s::int OR %(first)s::uuid IS NOT NULL
        THEN heard_at + make_interval(secs => %(pause)s) END
WHERE id = %(conversation)s AND lease_token = %(token)s
RETURNING look_at <= clock_timestamp()
"""
"""Ends a look if it is still held. What came meanwhile is looked at when it is enough, or at the next pause; so is
an episode that goes on.
"""

_POSTPONE = """
UPDATE memory_conversation
SET lease_until = NULL, attempts = attempts - CASE WHEN %(is_counted)s THEN 0 ELSE 1 END, error = %(error)s,
    not_before = until.at, look_at = until.at
FROM (SELECT clock_timestamp() + make_interval(secs => %(delay)s) AS at) AS until
WHERE id = %(conversation)s AND lease_token = %(token)s
"""

_FIND_DUE = """
SELECT id FROM memory_conversation
WHERE look_at < statement_timestamp() - make_interval(secs => %(patience)s)
  AND (lease_until IS NULL OR lease_until < statement_timestamp())
ORDER BY look_at LIMIT %(limit)s
"""
"""The statement's time and not the clock's, which would be read again for each row, and so by no index."""


@dataclass(frozen=True, kw_only=True)
class Episode:
    """The episode that goes on in a room: from which message, how long, and what is known of it so far.

    `first` is None where none has begun. `count` are messages of people. `earlier` is the summary of the one
    before.
    """

    first: UUID | None = None
    began_at: dt.datetime | None = None
    count: int = 0
    people: tuple[UUID, ...] = ()
    summary: str = ""
    outcome: str = ""
    earlier: str = ""


@dataclass(frozen=True, kw_only=True)
class Look:
    """A look at a conversation, in the hands of whoever holds the token.

    `messages` are those of people that it looks at, none where it only finds that the conversation has
    paused; `number` counts the looks before it. `taken_at` is this machine's monotonic clock before it was
    claimed.
    """

    conversation_id: UUID
    token: int
    agent_id: UUID
    room_id: UUID
    attempt: int
    number: int
    messages: tuple[UUID, ...]
    last_message: UUID | None
    episode: Episode
    is_paused: bool
    taken_at: float


def is_reflecting() -> bool:
    """Tell whether conversations are looked at at all."""
    return bool(settings.REFLECT_AFTER_MESSAGES > 0)


def hear(drafts: Sequence[MemoryDraft], *, from_people: Sequence[UUID]) -> int:
    """Keep messages of one room as `remember` does, and note that those `from_people` are to be reflected on.

    When enough of them wait, whoever reflects is woken on commit. Returns how many memories were new.
    Raises: as `remember`.
    """
    if not drafts or not from_people or not is_reflecting() or drafts[0].room_id is None:
        return remember(drafts)
    enough, pause = settings.REFLECT_AFTER_MESSAGES, float(settings.CONVERSATION_PAUSE_SECONDS)
    statement, parameters = insertion(drafts)
    noted: list[Any] = [list(from_people), uuid7(), drafts[0].agent_id, drafts[0].room_id]
    limits = [enough, pause, MAX_UNSEEN, enough, pause, enough]
    with timed("remember"), connection.cursor() as cursor:
        cursor.execute(_HEAR.format(insertion=statement), [*parameters, *noted, *limits])
        kept, due_id = cursor.fetchall()[0]
    wakeups = find_service("wakeups") if due_id is not None else None
    if wakeups is not None:
        wakeups.wake_after_commit(LOOK_TASK, conversation_id=str(due_id))
    return int(kept)


def claim_look(conversation_id: UUID, *, lease_seconds: float) -> Look | None:
    """Claim the look that is due in the conversation; None where none is, or somebody is at it."""
    taken_at = time.monotonic()
    row = _execute(
        _CLAIM,
        conversation=conversation_id,
        lease=lease_seconds,
        messages=max(1, settings.REFLECT_AFTER_MESSAGES),
        pause=float(settings.CONVERSATION_PAUSE_SECONDS),
    )
    if not row:
        return None
    found = row[0]
    return Look(
        conversation_id=found[0],
        agent_id=found[1],
        room_id=found[2],
        token=found[3],
        attempt=found[4],
        messages=tuple(found[5]),
        last_message=found[6],
        number=found[7],
        episode=Episode(
            summary=found[8],
            outcome=found[9],
            earlier=found[10],
            first=found[11],
            began_at=found[12],
            count=found[13],
            people=tuple(found[14]),
        ),
        is_paused=bool(found[15]),
        taken_at=taken_at,
    )


def keep_looks(claims: Sequence[tuple[UUID, int]], *, lease_seconds: float) -> list[tuple[Any, ...]]:
    """Renew leases of looks without waiting for locks; rows of id, token, whether renewed, whether it stands."""
    ids, tokens = [claim[0] for claim in claims], [claim[1] for claim in claims]
    return _execute(_KEEP, ids=ids, tokens=tokens, lease=lease_seconds)


def is_held(look: Look, *, turn_id: UUID) -> bool:
    """Tell whether the look is still held and its turn is there; both stay so until the transaction ends."""
    return bool(_execute(_GUARD, conversation=look.conversation_id, token=look.token, turn=turn_id))


def end_look(look: Look, *, taken: int, episode: Episode, error: str = "") -> bool | None:
    """End the look, which has seen `taken` of its messages; None where it is held no longer.

    Returns whether another look is due at once. `episode` is how the one that goes on stands afterwards; one
    without a `first` has ended with this look. The conversation's row stays locked until the commit.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            _END,
            {
                "conversation": look.conversation_id,
                "token": look.token,
                "taken": taken,
                "error": error,
                "summary": episode.summary,
                "outcome": episode.outcome,
                "earlier": episode.earlier,
                "first": episode.first,
                "began_at": episode.began_at,
                "count": episode.count,
                "people": list(episode.people),
                "messages": max(1, settings.REFLECT_AFTER_MESSAGES),
                "pause": float(settings.CONVERSATION_PAUSE_SECONDS),
            },
        )
        rows = cursor.fetchall()
        return bool(rows[0][0]) if rows else None


def postpone_look(look: Look, *, delay_seconds: float, error: str, is_counted: bool) -> None:
    """Let the look be begun again after the delay; whether this one counts as an attempt is the caller's word."""
    names: dict[str, Any] = {"conversation": look.conversation_id, "token": look.token}
    with connection.cursor() as cursor:
        cursor.execute(_POSTPONE, {**names, "delay": delay_seconds, "error": error, "is_counted": is_counted})


def find_due_looks(limit: int) -> list[UUID]:
    """Return conversations with looks that are due and in nobody's hands: paused ones, and those left behind."""
    if not is_reflecting():
        return []
    return [row[0] for row in _execute(_FIND_DUE, patience=PATIENCE_SECONDS, limit=limit)]


def _execute(statement: str, **parameters: Any) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows
