"""Recall from PostgreSQL: a statement for the words of a question, and one for its candidates.

`memory.stores.store` chooses it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple
from uuid import UUID

from django.db import connection

from memory.questions import Term
from memory.ranking import Candidate, rarity_of_share
from memory.stores import row_security
from memory.stores.base import MOST_TERMS, Sought, Wanted, Words, nearest_for
from memory.stores.candidates import Shape, breadth_of, candidates_statement, padded, term_slots
from memory.stores.postgres_words import ask_words, query_of, share_of, stem_of
from memory.stores.sizes import Size, size_of
from memory.vectors import vector_text

READ_UP_TO = 1000
"""So many memories the words together may be expected in by which candidates are found, where much is visible."""


class _Known(NamedTuple):
    """A term's share of all memories, and what it is looked for by: in any form, and as its stem alone."""

    share: float
    query: str
    stem: str


class PostgresStore:
    """Memories in PostgreSQL, by its full-text search and pgvector."""

    def ask_words(
        self, terms: Sequence[Term], *, agent_id: UUID, room_id: UUID | None, person_id: UUID | None
    ) -> Words:
        """Ask who speaks in the room and what the words of the terms are kept by, in one statement."""
        return ask_words(terms, agent_id=agent_id, room_id=room_id, person_id=person_id)

    def seek(self, terms: Sequence[Term], words: Words) -> Sought:
        """Return which of the terms are looked for, by the statistics that this process read last."""
        known = [
            _Known(share=share_of(term, words.stems), query=query, stem=stem_of(term, words.stems))
            for term in terms
            if (query := query_of(term, words.stems))
        ]
        # The rarest say most; so many of them are looked for.
        known = sorted(known)[:MOST_TERMS]
        return Sought(
            queries=tuple(word.query for word in known),
            weights=tuple(rarity_of_share(word.share) for word in known),
            rare=_rare(known, words.total),
        )

    def find_candidates(self, wanted: Wanted) -> list[Candidate]:
        """Find what may answer and may surface, in one statement; how much that is may take another."""
        place = wanted.agent_id, wanted.room_id, wanted.person_id
        size = size_of(*place)
        found = _find(wanted, size)
        if (
            size.is_little
            or wanted.vector is None
            or sum(one.is_core for one in found) >= nearest_for(wanted.limit)
        ):
            return found
        # The index has gone through as much as it may and found less than was asked for: was much deleted lately?
        size = size_of(*place, is_anew=True)
        return _find(wanted, size) if size.is_little else found


def _find(wanted: Wanted, size: Size) -> list[Candidate]:
    shape = _shape(wanted, size)
    with connection.cursor() as cursor:
        cursor.execute(candidates_statement(shape), _values(wanted, shape))
        return list(map(Candidate._make, cursor.fetchall()))


def _rare(known: Sequence[_Known], total: float) -> str | None:
    """Return the query by which candidates are found where much is visible: by as many words as can be read.

    Where even the rarest word is too common, it is the two rarest together, by their stems alone: to bring together
    all the words with two beginnings takes the index ten times as long.
    """
    chosen: list[str] = []
    expected = 0.0
    for word in known:
        expected += word.share * total
        if expected > READ_UP_TO:
            break
        chosen.append(word.query)
    if chosen:
        return " | ".join(chosen)
    stems = list(dict.fromkeys(word.stem for word in known))
    return " & ".join(stems[:2]) if len(stems) > 1 else None


def _shape(wanted: Wanted, size: Size) -> Shape:
    return Shape(
        column=wanted.column,
        dimensions=len(wanted.vector) if wanted.vector is not None else 0,
        terms=term_slots(len(wanted.sought.queries)),
        kinds=None if wanted.kinds is None else tuple(sorted(wanted.kinds)),
        is_exact=size.is_little,
        breadth=0 if size.is_little else breadth_of(size.total),
        nearest=nearest_for(wanted.limit),
        has_room=wanted.room_id is not None,
        has_person=wanted.person_id is not None,
        has_spans=bool(wanted.spans),
        asks_when=wanted.asks_when,
        is_walled=row_security.stands(),
    )


def _values(wanted: Wanted, shape: Shape) -> dict[str, Any]:
    sought = wanted.sought
    values: dict[str, Any] = {
        "any": " | ".join(sought.queries) or None,
        "rare": sought.rare,
        "model": wanted.embedding_model,
        "vector": None if wanted.vector is None else vector_text(wanted.vector),
        "agent": wanted.agent_id,
        "room": wanted.room_id,
        "person": wanted.person_id,
        "messages": [str(message) for message in wanted.exclude_message_ids],
        "starts": [span.start for span in wanted.spans],
        "ends": [span.end for span in wanted.spans],
    }
    values |= {f"term{place}": text for place, text in enumerate(padded(sought.queries, shape.terms))}
    values |= {f"weight{place}": weight for place, weight in enumerate(padded(sought.weights, shape.terms))}
    return values
