"""What may surface, read from SQLite row by row and compared: by vectors, words, dates, and places in a room.

`memory.stores.sqlite` puts it together. Rows are the numbers that `memory_searched` gives to memories.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from django.db import connection
from django.db.models import BooleanField, QuerySet
from django.db.models.expressions import RawSQL
from numpy.typing import NDArray

from memory.models import Memory
from memory.ranking import LENGTH_SHARE, Flags, Numbers
from memory.stores.base import DATED, DATED_ROWS, NEIGHBOURS, USUAL_SIZE, Sought, Wanted
from memory.stores.sqlite_words import AS_IT_IS

Rows = NDArray[np.int64]
Places = NDArray[np.intp]

BATCH = 1000
"""So many vectors are held at once. Unit: 1.5 MB where they have 384 numbers."""
BESIDE = """
SELECT kept.row
FROM json_each(%s) AS chosen
JOIN memory_searched AS core ON core.row = chosen.value
JOIN memory_memory AS said ON said.id = core.memory_id AND said.kind = 'message' AND said.room_id IS NOT NULL
JOIN memory_searched AS kept ON kept.memory_id IN ({beside})
"""


@dataclass(frozen=True, kw_only=True)
class Visible:
    """All that may surface, in the order of `rows`; `nearness` is NaN without a vector of the question's model.

    Shape: all three are of one length.
    """

    rows: Rows
    sizes: Numbers
    nearness: Numbers

    def places(self, rows: Rows) -> Places:
        """Return where these rows stand; all of them must be visible."""
        return np.searchsorted(self.rows, rows)

    def among(self, rows: Rows) -> Flags:
        """Tell of each visible row whether it is one of these."""
        return np.isin(self.rows, rows, assume_unique=True)


def _visible_to(wanted: Wanted, *, row_by_row: bool = False) -> QuerySet[Memory, Memory]:
    """Return what may surface; `row_by_row` where other conditions than these find the rows."""
    scope = wanted.agent_id, wanted.room_id, wanted.person_id
    visible = Memory.objects.visible_among(*scope) if row_by_row else Memory.objects.visible_to(*scope)
    if wanted.exclude_message_ids:
        visible = visible.not_from_messages(sorted(map(str, wanted.exclude_message_ids)))
    if wanted.kinds is not None:
        visible = visible.filter(kind__in=wanted.kinds)
    return visible.order_by()


def compare(wanted: Wanted) -> Visible:
    """Compare the question with every visible vector, batch by batch."""
    column, model = f"kept.{wanted.column}", f"{wanted.column}_model"
    visible, scope = _sql(_visible_to(wanted).values("id", model))
    question = np.array([] if wanted.vector is None else wanted.vector, dtype=np.float32)
    question /= float(np.linalg.norm(question)) or 1.0
    parts: list[tuple[Rows, Numbers, Numbers]] = []
    with connection.cursor() as cursor:
        cursor.execute(
            f"{AS_IT_IS}SELECT kept.row, kept.size, CASE WHEN memory.{model} = %s AND length({column}) = %s"
            f" THEN {column} END FROM ({visible}) AS memory"
            " JOIN memory_searched AS kept ON kept.memory_id = memory.id",
            [wanted.embedding_model, question.nbytes or -1, *scope],
        )
        while batch := cursor.fetchmany(BATCH):
            rows, sizes, vectors = zip(*batch, strict=True)
            nearness = np.full(len(batch), np.nan)
            has_vector = np.array([vector is not None for vector in vectors])
            if has_vector.any():
                joined = b"".join(vector for vector in vectors if vector is not None)
                nearness[has_vector] = np.frombuffer(joined, "<f4").reshape(-1, len(question)) @ question
            parts.append((np.array(rows, dtype=np.int64), np.array(sizes, dtype=float), nearness))
    if not parts:
        return Visible(rows=np.array([], dtype=np.int64), sizes=np.array([]), nearness=np.array([]))
    all_rows, all_sizes, all_nearness = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(all_rows)
    return Visible(rows=all_rows[order], sizes=all_sizes[order], nearness=all_nearness[order])


def count_matches(visible: Visible, sought: Sought) -> tuple[Rows, Numbers]:
    """Return for each visible row a bit for each term that it has, and what its words count."""
    matches, points = np.zeros(len(visible.rows), dtype=np.int64), np.zeros(len(visible.rows))
    for place, (query, weight) in enumerate(zip(sought.queries, sought.weights, strict=True)):
        has_term = visible.among(find_matching(query))
        matches |= has_term.astype(np.int64) << place
        points += weight * has_term
    return matches, points / (1.0 - LENGTH_SHARE + LENGTH_SHARE * visible.sizes / USUAL_SIZE)


def find_matching(query: str) -> Rows:
    """Find the rows that a full-text query matches, visible or not."""
    return _rows(execute("SELECT rowid FROM memory_search WHERE memory_search MATCH %s", [query]))


def nearest(nearness: Numbers, most: int) -> Places:
    """Return the places of the nearest, nearest first; those without a vector are none."""
    order = np.argsort(-nearness, kind="stable")[:most]  # those without a vector come last
    return order[~np.isnan(nearness[order])]


def best(points: Numbers, matches: Rows, rows: Rows) -> Places:
    """Return the places of those that have any of the words, best first."""
    # Of two that are equal, the newer one comes first. A word that all have counts nothing, and is found all the same.
    order = np.lexsort((-rows, -points))
    return order[matches[order] > 0]


def find_dated(visible: Visible, wanted: Wanted) -> Rows:
    """Return the nearest of the room's newest memories of each date."""
    if wanted.room_id is None or not wanted.spans:
        return np.array([], dtype=np.int64)
    found: list[tuple[Any, int]] = []
    for span in wanted.spans:
        within = _visible_to(wanted).filter(
            room_id=wanted.room_id, said_at__gte=span.start, said_at__lt=span.end
        )
        newest, values = _sql(within.order_by("-said_at").values("id", "said_at")[:DATED_ROWS])
        found += execute(
            f"SELECT memory.said_at, kept.row FROM ({newest}) AS memory"
            " JOIN memory_searched AS kept ON kept.memory_id = memory.id",
            values,
        )
    newest_first = _rows((row,) for _, row in sorted(found, reverse=True))
    newest_first = newest_first[np.isin(newest_first, visible.rows)]
    nearness = np.nan_to_num(visible.nearness[visible.places(newest_first)], nan=-2.0)
    return newest_first[np.argsort(-nearness, kind="stable")[:DATED]]


