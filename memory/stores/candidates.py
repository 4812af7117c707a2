"""The statement that brings what may answer a question.

`memory.retrieval` calls it. What may surface is said by `MemoryQuerySet.visible_to` alone: its conditions stand in
each part of it that reads memories, with agent, room and person as its parameters.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import BooleanField, QuerySet
from django.db.models.expressions import RawSQL
from psycopg.sql import quote

from memory.models import Memory
from memory.questions import TELLING_WHEN
from memory.stores.postgres import SEARCH_CONFIGURATION, indexed_field

Slots = tuple[str, ...]

# What stands in a queryset where a call's own values go.
_AGENT, _ROOM, _PERSON = UUID(int=1), UUID(int=2), UUID(int=3)
_MESSAGE = "the message's id"

EXACT_STEPS = ((200_000, 2000), (500_000, 5000), (math.inf, 10_000))
"""Of up to so many memories, all agents' together, so many visible ones are compared one by one."""
NEAREST_STEPS = (40, 100, 300)
"""So many candidates come by their vectors, and as many by their words; which of them, by how many are wanted."""
MATCHED_UP_TO = 2000
"""Of so many memories that have one of the rare words, the best are candidates."""
DATED_SPANS, DATED_ROWS, DATED = 3, 200, 25
"""Of so many dates: so many of the room's newest memories each, and of these so many, the nearest."""
NEIGHBOURS = 2
"""So many messages before and after a candidate come with it."""
TERM_SLOTS = (0, 4, 8, 16)
"""A statement is kept for each of these numbers of terms; a slot too many is NULL."""
USUAL_SIZE = 12.0
"""So many words has a message; a longer text's words count less."""
CANDIDATES = """
WITH asked AS MATERIALIZED (SELECT {asked}),
counted AS MATERIALIZED (SELECT {count} <= {exact_up_to} AS are_few),
few AS MATERIALIZED ({few}),
core AS MATERIALIZED ({core}),
found AS (
    SELECT id, bool_or(is_core) AS is_core
    FROM (SELECT id, true AS is_core FROM core {around}) AS every GROUP BY id
)
SELECT memory.id, memory.kind, memory.room_id, memory.speaker, extract(epoch FROM memory.said_at)::float8,
       memory.importance,
       {nearness}, {matches}, coalesce(length(memory.search), 0),
       coalesce(memory.search @@ {telling_when}, false), found.is_core,
       memory.text, memory.source_messages::text
FROM found JOIN memory_memory AS memory ON memory.id = found.id
"""
"""Where little may surface, all of it is compared, which is exact and quick; else the indexes are asked: an index
that has to walk past what may not surface here costs the more the less of it may. How much it is at most is counted
in indexes alone.

What is asked comes as text and is read once, in `asked`, and what never changes stands in the statement (`_sql`), so
that a plan which is kept over calls is a good one.
"""

AROUND = """
UNION ALL
SELECT beside.id, false
FROM core JOIN memory_memory AS said ON said.id = core.id AND said.kind = 'message' AND said.room_id IS NOT NULL
CROSS JOIN LATERAL (({before}) UNION ALL ({after})) AS beside
"""


@dataclass(frozen=True, kw_only=True)
class Shape:
    """What a statement is compiled for. Without a vector, `dimensions` is 0."""

    dimensions: int
    terms: int
    exact_up_to: int
    nearest: int
    kinds: tuple[str, ...] | None
    has_room: bool
    has_person: bool
    has_spans: bool


def term_slots(count: int) -> int:
    """Return how many slots for terms the statement has that serves so many, or as many as there can be."""
    return next((slots for slots in TERM_SLOTS if slots >= count), TERM_SLOTS[-1])


def exact_up_to(total: float) -> int:
    """Return how many visible memories are compared one by one where there are so many in all."""
    return next(exact for most, exact in EXACT_STEPS if total <= most)


def nearest_for(limit: int) -> int:
    """Return how many candidates each way is asked for, where so many hits are wanted."""
    return next((nearest for nearest in NEAREST_STEPS if nearest >= limit * 2), NEAREST_STEPS[-1])


def most_terms() -> int:
    """Return how many terms a statement can look for."""
    return TERM_SLOTS[-1]


