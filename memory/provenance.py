"""Where a memory came from, what took the place of what, and which turns had it in their prompts lately.

The admin's pages of memories and facts call it, and `agents.memory_reports` for the command and the API. It reads
only, and asks indexes only: what is long ago or far away in a chain is not looked for.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connection

from memory.models import Memory
from memory.querysets import PRIVATE_ROOM_TYPES

UUID_DIGITS, SHORTEST_PREFIX, MOST_LISTED = 32, 8, 5
LONGEST_CHAIN = 20
MOST_VERSIONS = 40
LOOKED_AT_MESSAGES = 200
LOOKED_AT_TURNS = 1000
MOST_ROOMS = 20
MOST_PROMPTS = 20


class MemoryNotFound(LookupError):
    """No memory, or more than one, has that id; the text says so."""


@dataclass(frozen=True, kw_only=True)
class Source:
    """A message that a memory was made from: who said it where and when, and the turn that worked or said it."""

    id: UUID
    speaker: str
    is_from_agent: bool
    room_id: UUID
    room: str
    said_at: dt.datetime
    text: str
    turn_id: UUID | None


@dataclass(frozen=True, kw_only=True)
class Version:
    """A memory in a chain of replacements. `place` is below 0 for what came before the one that was asked about.

    `held_until` and `ended_by` are known of facts: when the message was said that ended it, and which it was.
    """

    id: UUID
    text: str
    said_at: dt.datetime
    replaced_by: UUID | None
    held_until: dt.datetime | None
    ended_by: UUID | None
    place: int


@dataclass(frozen=True, kw_only=True)
class Prompted:
    """A turn that recalled the memory for its prompt, and the score that it had there."""

    turn_id: UUID
    at: dt.datetime
    score: float


def find_memory(name: str) -> Memory:
    """Return the memory of this id, or of this beginning of one, with agent, room and person, without its vector.

    Raises: MemoryNotFound.
    """
    digits = name.replace("-", "").strip().lower()
    if not SHORTEST_PREFIX <= len(digits) <= UUID_DIGITS or set(digits) - set("0123456789abcdef"):
        raise MemoryNotFound(
            f"{name[:100]!r} is no id: give a memory's id, or at least its first {SHORTEST_PREFIX} digits."
        )
    ids = (UUID(digits.ljust(UUID_DIGITS, "0")), UUID(digits.ljust(UUID_DIGITS, "f")))
    found = list(
        Memory.objects.filter(pk__range=ids)
        .select_related("agent", "room", "person", "world", "fact__subject")
        .defer("embedding")
        .order_by("pk")[: MOST_LISTED + 1]
    )
    if len(found) == 1:
        return found[0]
    if not found:
        raise MemoryNotFound(
            f"No memory has the id {name}. `manage.py recall … --json` and the admin show ids."
        )
    listed = ", ".join(str(memory.pk) for memory in found[:MOST_LISTED])
    more = ", …" if len(found) > MOST_LISTED else ""
    raise MemoryNotFound(f"More than one memory has an id that begins with {name}: {listed}{more}")


_SOURCES = """
SELECT message.id, CASE WHEN message.direction = 'out' THEN agent.name ELSE coalesce(person.name, '') END,
       message.direction = 'out', room.id, coalesce(nullif(room.name, ''), room.platform || ':' || room.external_id),
       message.said_at, message.text, coalesce(message.turn_id, turn.id)