def find_beside(core: Rows, wanted: Wanted) -> Rows:
    """Return the messages next to each of the core, in its room."""
    if wanted.kinds is not None and "message" not in wanted.kinds:
        return np.array([], dtype=np.int64)
    place = "(memory_memory.said_at, memory_memory.id)"
    found: list[Sequence[Any]] = []
    for sign, order in (("<", ("-said_at", "-id")), (">", ("said_at", "id"))):
        messages = _visible_to(wanted, row_by_row=True).filter(
            _condition("memory_memory.room_id = said.room_id"),
            _condition(f"{place} {sign} (said.said_at, said.id)"),
            agent_id=wanted.agent_id,
            kind="message",
        )
        beside, values = _sql(messages.order_by(*order).values("id")[:NEIGHBOURS])
        found += execute(BESIDE.format(beside=beside), [listed(core), *values])
    return _rows(found)


def still_visible(wanted: Wanted) -> tuple[str, list[Any]]:
    """Return the query, and its values, that finds the row `memory` of a statement around it if it may surface."""
    return _sql(
        _visible_to(wanted, row_by_row=True).filter(_condition("memory_memory.id = memory.id")).values("id")
    )


def _condition(sql: str) -> RawSQL:
    return RawSQL(sql, (), output_field=BooleanField())


def _sql(rows: QuerySet[Any, Any]) -> tuple[str, list[Any]]:
    sql, values = rows.query.sql_with_params()
    return sql, list(values)


def execute(sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
    """Run a statement that is in SQLite's own words, and return its rows."""
    with connection.cursor() as cursor:
        cursor.execute(f"{AS_IT_IS}{sql}", values)
        return list(cursor.fetchall())


def _rows(found: Iterable[Sequence[Any]]) -> Rows:
    return np.array([row for (row,) in found], dtype=np.int64)


def listed(rows: Rows) -> str:
    """Return the rows as `json_each` reads them."""
    return json.dumps(rows.tolist())
