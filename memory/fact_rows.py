"""The rows of facts: those that hold in a place, as far as they bear on what is asked, and how they are written.

`memory.facts` calls it, within its transaction and under its lock.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from django.db import connection

from memory.embeddings.spaces import Column, find_space_of
from memory.memories import MemoryDraft, insertion
from memory.merging import SAME_WORDS_COSINE, SINGLE_VALUED
from memory.vectors import vector_text

COMPARED = 500
"""So many of a place's facts, the newest, are compared by meaning; all of them by words, attribute and name."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where facts may surface, as `Memory.scope` and what belongs to it say."""

    agent_id: UUID
    scope: str
    room_id: UUID | None = None
    person_id: UUID | None = None

    @property
    def key(self) -> str:
        """Return what only this place has."""
        where = {"room": self.room_id, "person": self.person_id}.get(self.scope)
        return f"{self.agent_id}:{self.scope}:{where}"

    @property
    def names(self) -> dict[str, Any]:
        """Return the parameters of `KNOWN`."""
        return {
            "agent": self.agent_id,
            "scope": self.scope,
            "room": self.room_id,
            "person": self.person_id,
            "compared": COMPARED,
        }


@dataclass(frozen=True, kw_only=True)
class FactRow:
    """A fact with its memory. `sources` are the ids of the messages that said it, as text."""

    id: UUID
    text: str
    type: str
    subject_id: UUID | None
    attribute: str
    value: str
    confidence: float
    seen_count: int
    last_seen_at: dt.datetime
    sources: tuple[str, ...]
    key: str | None
    superseded_by: UUID | None = None
    ended_at: dt.datetime | None = None
    ended_by: UUID | None = None


@dataclass(frozen=True, kw_only=True)
class Asked:
    """What a new fact asks for: those of its subject with its key, its attribute, its meaning, or named by it."""

    subject_id: UUID | None
    key: str
    attribute: str
    named: tuple[UUID, ...] = ()
    embedding: Sequence[float] | None = None
    embedding_model: str = ""


@dataclass(frozen=True, kw_only=True)
class Near:
    """A known fact that bears on a new one. Unit: `cosine` of their vectors, None where one has none."""

    row: FactRow
    cosine: float | None


KNOWN = """
known AS MATERIALIZED (
    SELECT memory.id, memory.text, memory.{column} AS embedding, memory.{column}_model AS embedding_model,
           memory.source_key,
           memory.source_messages::text AS sources, coalesce(fact.type, 'fact') AS type,
           CASE WHEN fact.memory_id IS NULL THEN memory.person_id ELSE fact.subject_id END AS subject_id,
           coalesce(fact.attribute, '') AS attribute, coalesce(fact.value, '') AS value,
           coalesce(fact.confidence, 0.5) AS confidence, coalesce(fact.seen_count, 1) AS seen_count,
           coalesce(fact.last_seen_at, memory.said_at) AS last_seen_at,
           row_number() OVER (ORDER BY coalesce(fact.last_seen_at, memory.said_at) DESC) <= %(compared)s
               AS is_compared
    FROM memory_memory AS memory LEFT JOIN memory_fact AS fact ON fact.memory_id = memory.id
    WHERE memory.agent_id = %(agent)s AND memory.kind = 'fact' AND memory.superseded_by_id IS NULL
      AND memory.scope = %(scope)s {place}
)
"""
"""The facts that hold in a place. One that was kept before facts had rows of their own is about its person."""

_PLACES = {
    "room": "AND memory.room_id = %(room)s",
    "person": "AND memory.person_id = %(person)s",
    "agent": "",
}

_READ = """
WITH told AS MATERIALIZED (
    SELECT number, subject, attribute, key, named, model, vector::vector AS vector
    FROM jsonb_to_recordset(%(asked)s::jsonb)
         AS told (number int, subject uuid, attribute text, key text, named uuid[], model text, vector text)
), {known}
SELECT told.number, CASE WHEN told.model = known.embedding_model AND known.is_compared
                         THEN 1 - (known.embedding <=> told.vector) END AS cosine,
       known.id, known.text, known.type, known.subject_id, known.attribute, known.value, known.confidence,
       known.seen_count, known.last_seen_at, known.sources, known.source_key
FROM told JOIN known ON known.subject_id IS NOT DISTINCT FROM told.subject
WHERE known.source_key = told.key OR known.id = ANY(told.named)
   OR told.attribute <> '' AND known.attribute = told.attribute
   OR CASE WHEN told.model = known.embedding_model AND known.is_compared
           THEN 1 - (known.embedding <=> told.vector) >= %(near)s ELSE false END
ORDER BY told.number, cosine DESC NULLS LAST, known.id
"""

_UPDATE_MEMORIES = """
UPDATE memory_memory AS memory
SET source_messages = given.sources, superseded_by_id = given.superseded_by, source_key = given.key
FROM jsonb_to_recordset(%s::jsonb) AS given (id uuid, sources jsonb, superseded_by uuid, key text)
WHERE memory.id = given.id
"""