FROM agents_message AS message
JOIN agents_room AS room ON room.id = message.room_id
JOIN agents_agent AS agent ON agent.id = message.agent_id
LEFT JOIN agents_person AS person ON person.id = message.person_id
LEFT JOIN LATERAL (SELECT id FROM agents_turn WHERE message_id = message.id ORDER BY id LIMIT 1) AS turn ON true
WHERE message.id = ANY(%s)
ORDER BY message.said_at, message.id
"""


def sources_of(message_ids: Iterable[UUID | str]) -> dict[UUID, Source]:
    """Return those of the messages that are there, as they were said one after the other; in one statement or none."""
    ids = known_ids(message_ids)
    if not ids:
        return {}
    with connection.cursor() as cursor:
        cursor.execute(_SOURCES, [ids])
        return {
            row[0]: Source(
                id=row[0],
                speaker=row[1],
                is_from_agent=row[2],
                room_id=row[3],
                room=row[4],
                said_at=row[5],
                text=row[6],
                turn_id=row[7],
            )
            for row in cursor.fetchall()
        }


def known_ids(names: Iterable[UUID | str]) -> list[UUID]:
    """Return the ids among the names, each once, in their order: a plugin may have kept anything as a source."""
    found: dict[UUID, None] = {}
    for name in names:
        try:
            found[name if isinstance(name, UUID) else UUID(str(name))] = None
        except ValueError:
            continue
    return list(found)


_CHAIN = """
WITH RECURSIVE newer (id, next_id, place) AS (
    SELECT id, superseded_by_id, 0 FROM memory_memory WHERE id = %(memory)s
    UNION ALL
    SELECT memory.id, memory.superseded_by_id, place + 1
    FROM newer JOIN memory_memory AS memory ON memory.id = newer.next_id
    WHERE place < %(longest)s AND memory.id <> %(memory)s
), older (id, place) AS (
    SELECT %(memory)s::uuid, 0
    UNION ALL
    SELECT memory.id, place - 1
    FROM older JOIN memory_memory AS memory ON memory.superseded_by_id = older.id
    WHERE place > -%(longest)s AND memory.id <> %(memory)s
), chain AS (
    SELECT id, place FROM newer
    UNION ALL
    (SELECT id, place FROM older WHERE place < 0 ORDER BY place DESC LIMIT %(most)s)
)
SELECT memory.id, memory.text, memory.said_at, memory.superseded_by_id, fact.ended_at, fact.ended_by_message, place
FROM chain
JOIN memory_memory AS memory ON memory.id = chain.id
LEFT JOIN memory_fact AS fact ON fact.memory_id = memory.id
ORDER BY place, fact.ended_at, memory.id
"""
"""By the keys and the index of `superseded_by`, whichever way it goes."""


def chain_of(memory_id: UUID) -> list[Version]:
    """Return the memory with all that it took the place of, and all that took its place, the oldest first.

    One statement; at most LONGEST_CHAIN replacements in each direction.
    """
    names: dict[str, Any] = {"memory": memory_id, "longest": LONGEST_CHAIN, "most": MOST_VERSIONS}
    with connection.cursor() as cursor:
        cursor.execute(_CHAIN, names)
        return [
            Version(
                id=id,
                text=text,
                said_at=said_at,
                replaced_by=replaced_by,
                held_until=held_until,
                ended_by=ended_by,
                place=place,
            )
            for id, text, said_at, replaced_by, held_until, ended_by, place in cursor.fetchall()
        ]


_TURNS_HERE = """
WITH room AS (
    {rooms}
), turn AS (
    SELECT turn.id, turn.received_at
    FROM room
    CROSS JOIN LATERAL (
        SELECT id FROM agents_message WHERE room_id = room.id AND agent_id = %(agent)s
        ORDER BY received_at DESC LIMIT %(messages)s) AS said
    JOIN agents_turn AS turn ON turn.message_id = said.id
)
"""
_ROOM = "SELECT %(room)s::uuid AS id"
_ROOMS_OF_PERSON = """
    SELECT room.id FROM agents_participant AS participant JOIN agents_room AS room ON room.id = participant.room_id
    WHERE participant.person_id = %(person)s AND room.type = ANY(%(private)s)
    ORDER BY room.id DESC LIMIT %(rooms)s
