"""Recall from SQLite, in a file or in RAM: all that may surface is compared, one by one.

`memory.stores.store` chooses it. `sqlite_rows` reads and compares, `sqlite_schema` keeps the words and vectors.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import numpy as np

from memory.questions import Term
from memory.ranking import Candidate, rarity_of_share
from memory.stores import sqlite_rows
from memory.stores.base import MOST_TERMS, Sought, Wanted, Words, nearest_for
from memory.stores.sqlite_rows import execute, listed
from memory.stores.sqlite_words import query_of, telling_when_query

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
FOUND = """
SELECT kept.row, memory.id, memory.kind, memory.room_id, memory.speaker, memory.said_at, memory.importance,
       memory.text, memory.source_messages
FROM json_each(%s) AS chosen
JOIN memory_searched AS kept ON kept.row = chosen.value
JOIN memory_memory AS memory ON memory.id = kept.memory_id
WHERE EXISTS ({still_visible})
"""
"""Words are handed out to whom they may surface as they are read: much may have changed since all was compared."""


class SqliteStore:
    """Memories in SQLite: every visible vector is compared, FTS5 finds the words."""

    def ask_words(
        self, _terms: Sequence[Term], /, *, agent_id: UUID, room_id: UUID | None, person_id: UUID | None
    ) -> Words:
        """Ask who speaks in the room; what the words are kept by is the search's own business."""
        rows = execute(NAMES, [_key(agent_id), _key(person_id), _key(room_id)])
        asker = next((name for what, name in rows if what == 1), "")
        return Words(names=tuple(dict.fromkeys(name for _, name in rows if name)), asker=asker)

    def seek(self, terms: Sequence[Term], _words: Words, /) -> Sought:
        """Return which of the terms are looked for, by counting how many memories have them."""
        queries = [query for term in terms if (query := query_of(term))]
        counted = execute(SHARES, [json.dumps(list(dict.fromkeys(queries)))])
        # The rarest say most. What no memory has needs no place among them.
        known = sorted((count / total, query) for query, count, total in counted if count)[:MOST_TERMS]
        return Sought(
            queries=tuple(query for _, query in known),
            weights=tuple(rarity_of_share(share) for share, _ in known),
        )

    def find_candidates(self, wanted: Wanted) -> list[Candidate]:
        """Find what may answer and may surface; it reads all that is visible."""
        visible = sqlite_rows.compare(wanted)
        matches, points = sqlite_rows.count_matches(visible, wanted.sought)
        most = nearest_for(wanted.limit)
        core = np.concatenate(
            (
                visible.rows[sqlite_rows.nearest(visible.nearness, most)],
                visible.rows[sqlite_rows.best(points, matches, visible.rows)[:most]],
                sqlite_rows.find_dated(visible, wanted),
            )
        )
        core = np.unique(core)
        # What was kept since all was compared waits for the next recall.
        found = np.intersect1d(np.union1d(core, sqlite_rows.find_beside(core, wanted)), visible.rows)
        telling = (
            sqlite_rows.find_matching(telling_when_query())
            if wanted.asks_when
            else np.array([], dtype=np.int64)
        )
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
        still_visible, scope = sqlite_rows.still_visible(wanted)
        rows = execute(FOUND.format(still_visible=still_visible), [listed(found), *scope])
        return [_candidate(row, *known[row[0]]) for row in rows]


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


def _key(id: UUID | None) -> str | None:
    return None if id is None else str(id)


def _seconds(said_at: str | dt.datetime) -> float:
    at = dt.datetime.fromisoformat(said_at) if isinstance(said_at, str) else said_at
    return (at if at.tzinfo else at.replace(tzinfo=dt.UTC)).timestamp()
