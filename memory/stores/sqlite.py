"""Recall from SQLite, in a file or in RAM: all that may surface is compared, one by one.

`memory.stores.store` chooses it. `sqlite_schema` keeps the words and vectors that it reads.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
from django.db import connection
from django.db.models import BooleanField, QuerySet
from django.db.models.expressions import RawSQL
from numpy.typing import NDArray

from memory.models import Memory
from memory.questions import Term
from memory.ranking import LENGTH_SHARE, Candidate, Flags, Numbers, rarity_of_share
from memory.stores.base import (
    DATED,
    DATED_ROWS,
    MOST_TERMS,
    NEIGHBOURS,
    USUAL_SIZE,
    Sought,
    Wanted,
    Words,
    nearest_for,
)
from memory.stores.sqlite_words import query_of, telling_when_query

Rows = NDArray[np.int64]

AS_IT_IS = "/* sqlite */ "
"""How a statement begins that is in SQLite's own words: the backend translates those for PostgreSQL."""
BATCH = 1000
"""So many vectors are held at once. Unit: 1.5 MB where they have 384 numbers."""
MOST_NAMES = 500

NAMES = f"""
SELECT 0, name FROM agents_agent WHERE id = %s
UNION ALL SELECT 1, name FROM agents_person WHERE id = %s
UNION ALL SELECT * FROM (
    SELECT 2, person.name FROM agents_participant AS participant
    JOIN agents_person AS person ON person.id = participant.person_id
    WHERE participant.room_id = %s LIMIT {MOST_NAMES}
)
"""
SHARES = """
SELECT value, (SELECT count(*) FROM memory_search WHERE memory_search MATCH value),
       (SELECT count(*) FROM memory_searched)
FROM json_each(%s)
"""
BESIDE = """
SELECT kept.row
FROM json_each(%s) AS chosen
JOIN memory_searched AS core ON core.row = chosen.value
JOIN memory_memory AS said ON said.id = core.memory_id AND said.kind = 'message' AND said.room_id IS NOT NULL
JOIN memory_searched AS kept ON kept.memory_id IN ({beside})
"""
FOUND = """
SELECT kept.row, memory.id, memory.kind, memory.room_id, memory.speaker, memory.said_at, memory.importance,
       memory.text, memory.source_messages
FROM json_each(%s) AS chosen
JOIN memory_searched AS kept ON kept.row = chosen.value
JOIN memory_memory AS memory ON memory.id = kept.memory_id
"""


@dataclass(frozen=True, kw_only=True)
class _Visible:
    """All that may surface, in the order of `rows`; `nearness` is NaN without a vector of the question's model.

    Shape: all three are of one length.
    """

    rows: Rows
    sizes: Numbers
    nearness: Numbers

    def places(self, rows: Rows) -> NDArray[np.intp]:
        """Return where these rows stand; all of them must be visible."""
        return np.searchsorted(self.rows, rows)

    def among(self, rows: Rows) -> Flags:
        """Tell of each visible row whether it is one of these."""
        return np.isin(self.rows, rows, assume_unique=True)


class SqliteStore:
    """Memories in SQLite: every visible vector is compared, FTS5 finds the words."""

    def ask_words(
        self, _terms: Sequence[Term], /, *, agent_id: UUID, room_id: UUID | None, person_id: UUID | None
    ) -> Words:
        """Ask who speaks in the room; what the words are kept by is the search's own business."""
        rows = _execute(NAMES, [_key(agent_id), _key(person_id), _key(room_id)])
        asker = next((name for what, name in rows if what == 1), "")
        return Words(names=tuple(dict.fromkeys(name for _, name in rows if name)), asker=asker)

    def seek(self, terms: Sequence[Term], _words: Words, /) -> Sought:
        """Return which of the terms are looked for, by counting how many memories have them."""
        queries = [query for term in terms if (query := query_of(term))]
        counted = _execute(SHARES, [json.dumps(list(dict.fromkeys(queries)))])
        # The rarest say most. What no memory has needs no place among them.
        known = sorted((count / total, query) for query, count, total in counted if count)[:MOST_TERMS]
        return Sought(
            queries=tuple(query for _, query in known),
            weights=tuple(rarity_of_share(share) for share, _ in known),
            total=float(counted[0][2]) if counted else 0.0,
        )

    def find_candidates(self, wanted: Wanted) -> list[Candidate]:
        """Find what may answer and may surface; it reads all that is visible."""
        visible = _compare(wanted)
        matches, points = _count_matches(visible, wanted.sought)
        most = nearest_for(wanted.limit)
        core = np.concatenate(
            (
                visible.rows[_nearest(visible.nearness, most)],
                visible.rows[_best(points, matches, visible.rows)[:most]],
                _dated(visible, wanted),
            )
        )
        core = np.unique(core)
        # What was kept since all was compared waits for the next recall.
        found = np.intersect1d(np.union1d(core, _beside(core, wanted)), visible.rows)
        telling = _matching(telling_when_query()) if wanted.asks_when else np.array([], dtype=np.int64)
        places = visible.places(found)
        known = {
            int(row): (
                None if np.isnan(near) else float(near),
                int(bits),
                int(size),
                bool(tells),
                bool(is_core),
            )
            for row, near, bits, size, tells, is_core in zip(
                found,
                visible.nearness[places],
                matches[places],
                visible.sizes[places],
                np.isin(found, telling),
                np.isin(found, core),
                strict=True,
            )
        }
        return [_candidate(row, *known[row[0]]) for row in _execute(FOUND, [_list(found)])]


