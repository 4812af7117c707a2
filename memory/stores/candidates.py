"""The statement that brings what may answer a question.

`memory.stores.postgres_recall` calls it. What may surface is said by `MemoryQuerySet.visible_to` alone: its
conditions stand in each part of it that reads memories, with agent, room and person as its parameters.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import BooleanField, FloatField, QuerySet
from django.db.models.expressions import RawSQL
from psycopg.sql import quote

from memory.models import Memory
from memory.querysets import MemoryQuerySet, is_private_room_of
from memory.questions import TELLING_WHEN
from memory.stores.base import DATED, DATED_ROWS, MOST_TERMS, NEIGHBOURS, USUAL_SIZE
from memory.stores.postgres import SEARCH_CONFIGURATION, indexed_field

# What stands in a queryset where a call's own values go.
_AGENT, _ROOM, _PERSON = UUID(int=1), UUID(int=2), UUID(int=3)
_MESSAGE = "the message's id"
_PARAMETER = re.compile(r"\$(\w+)\$")
"""How a parameter is written in what a queryset takes as SQL."""

EXACT_STEPS = ((200_000, 2000), (math.inf, 5000))
"""Of up to so many memories, all agents' together, so many visible ones are compared one by one."""
BREADTHS = ((200_000, 100), (500_000, 200), (math.inf, 300))
"""Of up to so many memories, all agents' together, the index of vectors keeps so many of the nearest in view while it
searches (`hnsw.ef_search`): the more there are, the more it takes to find the nearest."""
MATCHED_UP_TO = 2000
"""Of so many memories that have one of the rare words, the best are candidates."""
TERM_SLOTS = (0, 4, MOST_TERMS)
"""A statement is kept for each of these numbers of terms; a slot too many is NULL."""
TABLE = "memory_memory"
CANDIDATES = """
WITH {counts},
breadth AS MATERIALIZED (
    SELECT set_config('hnsw.ef_search', CASE {breadths} END, true) AS chosen
    FROM pg_class WHERE oid = 'memory_memory'::regclass
),
counted AS MATERIALIZED (
    SELECT CASE {are_many} ELSE {count} <= {exact_up_to} END AS are_few, (SELECT chosen FROM breadth)
),
few AS MATERIALIZED ({few}),
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
that has to walk past what may not surface here costs the more the less of it may. How much it is at most is counted
in indexes alone, and with it is chosen how broadly the index of vectors is searched, before it is: for the rest of the
transaction, which a recall does not share. Where `words` come from behind the second wall, what it doesn't hand out is
no candidate.

What is asked comes by named parameters, each of the very type that it is compared as, so that PostgreSQL reads it
once; what never changes stands in the statement (`_sql`). So a plan which is kept over calls is a good one.
"""

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

    `is_walled` where row level security stands.
    """

    column: str
    dimensions: int
    terms: int
    exact_up_to: int
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


def exact_up_to(total: float) -> int:
    """Return how many visible memories are compared one by one where there are so many in all."""
    return next(exact for most, exact in EXACT_STEPS if total <= most)


@functools.lru_cache(maxsize=128)
def candidates_statement(shape: Shape) -> str:
    """Compile the statement once for each shape; its parameters are named.

    Compiling takes longer than all the rest of a recall; the querysets still say the scope.
    """
    sql = CANDIDATES.format(
        **_counts(shape),
        exact_up_to=shape.exact_up_to,
        breadths=_breadths(),
        few=_few(shape),
        core=_core(shape),
        around=_around(shape),
        nearness=f"1 - ({_distance('memory', shape)})",
        matches=_matches("memory", shape),
        tells_when=_tells_when(shape),
        words="read" if shape.is_walled else "memory",
        behind_wall=BEHIND_WALL if shape.is_walled else "",
    )
    return _PARAMETER.sub(r"%(\1)s", sql)


def _scope(shape: Shape) -> tuple[UUID, UUID | None, UUID | None]:
    return _AGENT, _ROOM if shape.has_room else None, _PERSON if shape.has_person else None


def _asked_for(rows: MemoryQuerySet[Memory], shape: Shape) -> QuerySet[Memory, Memory]:
    """Leave out the messages that the prompt shows anyway, and other kinds than those that are asked for."""
    rows = rows.not_from_messages([_MESSAGE])
    return (rows if shape.kinds is None else rows.filter(kind__in=shape.kinds)).order_by()


def _found(shape: Shape) -> QuerySet[Memory, Memory]:
    """Return what may surface, for where other conditions than these find the rows."""
    return _asked_for(Memory.objects.visible_among(*_scope(shape)), shape)


def _few(shape: Shape) -> str:
    """Return all that may surface, each compared."""
    return " UNION ALL ".join(
        _sql(
            _asked_for(rows, shape)
            .filter(_condition("(SELECT are_few FROM counted)"))
            .annotate(distance=_number(_distance(TABLE, shape)), points=_number(_points(TABLE, shape)))
            .values_list("id", "distance", "points")
        )
        for rows in Memory.objects.visible_by_scope(*_scope(shape))
    )


def _counts(shape: Shape) -> dict[str, str]:
    """Return what counts the memories that may be visible, each up to one more than are compared one by one.

    It reads no table, and may count what was superseded, too: the agent's own, the person's, and the room's. Of
    these the next is counted only where those before are few.
    """
    most = shape.exact_up_to
    memories = Memory.objects.filter(agent_id=_AGENT).order_by()
    counted = {"of_agent": (memories.filter(scope="agent").values("agent_id"), "count(*)")}
    if shape.has_room and shape.has_person:
        private = memories.filter(is_private_room_of(_PERSON, _ROOM), scope="person", person_id=_PERSON)
        counted["of_person"] = (private.values("agent_id"), "count(*)")
    if shape.has_room:
        # In a direct chat all is the person's: where the room has more than can be compared, so has the person.
        number = f"CASE WHEN count(*) > {most} THEN count(*) ELSE count(*) FILTER (WHERE scope = 'room') END"
        counted["of_room"] = (memories.filter(room_id=_ROOM).values("agent_id", "scope"), number)
    numbers = [f"(SELECT number FROM {name})" for name in counted]
    return {
        "counts": ", ".join(
            f"{name} AS MATERIALIZED (SELECT {number} AS number FROM ({_sql(rows[: most + 1])}) AS part)"
            for name, (rows, number) in counted.items()
        ),
        "are_many": " ".join(f"WHEN {number} > {most} THEN false" for number in numbers),
        "count": " + ".join(numbers),
    }


def _breadths() -> str:
    return " ".join(
        f"ELSE '{breadth}'" if most == math.inf else f"WHEN reltuples <= {most} THEN '{breadth}'"
        for most, breadth in BREADTHS
    )


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
    parts: list[str] = []
    among = _found(shape).filter(_condition("(SELECT NOT are_few FROM counted)"))
    if shape.dimensions:
        parts.append(f"SELECT id FROM few WHERE distance IS NOT NULL ORDER BY distance LIMIT {shape.nearest}")
        # Word for word the index' own expression and condition, by which PostgreSQL knows it.
        near = among.filter(
            _condition(f"vector_dims({TABLE}.{shape.column}) = {shape.dimensions}"),
            _condition(f"{TABLE}.{shape.column}_model = $model$"),
        ).order_by(_number(_nearness(TABLE, shape)))
        parts.append(_sql(near.values("id")[: shape.nearest]))
    if shape.terms:
        best = f"ORDER BY points DESC, id DESC LIMIT {shape.nearest}"
        parts.append(f"SELECT id FROM few WHERE points > 0 {best}")
        said = among.filter(_condition(f"{TABLE}.search @@ $rare$::tsquery"))
        said = said.annotate(points=_number(_weight(TABLE, shape)))
        parts.append(
            f"SELECT id FROM ({_sql(said.values_list('id', 'points')[:MATCHED_UP_TO])}) AS said {best}"
        )
    if shape.has_spans and shape.has_room:
        parts.append(_dated(shape))
    return " UNION ".join(f"({part})" for part in parts) or "SELECT id FROM few WHERE false"


def _dated(shape: Shape) -> str:
    within = (
        _asked_for(Memory.objects.visible_to(*_scope(shape)), shape)
        .filter(room_id=_ROOM)
        .filter(_condition(f"{TABLE}.said_at >= span.start AND {TABLE}.said_at < span.end"))
        .annotate(distance=_number(_distance(TABLE, shape)))
        .order_by("-said_at")
    )
    return (
        'SELECT dated.id FROM unnest($starts$::timestamptz[], $ends$::timestamptz[]) AS span (start, "end")'
        f" CROSS JOIN LATERAL ({_sql(within.values_list('id', 'distance', 'said_at')[:DATED_ROWS])}) AS dated"
        f" ORDER BY dated.distance, dated.said_at DESC LIMIT {DATED}"
    )


def _around(shape: Shape) -> str:
    """Return what brings the messages next to each candidate, in its room."""
    if shape.kinds is not None and "message" not in shape.kinds:
        return ""
    messages = _found(shape).filter(
        _condition(f"{TABLE}.room_id = said.room_id"), agent_id=_AGENT, kind="message"
    )
    place = f"({TABLE}.said_at, {TABLE}.id)"
    before = messages.filter(_condition(f"{place} < (said.said_at, said.id)")).order_by("-said_at", "-id")
    after = messages.filter(_condition(f"{place} > (said.said_at, said.id)")).order_by("said_at", "id")
    return AROUND.format(
        before=_sql(before.values("id")[:NEIGHBOURS]), after=_sql(after.values("id")[:NEIGHBOURS])
    )


def _condition(sql: str) -> RawSQL:
    return RawSQL(sql, (), output_field=BooleanField())


def _number(sql: str) -> RawSQL:
    return RawSQL(sql, (), output_field=FloatField())


def _sql(rows: QuerySet[Any, Any]) -> str:
    """Return the queryset's SQL; what is the same in every call stands in it.

    A kept plan can use a partial index only where the statement itself says that its condition holds.
    """
    sql, parameters = rows.query.sql_with_params()
    shown = (_name(parameter) or quote(parameter) for parameter in parameters)
    return sql % tuple(shown)


def _name(parameter: Any) -> str:
    if isinstance(parameter, list):
        return "$messages$"
    return {_AGENT: "$agent$", _ROOM: "$room$", _PERSON: "$person$"}.get(parameter, "")


def padded(values: Sequence[Any], slots: int) -> list[Any]:
    """Return the values with NULLs up to the number of slots."""
    return [*values, *([None] * (slots - len(values)))]
