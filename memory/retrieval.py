"""Recall: which memories come to mind. The pipeline's recall step and the `recall` command call it.

Now by the nearness of meaning: one statement, through the HNSW index, within scope.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models import F
from django.db.models.expressions import RawSQL
from django.db.models.functions import Cast
from pgvector.django import CosineDistance
from psycopg.sql import quote

from memory.metrics import timed
from memory.models import Memory
from memory.stores.postgres import VectorDimensions, indexed_field
from memory.vectors import check_size, vector_text
from plugins.api import RecalledMemory

# What stands in the compiled statement where a call's own values go.
_AGENT, _ROOM, _PERSON = UUID(int=1), UUID(int=2), UUID(int=3)
EXACT_UP_TO = 1000
"""So many visible memories are compared one by one."""

_MODEL, _MESSAGE = "the embedding model", "the message's id"


@dataclass(frozen=True, kw_only=True)
class RecallQuery:
    """What is asked: who speaks where, what was said, and its vector. `kinds` None means all of them.

    Without an `embedding` nothing is found, as nearness is all that is known at this stage.
    """

    agent_id: UUID
    room_id: UUID | None
    person_id: UUID | None
    text: str
    embedding: Sequence[float] | None
    embedding_model: str
    limit: int
    exclude_message_ids: frozenset[UUID] = frozenset()
    kinds: tuple[str, ...] | None = None


def recall(query: RecallQuery) -> list[RecalledMemory]:
    """Find the memories nearest in meaning that may surface here, nearest first, in one statement.

    Each hit's `scores` has `vector`: the cosine of its angle to the query.
    Raises: UnexpectedVectorSize where the query's vector is not of the size that the settings say.
    """
    if query.embedding is None or query.limit < 1:
        return []
    check_size(query.embedding, query.embedding_model)
    dimensions = len(query.embedding)
    kinds = None if query.kinds is None else tuple(sorted(query.kinds))
    sql, slots = _statement(dimensions, query.limit, kinds, query.room_id is None, query.person_id is None)
    values: dict[str, Any] = {
        "vector": vector_text(query.embedding),
        "agent": query.agent_id,
        "room": query.room_id,
        "person": query.person_id,
        "model": query.embedding_model,
        "messages": [str(message) for message in query.exclude_message_ids],
    }
    with timed("recall"), connection.cursor() as cursor:
        cursor.execute(sql, [values[slot] for slot in slots])
        return [_hit(row) for row in cursor.fetchall()]


def _hit(row: tuple[Any, ...]) -> RecalledMemory:
    id, kind, text, said_at, speaker, source_messages, distance = row
    nearness = 1.0 - distance
    return RecalledMemory(
        id=id,
        kind=kind,
        text=text,
        said_at=said_at,
        speaker=speaker,
        score=nearness,
        scores={"vector": nearness},
        source_message_ids=tuple(map(UUID, json.loads(source_messages))),
    )


ADAPTIVE = """
WITH asked AS MATERIALIZED (SELECT %s::{kind} AS vector),
     few AS MATERIALIZED ({few}),
     counted AS (SELECT count(*) AS number FROM few),
     near AS (
         (SELECT id, distance FROM few
          WHERE (SELECT number FROM counted) <= {limit_of_few} ORDER BY distance LIMIT {limit})
         UNION ALL
         (SELECT id, distance FROM ({indexed}) AS indexed WHERE (SELECT number FROM counted) > {limit_of_few})
     )
SELECT memory.id, memory.kind, memory.text, memory.said_at, memory.speaker, memory.source_messages::text,
       near.distance
FROM near JOIN memory_memory AS memory ON memory.id = near.id ORDER BY near.distance
"""
"""Where little may surface, all of it is compared, which is exact and quick; else the index is asked. An index
that has to walk past what may not surface here costs the more the less of it may: 24 ms where 16 of 1,000
memories were visible, against 0.3 ms.

The vector comes as text and is read once, in `asked`, and what never changes stands in the statement (`_sql`), so
that a plan which is kept over calls is a good one: with 290 memories compared it takes 0.7 ms of PostgreSQL's CPU,
against 2.0 where each call was planned anew, and 7.2 by a kept plan that knew neither.
"""


@functools.lru_cache(maxsize=64)
def _statement(
    dimensions: int, limit: int, kinds: tuple[str, ...] | None, is_roomless: bool, is_personless: bool
) -> tuple[str, tuple[str, ...]]:
    """Compile the statement once for each shape, with the slot of each of its parameters.

    Compiling took five times the CPU of all the rest of a recall; the queryset still says the scope.
    """
    visible = (
        Memory.objects.visible_to(_AGENT, None if is_roomless else _ROOM, None if is_personless else _PERSON)
        .not_from_messages([_MESSAGE])
        .filter(embedding_model=_MODEL)
        .alias(size=VectorDimensions(F("embedding")))
        # Word for word the condition of the index, which PostgreSQL uses only where it sees that it holds.
        .filter(size=dimensions)
    )
    if kinds is not None:
        visible = visible.filter(kind__in=kinds)
    kind = indexed_field(dimensions)
    near = visible.order_by().annotate(
        distance=CosineDistance(Cast("embedding", kind), RawSQL("(SELECT vector FROM asked)", ()))
    )
    few_sql, few_slots = _sql(near.values_list("id", "distance")[: EXACT_UP_TO + 1])
    near_sql, near_slots = _sql(near.order_by("distance").values_list("id", "distance")[:limit])
    sql = ADAPTIVE.format(
        few=few_sql,
        indexed=near_sql,
        kind=kind.db_type(connection),
        limit=limit,
        limit_of_few=EXACT_UP_TO,
    )
    return sql, ("vector", *few_slots, *near_slots)


def _sql(rows: Any) -> tuple[str, tuple[str, ...]]:
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
    return {_AGENT: "agent", _ROOM: "room", _PERSON: "person", _MODEL: "model"}.get(parameter, "")