_WRITE_FACTS = """
INSERT INTO memory_fact AS kept (memory_id, type, subject_id, attribute, value, confidence, seen_count,
                                 last_seen_at, ended_at, ended_by_message)
SELECT given.id, type, subject_id, attribute, value, confidence, seen_count, last_seen_at, ended_at, ended_by
FROM jsonb_to_recordset(%s::jsonb)
     AS given (id uuid, type text, subject_id uuid, attribute text, value text, confidence float, seen_count int,
               last_seen_at timestamptz, ended_at timestamptz, ended_by uuid)
WHERE EXISTS (SELECT 1 FROM memory_memory WHERE id = given.id)
ON CONFLICT (memory_id) DO UPDATE
SET attribute = excluded.attribute, value = excluded.value, confidence = excluded.confidence,
    seen_count = excluded.seen_count, last_seen_at = excluded.last_seen_at, ended_at = excluded.ended_at,
    ended_by_message = excluded.ended_by_message
"""


def known_of(place: Place, column: str) -> str:
    """Return the table expression `known` of the place, with the vectors of this column.

    Its parameters are `place.names`.
    """
    return KNOWN.format(place=_PLACES[place.scope], column=column)


def read_near(place: Place, asked: Sequence[Asked]) -> list[list[Near]]:
    """Read, in one statement, the facts of the place that bear on each that is asked for, the nearest first."""
    told = [
        {
            "number": number,
            "subject": one.subject_id,
            "attribute": one.attribute,
            "key": one.key,
            "named": one.named,
            "model": one.embedding_model,
            "vector": None if one.embedding is None else vector_text(one.embedding),
        }
        for number, one in enumerate(asked)
    ]
    names = {**place.names, "asked": json.dumps(told, default=str), "near": SAME_WORDS_COSINE}
    near: list[list[Near]] = [[] for _one in asked]
    # One look's facts have vectors of one model, that of the space in use unless it was switched just now.
    model = next((one.embedding_model for one in asked if one.embedding is not None), "")
    space = find_space_of(model) if model else None
    known = known_of(place, space.column if space else Column.FIRST.value)
    with connection.cursor() as cursor:
        cursor.execute(_READ.format(known=known), names)
        for number, cosine, *columns in cursor.fetchall():
            near[number].append(Near(row=_row(columns), cosine=cosine))
    return near


def _row(columns: Sequence[Any]) -> FactRow:
    id, text, type, subject_id, attribute, value, confidence, seen_count, last_seen_at, sources, key = columns
    return FactRow(
        id=id,
        text=text,
        type=type,
        subject_id=subject_id,
        attribute=attribute,
        value=value,
        confidence=confidence,
        seen_count=seen_count,
        last_seen_at=last_seen_at,
        sources=tuple(json.loads(sources)),
        key=key,
    )


def write_facts(new: Sequence[tuple[MemoryDraft, FactRow]], changed: Sequence[FactRow]) -> None:
    """Write new facts with their memories, and what changed of known ones: three statements at most.

    A new fact whose key another memory has is left out.
    """
    drafts = [replace(draft, source_messages=row.sources, source_key=row.key) for draft, row in new]
    rows = [row for _draft, row in new]
    updated = [*changed, *(row for row in rows if row.superseded_by is not None)]
    with connection.cursor() as cursor:
        if drafts:
            cursor.execute(*insertion(drafts))
        if updated:
            memories = [
                {"id": row.id, "sources": row.sources, "superseded_by": row.superseded_by, "key": row.key}
                for row in updated
            ]
            cursor.execute(_UPDATE_MEMORIES, [json.dumps(memories, default=str)])
        cursor.execute(_WRITE_FACTS, [json.dumps([vars(row) for row in (*rows, *changed)], default=str)])


_END_DOUBLES = """
WITH ranked AS (
    SELECT memory.id, first_value(memory.id) OVER place AS newest,
           first_value(fact.last_seen_at) OVER place AS at
    FROM memory_fact AS fact JOIN memory_memory AS memory ON memory.id = fact.memory_id
    WHERE fact.subject_id = %(person)s AND fact.attribute = ANY(%(single)s) AND memory.superseded_by_id IS NULL
    WINDOW place AS (
        PARTITION BY memory.agent_id, memory.scope, fact.attribute,
                     CASE memory.scope WHEN 'room' THEN memory.room_id WHEN 'person' THEN memory.person_id END
        ORDER BY fact.last_seen_at DESC, memory.id DESC)
), ended AS (
    UPDATE memory_fact AS fact SET ended_at = ranked.at
    FROM ranked WHERE fact.memory_id = ranked.id AND ranked.id <> ranked.newest
)
UPDATE memory_memory AS memory SET superseded_by_id = ranked.newest, source_key = NULL
FROM ranked WHERE memory.id = ranked.id AND ranked.id <> ranked.newest
"""


def end_doubles(person_id: UUID) -> None:
    """Let only the newest value of each single-valued attribute of a person hold, after two became one."""
    with connection.cursor() as cursor:
        cursor.execute(_END_DOUBLES, {"person": person_id, "single": sorted(SINGLE_VALUED)})
