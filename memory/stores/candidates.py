"""The statement that brings what may answer a question.

`memory.stores.postgres_recall` calls it. What may surface is said by `MemoryQuerySet.visible_to` alone: its
conditions stand in each part of it that reads memories, with agent, room and person as its parameters.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import QuerySet
from psycopg.sql import quote

from memory.models import Memory
from memory.querysets import MemoryQuerySet
from memory.questions import TELLING_WHEN
from memory.stores.base import DATED, DATED_ROWS, MOST_TERMS, NEIGHBOURS, USUAL_SIZE
from memory.stores.compiled import AGENT, MESSAGE, PERSON, ROOM, condition, number, sql_of, statement
from memory.stores.postgres import SEARCH_CONFIGURATION, indexed_field

BREADTHS = ((200_000, 100), (500_000, 200), (math.inf, 300))
"""Of up to so many memories, all agents' together, the index of vectors keeps so many of the nearest in view while it
searches (`hnsw.ef_search`): the more there are, the more it takes to find the nearest."""
MATCHED_UP_TO = 2000
"""Of so many memories that have one of the rare words, the best are candidates."""
TERM_SLOTS = (0, 4, MOST_TERMS)
"""A statement is kept for each of these numbers of terms; a slot too many is NULL."""
TABLE = "memory_memory"
CANDIDATES = """
WITH {sources},
core AS MATERIALIZED ({core}),
said AS MATERIALIZED (
    SELECT memory.id, memory.room_id, memory.said_at FROM core JOIN memory_memory AS memory ON memory.id = core.id
    WHERE memory.kind = 'message' AND memory.room_id IS NOT NULL
),
found AS (
    SELECT id, bool_or(is_core) AS is_core
    FROM (SELECT id, true AS is_core FROM core {around}) AS every GROUP BY id
)
SELECT memory.id::text, memory.kind, memory.room_id::text, {words}.speaker,
       extract(epoch FROM memory.said_at)::float8, memory.importance,
       {nearness}, {matches}, coalesce(length(memory.search), 0),
       {tells_when}, found.is_core,
       {words}.text, {words}.source_messages::text
FROM found JOIN memory_memory AS memory ON memory.id = found.id {behind_wall}
"""
"""Where little may surface, all of it is compared, which is exact and quick; else the indexes are asked: an index
that has to walk past what may not surface here costs the more the less of it may. Where `words` come from behind the
second wall, what it doesn't hand out is no candidate.

What is asked comes by named parameters, each of the very type that it is compared as, so that PostgreSQL reads it
once; what never changes stands in the statement (`sql_of`). So a plan which is kept over calls is a good one.
"""

COMPARED = "few AS MATERIALIZED ({few})"
SEARCHED = (
    "breadth AS MATERIALIZED (SELECT set_config('hnsw.ef_search', '{breadth}', true) <> '' AS is_chosen)"
)
"""Chosen before the index of vectors is searched, for the rest of the transaction, which a recall does not share."""

BEHIND_WALL = """
JOIN memory_read((SELECT array_agg(id) FROM found), $agent$::uuid, $room$::uuid, $person$::uuid) AS read
    ON read.id = found.id
"""
# Of `said` alone: whatever the statistics tell, neighbours are looked for of candidates and not of all.
AROUND = """
UNION ALL
SELECT beside.id, false
FROM said CROSS JOIN LATERAL (({before}) UNION ALL ({after})) AS beside
"""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What a statement is compiled for: `column` has the vectors, and without a vector `dimensions` is 0.

    `is_exact` where all that is visible is compared, else `breadth` is how many of the nearest the index keeps in view.
    `is_walled` where row level security stands.
    """

    column: str
    dimensions: int
    terms: int
    is_exact: bool
    breadth: int
    nearest: int
    kinds: tuple[str, ...] | None
    has_room: bool
    has_person: bool
    has_spans: bool
    asks_when: bool
    is_walled: bool


def term_slots(count: int) -> int:
    """Return how many slots for terms the statement has that serves so many, or as many as there can be."""
    return next((slots for slots in TERM_SLOTS if slots >= count), TERM_SLOTS[-1])


