"""What words mean to PostgreSQL: who speaks in a room, the stems that words are kept by, and how common they are.

`memory.stores.postgres_recall` calls it, with one statement a recall.
"""

from __future__ import annotations

import bisect
import re
import time
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db import connection

from memory.questions import Term
from memory.stores.base import Words
from memory.stores.postgres import SEARCH_CONFIGURATION

MOST_NAMES = 500
COMMON_FOR_SECONDS = 600.0
"""How long a process works with the statistics that it read."""
RARE_SHARE = 0.0003
"""What a word is taken for that the statistics don't know: of a million memories, half of such words have a
hundred or fewer."""
UNKNOWN_FOR_SECONDS = 30.0
"""How soon it looks again where there were none."""

_STEM = re.compile(r"'((?:[^']|'')+)'")

WORDS = f"""
SELECT
    ARRAY(SELECT name FROM agents_agent WHERE id = %s
          UNION ALL (SELECT person.name FROM agents_participant AS participant
                     JOIN agents_person AS person ON person.id = participant.person_id
                     WHERE participant.room_id = %s LIMIT {MOST_NAMES})),
    (SELECT name FROM agents_person WHERE id = %s),
    ARRAY(SELECT plainto_tsquery('{SEARCH_CONFIGURATION}', word)::text
          FROM unnest(%s::text[]) WITH ORDINALITY AS asked (word, place) ORDER BY place),
    (SELECT reltuples FROM pg_class WHERE oid = 'memory_memory'::regclass),
    common.words, common.shares
FROM (VALUES (1)) AS one (row)
LEFT JOIN LATERAL (
    SELECT most_common_elems::text::text[] AS words, most_common_elem_freqs AS shares FROM pg_stats
    WHERE %s AND schemaname = current_schema AND tablename = 'memory_memory' AND attname = 'search'
) AS common ON true
"""  # noqa: S608
"""The statistics are PostgreSQL's own, which its autovacuum keeps; only those without a row level policy in their way
may read them. Without them every word passes for rare, and the bounds of the statement of candidates hold alone.
"""


@dataclass(frozen=True)
class _Common:
    """The shares of the common words, as the statistics have them; rarer words have at most `least`."""

    shares: dict[str, float]
    ordered: tuple[str, ...]
    least: float
    until: float


_common = _Common({}, (), 0.0, 0.0)


def forget_common_words() -> None:
    """Have the statistics read anew at the next recall."""
    global _common
    _common = _Common({}, (), 0.0, 0.0)


def ask_words(
    terms: Sequence[Term], *, agent_id: UUID, room_id: UUID | None, person_id: UUID | None
) -> Words:
    """Ask who speaks in the room and what the words of the terms are kept by, in one statement."""
    global _common
    words = [term.word for term in terms if term.word]
    is_due = time.monotonic() >= _common.until
    with connection.cursor() as cursor:
        cursor.execute(WORDS, [agent_id, room_id, person_id, words, is_due])
        names, asker, stems, total, common, shares = cursor.fetchone()
    if is_due:
        _common = _read_common(common, shares)
    return Words(
        names=tuple(name for name in {*names, asker or ""} if name),
        asker=asker or "",
        stems=dict(zip(words, stems, strict=True)),
        total=max(0.0, total),
    )


def _read_common(words: list[str] | None, shares: list[float] | None) -> _Common:
    if not words or not shares:
        return _Common({}, (), 0.0, time.monotonic() + UNKNOWN_FOR_SECONDS)
    # After a share for each word come the least and the most of them.
    known = dict(zip(words, shares, strict=False))
    least = min(min(known.values()) / 2.0, RARE_SHARE)
    return _Common(known, tuple(sorted(known)), least, time.monotonic() + COMMON_FOR_SECONDS)


def query_of(term: Term, stems: dict[str, str]) -> str:
    """Return the full-text query of a term; "" where its word says nothing, as "the" does."""
    if not term.word:
        return f"({term.pattern})"
    stem = stems.get(term.word, "")
    return f"({stem} | {term.pattern})" if stem and term.pattern else f"({stem})" if stem else ""


def stem_of(term: Term, stems: dict[str, str]) -> str:
    """Return the full-text query of a term's stem alone; its pattern where it has none."""
    return f"({stems.get(term.word) or term.pattern})"


def share_of(term: Term, stems: dict[str, str]) -> float:
    """Estimate which share of all memories has the term; 0 where nothing is known of any."""
    common = _common
    found = {stem.replace("''", "'") for stem in _STEM.findall(stems.get(term.word, ""))}
    for pattern in _STEM.findall(term.pattern):
        if term.pattern.endswith(":*"):
            start = bisect.bisect_left(common.ordered, pattern)
            for word in common.ordered[start:]:
                if not word.startswith(pattern):
                    break
                found.add(word)
        else:
            found.add(pattern)
    shares = [common.shares[word] for word in found if word in common.shares]
    if not shares:
        return common.least
    # Signs that follow one another are no more common than the rarer of them.
    return min(1.0, sum(shares)) if term.word else min(shares)