"""
_TURNS_ANYWHERE = """
WITH turn AS (
    SELECT id, received_at FROM (
        SELECT id, received_at, agent_id FROM agents_turn ORDER BY id DESC LIMIT %(turns)s) AS newest
    WHERE agent_id = %(agent)s
)
"""
_PROMPTS = """
SELECT turn.id, turn.received_at, (hit ->> 'score')::float
FROM turn
JOIN agents_step AS step ON step.turn_id = turn.id AND step.name = 'recall'
CROSS JOIN LATERAL jsonb_array_elements(step.output -> 'memories') AS hit
WHERE hit ->> 'id' = %(memory)s::text
ORDER BY turn.id DESC LIMIT %(most)s
"""
_BY_SCOPE = {
    Memory.Scope.ROOM.value: _TURNS_HERE.format(rooms=_ROOM) + _PROMPTS,
    Memory.Scope.PERSON.value: _TURNS_HERE.format(rooms=_ROOMS_OF_PERSON) + _PROMPTS,
    Memory.Scope.AGENT.value: _TURNS_ANYWHERE + _PROMPTS,
}
"""The turns where a memory of each scope may have surfaced: the newest of its room, of the person's private rooms,
or of the site. No index leads from a memory to its turns, and one would cost every turn that is worked; so the
newest are looked through, and no more of them than these.
"""


def prompted_by(memory: Memory) -> list[Prompted]:
    """Return the turns that recalled the memory lately, the newest first; in one statement.

    Where it belongs to a room or a person, the turns on the last LOOKED_AT_MESSAGES messages of each room are looked
    through; where to the agent, those among the site's last LOOKED_AT_TURNS.
    """
    statement = _BY_SCOPE.get(memory.scope)
    if statement is None:
        return []
    names: dict[str, Any] = {
        "memory": str(memory.pk),
        "agent": memory.agent_id,
        "room": memory.room_id,
        "person": memory.person_id,
        "private": list(PRIVATE_ROOM_TYPES),
        "rooms": MOST_ROOMS,
        "messages": LOOKED_AT_MESSAGES,
        "turns": LOOKED_AT_TURNS,
        "most": MOST_PROMPTS,
    }
    with connection.cursor() as cursor:
        cursor.execute(statement, names)
        return [Prompted(turn_id=id, at=at, score=score) for id, at, score in cursor.fetchall()]


def looked_through(memory: Memory) -> str:
    """Say in words which turns `prompted_by` looks through."""
    if memory.scope == Memory.Scope.AGENT.value:
        return f"the agent's turns among the last {LOOKED_AT_TURNS:,} of this site"
    return f"the turns on the last {LOOKED_AT_MESSAGES} messages of each room where it may surface"


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What a hit of recall does not say of its memory: kind, scope, speaker, when, and the messages it came from."""

    kind: str
    scope: str
    speaker: str
    said_at: dt.datetime
    text: str
    source_messages: tuple[UUID, ...]
    replaced_by: UUID | None


def kept_of(memory_ids: Collection[UUID]) -> dict[UUID, Kept]:
    """Return those of the memories that are still kept; in one statement or none."""
    if not memory_ids:
        return {}
    rows = Memory.objects.filter(pk__in=memory_ids).values_list(
        "pk", "kind", "scope", "speaker", "said_at", "text", "source_messages", "superseded_by"
    )
    return {
        pk: Kept(
            kind=kind,
            scope=scope,
            speaker=speaker,
            said_at=said_at,
            text=text,
            source_messages=tuple(known_ids(sources)),
            replaced_by=replaced_by,
        )
        for pk, kind, scope, speaker, said_at, text, sources, replaced_by in rows
    }


def maker_of(memory: Memory, sources: Iterable[Source]) -> UUID | None:
    """Return the turn that made the memory: the one that worked or said its message, or whose action kept it.

    None for what a look at a conversation learnt, for documents, and where the key does not say.
    """
    if memory.kind == Memory.Kind.MESSAGE.value:
        return next((source.turn_id for source in sources if source.turn_id is not None), None)
    made, _, rest = (memory.source_key or "").partition(":")
    ids = known_ids([rest.partition(":")[0]]) if made == "effect" else []
    # A look's effects are named by its conversation; only a turn's worked one of the sources.
    return next((source.turn_id for source in sources if source.turn_id in ids), None)