def breadth_of(total: float) -> int:
    """Return how broadly the index is searched where there are so many memories in all."""
    return next(breadth for most, breadth in BREADTHS if total <= most)


@functools.lru_cache(maxsize=128)
def candidates_statement(shape: Shape) -> str:
    """Compile the statement once for each shape; its parameters are named.

    Compiling takes longer than all the rest of a recall; the querysets still say the scope.
    """
    sql = CANDIDATES.format(
        sources=COMPARED.format(few=_few(shape))
        if shape.is_exact
        else SEARCHED.format(breadth=shape.breadth),
        core=_core(shape),
        around=_around(shape),
        nearness=f"1 - ({_distance('memory', shape)})",
        matches=_matches("memory", shape),
        tells_when=_tells_when(shape),
        words="read" if shape.is_walled else "memory",
        behind_wall=BEHIND_WALL if shape.is_walled else "",
    )
    return statement(sql)


def _scope(shape: Shape) -> tuple[UUID, UUID | None, UUID | None]:
    return AGENT, ROOM if shape.has_room else None, PERSON if shape.has_person else None


def _asked_for(rows: MemoryQuerySet[Memory], shape: Shape) -> QuerySet[Memory, Memory]:
    """Leave out the messages that the prompt shows anyway, and other kinds than those that are asked for."""
    rows = rows.not_from_messages([MESSAGE])
    return (rows if shape.kinds is None else rows.filter(kind__in=shape.kinds)).order_by()


def _found(shape: Shape) -> QuerySet[Memory, Memory]:
    """Return what may surface, for where other conditions than these find the rows."""
    return _asked_for(Memory.objects.visible_among(*_scope(shape)), shape)


def _few(shape: Shape) -> str:
    """Return all that may surface, each compared."""
    columns = ("id", shape.column, f"{shape.column}_model") if shape.dimensions else ("id",)
    visible = " UNION ALL ".join(
        sql_of(_asked_for(rows, shape).values(*columns, search=number(f"{TABLE}.search")))
        for rows in Memory.objects.visible_by_scope(*_scope(shape))
    )
    distance, points = _distance("part", shape), _points("part", shape)
    return f"SELECT id, {distance} AS distance, {points} AS points FROM ({visible}) AS part"


def _distance(table: str, shape: Shape) -> str:
    """Return the distance of a row's vector; NULL where it has none, or another model's."""
    if not shape.dimensions:
        return "NULL::float8"
    return (
        f"CASE WHEN {table}.{shape.column}_model = $model$"
        f" AND vector_dims({table}.{shape.column}) = {shape.dimensions}"
        f" THEN {table}.{shape.column} <=> $vector$::vector END"
    )


def _nearness(table: str, shape: Shape) -> str:
    """Return the distance as the index knows it. A size in the vector's type would be checked for every row."""
    kind = indexed_field(shape.dimensions).db_type(connection)
    return f"({table}.{shape.column}::{kind}) <=> $vector$::halfvec"


def _points(table: str, shape: Shape) -> str:
    """Return what a row's words count, so far as it takes to choose candidates by them; most rows have none."""
    if not shape.terms:
        return "0::float8"
    return f"CASE WHEN {table}.search @@ $any$::tsquery THEN {_weight(table, shape)} ELSE 0 END"


def _weight(table: str, shape: Shape) -> str:
    terms = " + ".join(
        f"CASE WHEN {table}.search @@ $term{place}$::tsquery THEN $weight{place}$::float8 ELSE 0 END"
        for place in range(shape.terms)
    )
    return f"({terms}) / (0.7 + 0.3 * length({table}.search) / {USUAL_SIZE})"


def _matches(table: str, shape: Shape) -> str:
    """Return a number with a bit for each term that a row has. Most neighbours have none, which is asked first."""
    if not shape.terms:
        return "0"
    bits = " + ".join(
        f"CASE WHEN {table}.search @@ $term{place}$::tsquery THEN {1 << place} ELSE 0 END"
        for place in range(shape.terms)
    )
    return f"CASE WHEN {table}.search @@ $any$::tsquery THEN {bits} ELSE 0 END"


