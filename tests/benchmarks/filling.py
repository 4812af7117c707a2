"""Fills the table of memories for `memories.py`: one agent's, in a direct chat and in rooms, with COPY and indexes
that are built afterwards."""

from __future__ import annotations

import datetime as dt
import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any
from uuid import UUID, uuid4

import numpy as np
import psycopg
from django.db import connection
from pgvector import Vector
from pgvector.psycopg import register_vector
from psycopg.types.json import Jsonb
from uuid_utils.compat import uuid7

from agents.models import Agent, Character, CharacterVersion, Participant, Person, Room
from transports.models import Connection

MODEL = "all-MiniLM-L6-v2"
SMALL_ROOMS, SMALL = 3, 1000
LARGE_SHARE = 25
"""The large room has one in so many, which is more than are compared one by one."""
START = dt.datetime(2024, 1, 1, tzinfo=dt.UTC)
COLUMNS = {
    "id": "uuid", "agent_id": "uuid", "person_id": "uuid", "room_id": "uuid", "kind": "varchar", "scope": "varchar",
    "speaker": "varchar", "text": "text", "embedding": "vector", "embedding_model": "varchar", "importance": "float8",
    "source_messages": "jsonb", "source_key": "varchar", "said_at": "timestamptz", "created_at": "timestamptz",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where is asked, and which of the stored rows may surface there.

    Shape: `rows` has as many numbers of rows as there are `ids`.
    """

    name: str
    room_id: UUID
    rows: np.ndarray[Any, Any]
    ids: Sequence[UUID]
    scope: str


@dataclass(frozen=True, kw_only=True)
class Filled:
    """One agent with all its memories, and the person who asks it; `small` is another in the same table."""

    agent: Agent
    person: Person
    connection: Connection
    places: tuple[Place, ...]
    figures: dict[str, Any] = field(default_factory=dict)
    small: Filled | None = None


def make_agent(name: str) -> Agent:
    """Make a running agent with a character."""
    document = {"name": name, "bio": ["Listens."]}
    slug = f"{name.lower()}-{uuid4().hex[:8]}"
    character = Character.objects.create(name=slug, slug=slug, document=document, version=1)
    CharacterVersion.objects.create(character=character, number=1, document=document)
    return Agent.objects.create(character=character, name=name, slug=slug)


def fill(texts: Sequence[str], vectors: np.ndarray[Any, Any], tell: Callable[[str], None]) -> Filled:
    """Put so many memories as there are vectors into an empty table: most of them said in one direct chat.

    Where they are many, another agent with SMALL memories of its own stands beside it.
    """
    execute("TRUNCATE memory_memory CASCADE")
    large = _settle("Eliza", len(vectors))
    small = _settle("Iris", SMALL) if len(vectors) > SMALL else None
    indexes = _drop_indexes()
    started = time.monotonic()
    _copy(large, texts, vectors, tell)
    if small is not None:
        _copy(small, texts, vectors[:SMALL], lambda _told: None)
    copied = time.monotonic()
    tell(f"{len(vectors)} memories copied in {copied - started:.0f} s; the indexes are built")
    execute("SET maintenance_work_mem = '6GB'")
    for name, definition in indexes.items():
        begun = time.monotonic()
        execute(definition)
        tell(f"{name}: {time.monotonic() - begun:.0f} s")
    execute("RESET maintenance_work_mem")
    execute("VACUUM (ANALYZE) memory_memory")
    built = time.monotonic()
    figures = {
        "copy_seconds": round(copied - started, 1),
        "index_seconds": round(built - copied, 1),
        **_sizes(),
    }
    return replace(large, figures=figures, small=small)


def _settle(name: str, count: int) -> Filled:
    """Make an agent whom Ann speaks with, and the places of so many memories."""
    agent, person = make_agent(name), Person.objects.create(name="Ann")
    link = Connection.objects.create(agent=agent, platform="bench", transport="fake")
    return Filled(agent=agent, person=person, connection=link, places=_places(agent, person, count))


def execute(sql: str) -> None:
    """Run one statement without the limits of a turn."""
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        cursor.execute("SET lock_timeout = 0")
        cursor.execute(sql)


def _places(agent: Agent, person: Person, count: int) -> tuple[Place, ...]:
    """Lay out the rows: the direct chat first, then a large room, then some small ones, as far as they fit."""
    sizes = {}
    if count > 2 * SMALL_ROOMS * SMALL:
        sizes = {
            f"a room of {SMALL:,}" if not number else f"room {number}": SMALL for number in range(SMALL_ROOMS)
        }
        sizes[f"a room of {count // LARGE_SHARE:,}"] = count // LARGE_SHARE
    # What is said in one room lies among what is said in all others, as in life.
    order = np.random.default_rng(count).permutation(count)
    ids = [uuid7() for _ in range(count)]
    other = Person.objects.create(name="Bob")
    places: list[Place] = []

    def place(name: str, size: int, type: str, scope: str, *people: Person) -> None:
        room = Room.objects.create(platform="bench", external_id=f"{name}-{agent.slug}", type=type)
        for one in people:
            Participant.objects.create(room=room, person=one)
        taken = sum(len(known.ids) for known in places)
        rows = np.sort(order[taken : taken + size])
        mine = [ids[row] for row in rows]
        places.append(Place(name=name, room_id=room.pk, rows=rows, ids=mine, scope=scope))

    place("the direct chat", count - sum(sizes.values()), "DM", "person", person)
    for name, size in sizes.items():
        place(name, size, "GROUP", "room", person, other)
    return tuple(places)


def _drop_indexes() -> dict[str, str]:
    """Drop the indexes of words and vectors, which are built much quicker at once, and return how they are made."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'memory_memory'"
            " AND (indexdef LIKE '%% USING hnsw %%' OR indexdef LIKE '%% USING gin %%')"
        )
        found = dict(cursor.fetchall())
    for name in found:
        execute(f"DROP INDEX {name}")
    return found


