"""Recall: which memories come to mind. The pipeline's recall step and the commands call it.

A question is taken apart (`memory.questions`, `memory.words`); candidates come by vectors, words and dates, with what
was said next to them (`memory.stores.candidates`), and are ranked (`memory.ranking`). `docs/memory.md` tells how, and
how well.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from django.db import connection
from django.utils import timezone

from memory.databases import release_connection
from memory.embeddings import get_embedder
from memory.embeddings.base import Embedder, EmbeddingError
from memory.embeddings.spaces import Column
from memory.metrics import timed
from memory.questions import Question, find_terms, read_question
from memory.ranking import Candidate, Ranked, rank, rarity_of_share
from memory.stores.candidates import (
    DATED_SPANS,
    Shape,
    candidates_statement,
    exact_up_to,
    most_terms,
    nearest_for,
    padded,
    term_slots,
)
from memory.vectors import column_for, vector_text
from memory.words import Words, ask_words, query_of, share_of
from plugins.api import RecalledMemory

Embed = Callable[[Sequence[str]], list[list[float]]]

READ_UP_TO = 2500
"""So many memories the words together may be expected in by which candidates are found, where much is visible."""


@dataclass(frozen=True, kw_only=True)
class RecallQuery:
    """What is asked: who speaks where and when, and what was said. `kinds` None means all of them."""

    agent_id: UUID
    room_id: UUID | None
    person_id: UUID | None
    text: str
    limit: int
    now: dt.datetime | None = None
    exclude_message_ids: frozenset[UUID] = frozenset()
    kinds: tuple[str, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class Recollection:
    """What came to mind, best first, and the vector of the text as it was said.

    Without an embedder `embedding` is None and `error` says why; what came, came by words and dates then.
    Shape: `embedding` has the embedder's dimensions.
    """

    memories: tuple[RecalledMemory, ...] = ()
    embedding: Sequence[float] | None = None
    embedding_model: str = ""
    error: str = ""


@dataclass(frozen=True, kw_only=True)
class _Asked:
    """A question with all that the statement of candidates needs: a full-text query and a weight for each term."""

    question: Question
    asker: str
    queries: tuple[str, ...]
    weights: tuple[float, ...]
    rare: str | None
    total: float
    vector: Sequence[float] | None = None
    embedding_model: str = ""
    column: str = Column.FIRST.value


def recall(
    query: RecallQuery, *, embed: Embed | None = None, embedder: Callable[[], Embedder] | None = None
) -> Recollection:
    """Find the memories that bear on a text and may surface here, in two statements.

    The vectors that are compared are the `embedder`'s, which is that of the space in use unless another is given;
    `embed` makes the text's own in its place. No connection is held meanwhile. A text without a word brings
    nothing. Each hit's `scores` has what each signal added to its score.
    Raises: UnexpectedVectorSize where a vector is not of the size that the settings say.
    """
    if not query.text.strip():
        return Recollection()
    now = query.now or timezone.now()
    with timed("recall_words"):
        asked = _ask(query, now)
    release_connection()
    found = Recollection()
    try:
        maker = (embedder or get_embedder)()
        texts = list(dict.fromkeys((query.text, asked.question.text)))
        vectors = (embed or maker.embed)(texts)
        found = Recollection(embedding=vectors[0], embedding_model=maker.name)
        column = column_for(vectors[-1], maker.name)
        if column is not None:
            asked = replace(asked, vector=vectors[-1], embedding_model=maker.name, column=column)
    except EmbeddingError as error:
        found = Recollection(error=str(error))
    if query.limit < 1:
        return found
    with timed("recall"):
        candidates = _find_candidates(query, asked)
        ranked = rank(
            candidates,
            asked.question,
            term_count=len(asked.queries),
            asker=asked.asker,
            now=now,
            limit=query.limit,
        )
    return replace(found, memories=tuple(map(_hit, ranked)))


def _ask(query: RecallQuery, now: dt.datetime) -> _Asked:
    terms = find_terms(query.text)
    words = ask_words(terms, agent_id=query.agent_id, room_id=query.room_id, person_id=query.person_id)
    question = read_question(query.text, terms, words.names, now)
    known = [
        (share_of(term, words.stems), text)
        for term in question.terms
        if (text := query_of(term, words.stems))
    ]
    # The rarest say most; so many of them are looked for.
    known = sorted(known)[: most_terms()]
    return _Asked(
        question=question,
        asker=words.asker,
        queries=tuple(text for _, text in known),
        weights=tuple(rarity_of_share(share) for share, _ in known),
        rare=_rare(known, words),
        total=words.total,
    )


def _rare(known: Sequence[tuple[float, str]], words: Words) -> str | None:
    """Return the query by which candidates are found where much is visible: by as many words as can be read.

    Where even the rarest word is too common, it is the two rarest together.
    """
    chosen: list[str] = []
    expected = 0.0
    for share, text in known:
        expected += share * words.total
        if expected > READ_UP_TO:
            break
        chosen.append(text)
    if chosen:
        return " | ".join(chosen)
    return " & ".join(text for _, text in known[:2]) if len(known) > 1 else None


def _find_candidates(query: RecallQuery, asked: _Asked) -> list[Candidate]:
    spans = asked.question.spans[:DATED_SPANS]
    shape = Shape(
        column=asked.column,
        dimensions=len(asked.vector) if asked.vector is not None else 0,
        terms=term_slots(len(asked.queries)),
        kinds=None if query.kinds is None else tuple(sorted(query.kinds)),
        exact_up_to=exact_up_to(asked.total),
        nearest=nearest_for(query.limit),
        has_room=query.room_id is not None,
        has_person=query.person_id is not None,
        has_spans=bool(spans),
        asks_when=asked.question.asks_when,
    )
    values: dict[str, Any] = {
        "any": " | ".join(asked.queries) or None,
        "rare": asked.rare,
        "model": asked.embedding_model,
        "vector": None if asked.vector is None else vector_text(asked.vector),
        "agent": query.agent_id,
        "room": query.room_id,
        "person": query.person_id,
        "messages": [str(message) for message in query.exclude_message_ids],
        "starts": [span.start for span in spans],
        "ends": [span.end for span in spans],
    }
    values |= {f"term{place}": text for place, text in enumerate(padded(asked.queries, shape.terms))}
    values |= {f"weight{place}": weight for place, weight in enumerate(padded(asked.weights, shape.terms))}
    with connection.cursor() as cursor:
        cursor.execute(candidates_statement(shape), values)
        return list(map(Candidate._make, cursor.fetchall()))


def _hit(ranked: Ranked) -> RecalledMemory:
    memory = ranked.candidate
    return RecalledMemory(
        id=UUID(memory.id),
        kind=memory.kind,
        text=memory.text,
        said_at=dt.datetime.fromtimestamp(memory.said_at, dt.UTC),
        speaker=memory.speaker,
        score=ranked.score,
        scores=ranked.scores,
        source_message_ids=tuple(map(UUID, json.loads(memory.source_messages))),
    )