@functools.lru_cache(maxsize=128)
def candidates_statement(shape: Shape) -> tuple[str, Slots]:
    """Compile the statement once for each shape, with the slot of each of its parameters.

    Compiling takes longer than all the rest of a recall; the querysets still say the scope.
    """
    visible = _visible(shape)
    memory = "memory_memory"
    parts: dict[str, tuple[str, Slots]] = {
        "count": _count(shape),
        "few": _sql(
            visible.filter(_condition("(SELECT are_few FROM counted)"))
            .annotate(
                distance=RawSQL(_distance(memory, shape), ()), points=RawSQL(_points(memory, shape), ())
            )
            .values_list("id", "distance", "points")
        ),
        "core": _core(shape, visible),
        "around": _around(shape),
    }
    asked, asked_slots = _asked(shape)
    telling_when = f"to_tsquery('{SEARCH_CONFIGURATION}', {quote(' | '.join(TELLING_WHEN))})"
    sql = CANDIDATES.format(
        asked=asked,
        exact_up_to=shape.exact_up_to,
        nearness=f"1 - ({_distance('memory', shape)})",
        matches=_matches("memory", shape),
        telling_when=telling_when,
        **{name: part for name, (part, _) in parts.items()},
    )
    return sql, (*asked_slots, *(slot for _, slots in parts.values() for slot in slots))


def _visible(shape: Shape, *, row_by_row: bool = False) -> QuerySet[Memory, Memory]:
    """Return what may surface; `row_by_row` where other conditions than these find the rows."""
    scope = _AGENT, _ROOM if shape.has_room else None, _PERSON if shape.has_person else None
    memories = Memory.objects
    visible = memories.visible_among(*scope) if row_by_row else memories.visible_to(*scope)
    visible = visible.not_from_messages([_MESSAGE])
    if shape.kinds is not None:
        visible = visible.filter(kind__in=shape.kinds)
    return visible.order_by()


def _count(shape: Shape) -> tuple[str, Slots]:
    """Return what counts the memories that may be visible, up to one more than are compared one by one.

    It reads no table, and may count what was superseded, too: the agent's own, the person's, and the room's.
    """
    most = shape.exact_up_to
    memories = Memory.objects.filter(agent_id=_AGENT).order_by()
    counted = [_sql(memories.filter(scope="agent").values("agent_id")[: most + 1])]
    count = "(SELECT count(*) FROM ({}) AS part)"
    if shape.has_room and shape.has_person:
        counted.append(
            _sql(memories.filter(scope="person", person_id=_PERSON).values("agent_id")[: most + 1])
        )
    counts = [count.format(sql) for sql, _ in counted]
    if shape.has_room:
        # In a direct chat all is the person's: where the room has more than can be compared, so has the person.
        in_room = _sql(memories.filter(room_id=_ROOM).values("agent_id", "scope")[: most + 1])
        number = f"CASE WHEN count(*) > {most} THEN count(*) ELSE count(*) FILTER (WHERE scope = 'room') END"
        counted.append(in_room)
        counts.append(f"(SELECT {number} FROM ({in_room[0]}) AS part)")
    return " + ".join(counts), tuple(slot for _, slots in counted for slot in slots)


def _asked(shape: Shape) -> tuple[str, Slots]:
    """Return the columns of `asked`, each read from a parameter."""
    columns = [("any", "tsquery"), ("rare", "tsquery"), ("model", "text")]
    columns += [(f"term{place}", "tsquery") for place in range(shape.terms)]
    columns += [(f"weight{place}", "float8") for place in range(shape.terms)]
    if shape.dimensions:
        columns.append(("vector", str(indexed_field(shape.dimensions).db_type(connection))))
    return (
        ", ".join(f"%s::{kind} AS {_quoted(name)}" for name, kind in columns),
        tuple(name for name, _ in columns),
    )


def _quoted(name: str) -> str:
    return f'"{name}"'


def _of(name: str) -> str:
    return f"(SELECT {_quoted(name)} FROM asked)"


def _distance(table: str, shape: Shape) -> str:
    """Return the distance of a row's vector; NULL where it has none, or another model's."""
    if not shape.dimensions:
        return "NULL::float8"
    kind = indexed_field(shape.dimensions).db_type(connection)
    return (
        f"CASE WHEN {table}.embedding_model = {_of('model')} AND vector_dims({table}.embedding) = {shape.dimensions}"
        f" THEN {table}.embedding::{kind} <=> {_of('vector')} END"
    )


def _points(table: str, shape: Shape) -> str:
    """Return what a row's words count, so far as it takes to choose candidates by them."""
    if not shape.terms:
        return "0::float8"
    terms = " + ".join(
        f"CASE WHEN {table}.search @@ {_of(f'term{place}')} THEN {_of(f'weight{place}')} ELSE 0 END"
        for place in range(shape.terms)
    )
    length = f"(0.7 + 0.3 * length({table}.search) / {USUAL_SIZE})"
    return f"CASE WHEN {table}.search @@ {_of('any')} THEN ({terms}) / {length} ELSE 0 END"


def _matches(table: str, shape: Shape) -> str:
    """Return a number with a bit for each term that a row has."""
    return " + ".join(
        ["0"]
        + [
            f"CASE WHEN {table}.search @@ {_of(f'term{place}')} THEN {1 << place} ELSE 0 END"
            for place in range(shape.terms)
        ]
    )