def _copy(
    filled: Filled, texts: Sequence[str], vectors: np.ndarray[Any, Any], tell: Callable[[str], None]
) -> None:
    person = filled.person
    sources = Jsonb([str(uuid4())])
    step = dt.timedelta(days=700) / max(1, len(vectors))
    where = {
        row: (place, id)
        for place in filled.places
        for row, id in zip(place.rows.tolist(), place.ids, strict=True)
    }
    with copying() as copy:
        for row in range(len(vectors)):
            place, id = where[row]
            said_at = START + row * step
            said = (id, filled.agent.pk, person.pk, place.room_id, "message", place.scope, person.name)
            vector = Vector(vectors[row])
            copy.write_row(
                (
                    *said,
                    texts[row % len(texts)],
                    vector,
                    MODEL,
                    0.5,
                    sources,
                    f"bench:{row}",
                    said_at,
                    said_at,
                )
            )
            if row % 100_000 == 0:
                tell(f"{row} memories copied")


@contextmanager
def copying() -> Iterator[psycopg.Copy]:
    """Copy rows of COLUMNS into the table, by a session of its own."""
    statement = f"COPY memory_memory ({', '.join(COLUMNS)}) FROM STDIN (FORMAT BINARY)"
    with psycopg.connect(os.environ["DATABASE_URL"]) as session:
        register_vector(session)
        with session.cursor() as cursor, cursor.copy(statement) as copy:
            copy.set_types(list(COLUMNS.values()))
            yield copy


def _sizes() -> dict[str, str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_size_pretty(pg_relation_size('memory_memory')), indexrelid::regclass::text,"
            " pg_size_pretty(pg_relation_size(indexrelid)) FROM pg_index WHERE indrelid = 'memory_memory'::regclass"
            " ORDER BY pg_relation_size(indexrelid) DESC LIMIT 3"
        )
        rows = cursor.fetchall()
    return {"table": rows[0][0], **{index: size for _, index, size in rows}}