def _candidate(
    row: Sequence[Any], nearness: float | None, matches: int, size: int, tells_when: bool, is_core: bool
) -> Candidate:
    _, id, kind, room_id, speaker, said_at, importance, text, source_messages = row
    return Candidate(
        id=str(id),
        kind=kind,
        room_id=None if room_id is None else str(room_id),
        speaker=speaker,
        said_at=_seconds(said_at),
        importance=importance,
        nearness=nearness,
        matches=matches,
        size=size,
        tells_when=tells_when,
        is_core=is_core,
        text=text,
        source_messages=source_messages,
    )


def _visible_to(wanted: Wanted, *, row_by_row: bool = False) -> QuerySet[Memory, Memory]:
    """Return what may surface; `row_by_row` where other conditions than these find the rows."""
    scope = wanted.agent_id, wanted.room_id, wanted.person_id
    visible = Memory.objects.visible_among(*scope) if row_by_row else Memory.objects.visible_to(*scope)
    if wanted.exclude_message_ids:
        visible = visible.not_from_messages(sorted(map(str, wanted.exclude_message_ids)))
    if wanted.kinds is not None:
        visible = visible.filter(kind__in=wanted.kinds)
    return visible.order_by()


def _compare(wanted: Wanted) -> _Visible:
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
        return _Visible(rows=np.array([], dtype=np.int64), sizes=np.array([]), nearness=np.array([]))
    all_rows, all_sizes, all_nearness = (np.concatenate(column) for column in zip(*parts, strict=True))
    order = np.argsort(all_rows)
    return _Visible(rows=all_rows[order], sizes=all_sizes[order], nearness=all_nearness[order])


def _count_matches(visible: _Visible, sought: Sought) -> tuple[Rows, Numbers]:
    """Return for each visible row a bit for each term that it has, and what its words count."""
    matches, points = np.zeros(len(visible.rows), dtype=np.int64), np.zeros(len(visible.rows))
    for place, (query, weight) in enumerate(zip(sought.queries, sought.weights, strict=True)):
        has_term = visible.among(_matching(query))
        matches |= has_term.astype(np.int64) << place
        points += weight * has_term
    return matches, points / (1.0 - LENGTH_SHARE + LENGTH_SHARE * visible.sizes / USUAL_SIZE)


def _matching(query: str) -> Rows:
    return _rows(_execute("SELECT rowid FROM memory_search WHERE memory_search MATCH %s", [query]))


def _nearest(nearness: Numbers, most: int) -> NDArray[np.intp]:
    order = np.argsort(-nearness, kind="stable")[:most]  # those without a vector come last
    return order[~np.isnan(nearness[order])]


def _best(points: Numbers, matches: Rows, rows: Rows) -> NDArray[np.intp]:
    # Of two that are equal, the newer one comes first. A word that all have counts nothing, and is found all the same.
    order = np.lexsort((-rows, -points))
    return order[matches[order] > 0]


def _dated(visible: _Visible, wanted: Wanted) -> Rows:
    """Return the nearest of the room's newest memories of each date."""
    if wanted.room_id is None or not wanted.spans:
        return np.array([], dtype=np.int64)
    found: list[tuple[Any, int]] = []
    for span in wanted.spans:
        within = _visible_to(wanted).filter(
            room_id=wanted.room_id, said_at__gte=span.start, said_at__lt=span.end
        )
        newest, values = _sql(within.order_by("-said_at").values("id", "said_at")[:DATED_ROWS])
        found += _execute(
            f"SELECT memory.said_at, kept.row FROM ({newest}) AS memory"
            " JOIN memory_searched AS kept ON kept.memory_id = memory.id",
            values,
        )
    newest_first = _rows((row,) for _, row in sorted(found, reverse=True))
    newest_first = newest_first[np.isin(newest_first, visible.rows)]
    nearness = np.nan_to_num(visible.nearness[visible.places(newest_first)], nan=-2.0)
    return newest_first[np.argsort(-nearness, kind="stable")[:DATED]]


def _beside(core: Rows, wanted: Wanted) -> Rows:
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
        found += _execute(BESIDE.format(beside=beside), [_list(core), *values])
    return _rows(found)


def _condition(sql: str) -> RawSQL:
    return RawSQL(sql, (), output_field=BooleanField())


def _sql(rows: QuerySet[Any, Any]) -> tuple[str, list[Any]]:
    sql, values = rows.query.sql_with_params()
    return sql, list(values)


def _execute(sql: str, values: Sequence[Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(f"{AS_IT_IS}{sql}", values)
        return list(cursor.fetchall())


def _rows(found: Iterable[Sequence[Any]]) -> Rows:
    return np.array([row for (row,) in found], dtype=np.int64)


def _list(rows: Rows) -> str:
    return json.dumps(rows.tolist())


def _key(id: UUID | None) -> str | None:
    return None if id is None else str(id)


def _seconds(said_at: str | dt.datetime) -> float:
    at = dt.datetime.fromisoformat(said_at) if isinstance(said_at, str) else said_at
    return (at if at.tzinfo else at.replace(tzinfo=dt.UTC)).timestamp()