def _core(shape: Shape, visible: QuerySet[Memory, Memory]) -> tuple[str, Slots]:
    """Return what finds candidates by themselves: among the few, or by the indexes; and by their dates."""
    parts: list[tuple[str, Slots]] = []
    are_many = _condition("(SELECT NOT are_few FROM counted)")
    among = _visible(shape, row_by_row=True)
    table = "memory_memory"
    if shape.dimensions:
        parts.append(
            (f"SELECT id FROM few WHERE distance IS NOT NULL ORDER BY distance LIMIT {shape.nearest}", ())
        )
        kind = indexed_field(shape.dimensions).db_type(connection)
        # Word for word the index' own expression and condition, by which PostgreSQL knows it.
        near = among.filter(
            are_many,
            _condition(f"vector_dims({table}.embedding) = {shape.dimensions}"),
            _condition(f"{table}.embedding_model = {_of('model')}"),
        ).order_by(RawSQL(f"({table}.embedding::{kind}) <=> {_of('vector')}", ()))
        parts.append(_sql(near.values("id")[: shape.nearest]))
    if shape.terms:
        parts.append(
            (f"SELECT id FROM few WHERE points > 0 ORDER BY points DESC, id DESC LIMIT {shape.nearest}", ())
        )
        said = among.filter(are_many, _condition(f"{table}.search @@ {_of('rare')}"))
        sql, slots = _sql(
            said.annotate(points=RawSQL(_points(table, shape), ())).values_list("id", "points")[
                :MATCHED_UP_TO
            ]
        )
        parts.append(
            (f"SELECT id FROM ({sql}) AS said ORDER BY points DESC, id DESC LIMIT {shape.nearest}", slots)
        )
    if shape.has_spans and shape.has_room:
        sql, slots = _dated(shape, visible)
        parts.append((sql, ("starts", "ends", *slots)))
    if not parts:
        return "SELECT id FROM few WHERE false", ()
    return " UNION ".join(f"({sql})" for sql, _ in parts), tuple(slot for _, slots in parts for slot in slots)


def _dated(shape: Shape, visible: QuerySet[Memory, Memory]) -> tuple[str, Slots]:
    within = (
        visible.filter(room_id=_ROOM)
        .filter(said_at__gte=RawSQL("span.start", ()), said_at__lt=RawSQL("span.end", ()))
        .annotate(distance=RawSQL(_distance("memory_memory", shape), ()))
        .order_by("-said_at")
    )
    sql, slots = _sql(within.values_list("id", "distance", "said_at")[:DATED_ROWS])
    return (
        'SELECT dated.id FROM unnest(%s::timestamptz[], %s::timestamptz[]) AS span (start, "end")'
        f" CROSS JOIN LATERAL ({sql}) AS dated ORDER BY dated.distance, dated.said_at DESC LIMIT {DATED}",
        slots,
    )


def _around(shape: Shape) -> tuple[str, Slots]:
    """Return what brings the messages next to each candidate, in its room."""
    if shape.kinds is not None and "message" not in shape.kinds:
        return "", ()
    messages = _visible(shape, row_by_row=True).filter(
        agent_id=_AGENT, kind="message", room_id=RawSQL("said.room_id", ())
    )
    place = "(memory_memory.said_at, memory_memory.id)"
    before = messages.filter(_condition(f"{place} < (said.said_at, said.id)")).order_by("-said_at", "-id")
    after = messages.filter(_condition(f"{place} > (said.said_at, said.id)")).order_by("said_at", "id")
    before_sql, before_slots = _sql(before.values("id")[:NEIGHBOURS])
    after_sql, after_slots = _sql(after.values("id")[:NEIGHBOURS])
    return AROUND.format(before=before_sql, after=after_sql), (*before_slots, *after_slots)


def _condition(sql: str) -> RawSQL:
    return RawSQL(sql, (), output_field=BooleanField())


def _sql(rows: QuerySet[Any, Any]) -> tuple[str, Slots]:
    """Return the queryset's SQL and the slots of its parameters; what is the same in every call stands in it.

    A kept plan can use a partial index only where the statement itself says that its condition holds.
    """
    sql, parameters = rows.query.sql_with_params()
    slots = tuple(_slot(parameter) for parameter in parameters)
    shown = ["%s" if slot else quote(value) for slot, value in zip(slots, parameters, strict=True)]
    return sql % tuple(shown), tuple(slot for slot in slots if slot)


def _slot(parameter: Any) -> str:
    if isinstance(parameter, list):
        return "messages"
    return {_AGENT: "agent", _ROOM: "room", _PERSON: "person"}.get(parameter, "")


def padded(values: Sequence[Any], slots: int) -> list[Any]:
    """Return the values with NULLs up to the number of slots."""
    return [*values, *([None] * (slots - len(values)))]
