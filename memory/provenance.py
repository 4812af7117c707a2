"""Where a memory came from, what took the place of what, and which turns had it in their prompts lately.

The admin's pages of memories and facts call it, and `agents.reports.memories` for the command and the API. It reads
only, and asks indexes only: what is long ago or far away in a chain is not looked for.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.apps import apps
from django.db import connection
from django.db.models import OuterRef, Q, QuerySet, Subquery, TextField
from django.db.models.functions import Cast

from memory.ids import MOST_LISTED, id_range, say_no_id, say_several
from memory.models import Memory
from memory.querysets import PRIVATE_ROOM_TYPES

LONGEST_CHAIN = 20
MOST_VERSIONS = 40
LOOKED_AT_MESSAGES = 200
LOOKED_AT_TURNS = 1000
MOST_ROOMS = 5
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
    ids = id_range(name)
    if ids is None:
        raise MemoryNotFound(say_no_id(name, "a memory's"))
    found = list(
        Memory.objects.filter(pk__range=ids)
        .select_related("agent", "room", "person", "world", "fact__subject")
        .defer("embedding", "second_embedding")
        .order_by("pk")[: MOST_LISTED + 1]
    )
    if len(found) == 1:
        return found[0]
    if not found:
        raise MemoryNotFound(f"No memory has the id {name}. `manage.py recall` and the admin show ids.")
    raise MemoryNotFound(
        say_several(name, "memory", [(memory.pk, memory.said_at, memory.text) for memory in found])
    )


def sources_of(message_ids: Iterable[UUID | str]) -> dict[UUID, Source]:
    """Return those of the messages that are there, as they were said one after the other; in one statement or none."""
    ids = known_ids(message_ids)
    if not ids:
        return {}
    caused = _rows("Turn").filter(message=OuterRef("pk")).order_by("pk").values("pk")[:1]
    said = (
        _rows("Message")
        .filter(pk__in=ids)
        .annotate(caused_turn=Subquery(caused))
        .select_related("agent", "person", "room")
        .only(*_SHOWN)
        .order_by("said_at", "pk")
    )
    return {message.pk: _source(message) for message in said}


_SHOWN = (
    *("direction", "said_at", "text", "turn_id", "agent__name", "person__name"),
    *("room__name", "room__platform", "room__external_id"),
)


def _source(message: Any) -> Source:
    is_from_agent = message.direction == "out"
    speaker = message.agent if is_from_agent else message.person
    return Source(
        id=message.pk,
        speaker=speaker.name if speaker else "",
        is_from_agent=is_from_agent,
        room_id=message.room_id,
        room=str(message.room),
        said_at=message.said_at,
        text=message.text,
        turn_id=message.turn_id or message.caused_turn,
    )


def _rows(name: str) -> QuerySet[Any]:
    """Return the rows of a table of the floor above, which is known here by its name."""
    rows: QuerySet[Any] = apps.get_model("agents", name)._default_manager.all()
    return rows


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
    SELECT id, place FROM (SELECT id, place FROM older WHERE place < 0 ORDER BY place DESC LIMIT %(most)s) AS last
)
SELECT place, memory.id, memory.text, memory.said_at, memory.superseded_by_id, fact.ended_at, fact.ended_by_message
FROM chain
JOIN memory_memory AS memory ON memory.id = chain.id
LEFT JOIN memory_fact AS fact ON fact.memory_id = memory.id
ORDER BY place, fact.ended_at, memory.id
"""
"""By the keys and the index of `superseded_by`, whichever way it goes."""


def chain_of(memory_id: UUID) -> list[Version]:
    """Return the memory with all that it took the place of, and all that took its place, the oldest first.

    At most LONGEST_CHAIN replacements in each direction, in one statement.
    """
    names: dict[str, Any] = {"memory": memory_id, "longest": LONGEST_CHAIN, "most": MOST_VERSIONS}
    with connection.cursor() as cursor:
        cursor.execute(_CHAIN, names)
        return [_version(*row) for row in cursor.fetchall()]


def _version(
    place: int,
    id: UUID,
    text: str,
    said_at: dt.datetime,
    replaced_by: UUID | None,
    held_until: dt.datetime | None,
    ended_by: UUID | None,
) -> Version:
    return Version(
        id=id,
        text=text,
        said_at=said_at,
        replaced_by=replaced_by,
        held_until=held_until,
        ended_by=ended_by,
        place=place,
    )


def prompted_by(memory: Memory) -> list[Prompted]:
    """Return the turns that recalled the memory lately, the newest first.

    Where it belongs to a room or a person, the turns on the last LOOKED_AT_MESSAGES messages of each room are looked
    through; where to the agent, those among the site's last LOOKED_AT_TURNS. No index leads from a memory to its turns,
    and one would cost every turn that is worked: so the newest are looked through, and no more of them than these.
    Two statements; for what is a person's, one more for each of their private rooms, MOST_ROOMS at most.
    """
    turns = _turns_where_it_may_surface(memory)
    if turns is None:
        return []
    key = str(memory.pk)
    steps = (
        _rows("Step")
        .filter(turns, name="recall")
        .annotate(written=Cast("output", TextField()))
        .filter(written__contains=key)
        .order_by("-turn_id")
        .values_list("turn_id", "turn__received_at", "output")[:MOST_PROMPTS]
    )
    return [
        Prompted(turn_id=turn_id, at=at, score=float(hit["score"]))
        for turn_id, at, output in steps
        for hit in output["memories"]
        if hit["id"] == key
    ]


def _turns_where_it_may_surface(memory: Memory) -> Q | None:
    """Return the condition that a step is of a turn that is looked through; None where it surfaces nowhere.

    Keys are read first: of one statement PostgreSQL might make a join with all turns that there are.
    """
    if memory.scope == Memory.Scope.AGENT.value:
        newest = _rows("Turn").order_by("-pk").values_list("pk", "agent")[:LOOKED_AT_TURNS]
        return Q(turn__in=[key for key, agent_id in newest if agent_id == memory.agent_id])
    if memory.scope == Memory.Scope.ROOM.value:
        return Q(turn__message__in=_last_messages(memory, memory.room_id))
    if memory.scope == Memory.Scope.PERSON.value:
        rooms = (
            _rows("Room")
            .filter(participants__person=memory.person_id, type__in=PRIVATE_ROOM_TYPES)
            .order_by("-pk")
            .values_list("pk", flat=True)[:MOST_ROOMS]
        )
        return Q(turn__message__in=[key for room in rooms for key in _last_messages(memory, room)])
    return None


def _last_messages(memory: Memory, room_id: UUID | None) -> list[UUID]:
    said = _rows("Message").filter(room=room_id, agent=memory.agent_id)
    return list(said.order_by("-received_at").values_list("pk", flat=True)[:LOOKED_AT_MESSAGES])


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
