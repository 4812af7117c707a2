"""Recall: which memories come to mind. The pipeline's recall step and the commands call it.

A question is taken apart (`memory.questions`); candidates come by vectors, words and dates, with what was said next to
them, from the store that the database is (`memory.stores`), and are ranked (`memory.ranking`). `docs/memory.md` tells
how, and how well.
"""

from __future__ import annotations

import datetime as dt
import json
import unicodedata
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from uuid import UUID

from django.utils import timezone

from memory.databases import release_connection
from memory.embeddings import get_embedder
from memory.embeddings.base import Embedder, EmbeddingError
from memory.metrics import timed
from memory.questions import Question, find_terms, read_question
from memory.ranking import Ranked, rank
from memory.stores import store
from memory.stores.base import DATED_SPANS, Wanted
from memory.vectors import column_for
from plugins.api import RecalledMemory

Embed = Callable[[Sequence[str]], list[list[float]]]


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


def recall(
    query: RecallQuery, *, embed: Embed | None = None, embedder: Callable[[], Embedder] | None = None
) -> Recollection:
    """Find the memories that bear on a text and may surface here, in two statements, or three (`docs/memory.md`).

    The vectors that are compared are the `embedder`'s, which is that of the space in use unless another is given;
    `embed` makes the text's own in its place. No connection is held meanwhile. A text without a word brings
    nothing. Each hit's `scores` has what each signal added to its score.
    Raises: UnexpectedVectorSize where a vector is not of the size that the settings say.
    """
    if not query.text.strip():
        return Recollection()
    query = replace(query, text=unicodedata.normalize("NFC", query.text))
    now = query.now or timezone.now()
    with timed("recall_words"):
        question, asker, wanted = _ask(query, now)
    release_connection()
    found = Recollection()
    try:
        maker = (embedder or get_embedder)()
        texts = list(dict.fromkeys((query.text, question.text)))
        vectors = (embed or maker.embed)(texts)
        found = Recollection(embedding=vectors[0], embedding_model=maker.name)
        column = column_for(vectors[-1], maker.name)
        if column is not None:
            wanted = replace(wanted, vector=vectors[-1], embedding_model=maker.name, column=column)
    except EmbeddingError as error:
        found = Recollection(error=str(error))
    if query.limit < 1:
        return found
    with timed("recall"):
        ranked = rank(
            store().find_candidates(wanted),
            question,
            term_count=len(wanted.sought.queries),
            asker=asker,
            now=now,
            limit=query.limit,
        )
    return replace(found, memories=tuple(map(_hit, ranked)))


def _ask(query: RecallQuery, now: dt.datetime) -> tuple[Question, str, Wanted]:
    """Take the question apart; return it, the asker's name, and what the store is asked for."""
    terms = find_terms(query.text)
    words = store().ask_words(
        terms, agent_id=query.agent_id, room_id=query.room_id, person_id=query.person_id
    )
    question = read_question(query.text, terms, words.names, now)
    wanted = Wanted(
        agent_id=query.agent_id,
        room_id=query.room_id,
        person_id=query.person_id,
        limit=query.limit,
        sought=store().seek(question.terms, words),
        exclude_message_ids=query.exclude_message_ids,
        kinds=query.kinds,
        spans=question.spans[:DATED_SPANS],
        asks_when=question.asks_when,
    )
    return question, words.asker, wanted


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