def _tells_when(shape: Shape) -> str:
    """Return what tells whether a row says when; only where that is asked, as so many words take their time."""
    if not shape.asks_when:
        return "false"
    words = quote(" | ".join(TELLING_WHEN))
    return f"coalesce(memory.search @@ to_tsquery('{SEARCH_CONFIGURATION}', {words}), false)"


def _core(shape: Shape) -> str:
    """Return what finds candidates by themselves: among the few, or by the indexes; and by their dates."""
    parts = _among_few(shape) if shape.is_exact else _by_indexes(shape)
    if shape.has_spans and shape.has_room:
        parts.append(_dated(shape))
    return " UNION ".join(f"({part})" for part in parts) or "SELECT id FROM memory_memory WHERE false"


def _among_few(shape: Shape) -> list[str]:
    parts: list[str] = []
    if shape.dimensions:
        parts.append(f"SELECT id FROM few WHERE distance IS NOT NULL ORDER BY distance LIMIT {shape.nearest}")
    if shape.terms:
        parts.append(f"SELECT id FROM few WHERE points > 0 {_best(shape)}")
    return parts


def _by_indexes(shape: Shape) -> list[str]:
    parts: list[str] = []
    if shape.dimensions:
        # Word for word the index' own expression and condition, by which PostgreSQL knows it.
        near = (
            _found(shape)
            .filter(
                condition("(SELECT is_chosen FROM breadth)"),
                condition(f"vector_dims({TABLE}.{shape.column}) = {shape.dimensions}"),
                condition(f"{TABLE}.{shape.column}_model = $model$"),
            )
            .order_by(number(_nearness(TABLE, shape)))
        )
        parts.append(sql_of(near.values("id")[: shape.nearest]))
    if shape.terms:
        rare = _found(shape).filter(condition(f"{TABLE}.search @@ $rare$::tsquery"))
        matched = rare.annotate(points=number(_weight(TABLE, shape))).values_list("id", "points")
        parts.append(f"SELECT id FROM ({sql_of(matched[:MATCHED_UP_TO])}) AS matched {_best(shape)}")
    return parts


def _best(shape: Shape) -> str:
    return f"ORDER BY points DESC, id DESC LIMIT {shape.nearest}"


def _dated(shape: Shape) -> str:
    within = (
        _asked_for(Memory.objects.visible_to(*_scope(shape)), shape)
        .filter(room_id=ROOM)
        .filter(condition(f"{TABLE}.said_at >= span.start AND {TABLE}.said_at < span.end"))
        .annotate(distance=number(_distance(TABLE, shape)))
        .order_by("-said_at")
    )
    return (
        'SELECT dated.id FROM unnest($starts$::timestamptz[], $ends$::timestamptz[]) AS span (start, "end")'
        f" CROSS JOIN LATERAL ({sql_of(within.values_list('id', 'distance', 'said_at')[:DATED_ROWS])}) AS dated"
        f" ORDER BY dated.distance, dated.said_at DESC LIMIT {DATED}"
    )


def _around(shape: Shape) -> str:
    """Return what brings the messages next to each candidate, in its room."""
    if shape.kinds is not None and "message" not in shape.kinds:
        return ""
    messages = _found(shape).filter(
        condition(f"{TABLE}.room_id = said.room_id"), agent_id=AGENT, kind="message"
    )
    place = f"({TABLE}.said_at, {TABLE}.id)"
    before = messages.filter(condition(f"{place} < (said.said_at, said.id)")).order_by("-said_at", "-id")
    after = messages.filter(condition(f"{place} > (said.said_at, said.id)")).order_by("said_at", "id")
    return AROUND.format(
        before=sql_of(before.values("id")[:NEIGHBOURS]), after=sql_of(after.values("id")[:NEIGHBOURS])
    )


def padded(values: Sequence[Any], slots: int) -> list[Any]:
    """Return the values with NULLs up to the number of slots."""
    return [*values, *([None] * (slots - len(values)))]
