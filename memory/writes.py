"""Vectors for what has none yet, made in batches in the background.

The pipeline calls `wake_embedding` when a turn has committed; the task `memory.embed_memories` and the
dispatcher call `embed_pending`. A memory without a vector waits in its table, so losing a wake-up loses
nothing, and while the embedder is away the rows wait for it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

import structlog
from django.core.cache import cache
from django.db import connection
from django.db.models import Q

from memory.databases import release_connection
from memory.embeddings.base import Embedder, EmbeddingError
from memory.embeddings.choice import embedding_choice, get_embedder
from memory.metrics import timed
from memory.models import Memory
from memory.vectors import check_size, vector_text
from plugins.registry import UnknownService, find_service

log = structlog.get_logger(__name__)

EMBED_TASK = "memory.embed_memories"
WAKE_KEY = "memory:embedding-woken"
# For so long the fleet sends no second wake-up, and the task that was woken lets texts gather.
WAKE_SECONDS = 1
# A cache that failed is not asked by the turns of the next seconds.
CACHE_REST_SECONDS = 5.0
# The local model answers one request at a time, and a turn's own question must not wait long for it.
LOCAL_BATCH, REMOTE_BATCH = 32, 128
# A text that the embedder refuses alone, while it takes others, is left for so long.
REFUSED_REST_SECONDS = 600.0
CLEAR_BATCH = 1000

# What another worker writes at this moment is passed over: it is the same vector. The order of the locks is
# always that of the ids, so that two never wait for each other.
_UPDATE = """
WITH made (id, embedding) AS (VALUES {rows}),
held AS (
    SELECT memory_memory.id FROM memory_memory JOIN made ON made.id = memory_memory.id
    WHERE memory_memory.embedding IS NULL
    ORDER BY memory_memory.id FOR UPDATE OF memory_memory SKIP LOCKED
)
UPDATE memory_memory SET embedding = made.embedding, embedding_model = %s
FROM made JOIN held ON held.id = made.id
WHERE memory_memory.id = made.id AND memory_memory.embedding IS NULL
"""

_Text = tuple[UUID, str]


class _Resting:
    """The texts that the embedder refused, each until when it is left alone."""

    def __init__(self) -> None:
        self._until: dict[UUID, float] = {}

    def add(self, id: UUID) -> None:
        self._until[id] = time.monotonic() + REFUSED_REST_SECONDS

    def ids(self) -> list[UUID]:
        now = time.monotonic()
        self._until = {id: until for id, until in self._until.items() if until > now}
        return list(self._until)


_resting = _Resting()
_one_at_a_time = threading.Lock()


def find_unembedded_count() -> int:
    """Count the memories that wait for a vector."""
    return Memory.objects.unembedded().count()


def embed_pending(limit: int = 4096) -> int:
    """Give vectors to at most `limit` memories that have none, oldest first, and return how many got one.

    Documents come after everything else.

    No connection is held while the embedder works. Two workers that take the same rows are harmless. While
    one thread of this process is at it, the others have nothing to do and return 0.
    """
    if not _one_at_a_time.acquire(blocking=False):
        return 0
    try:
        return _embed_batches(limit)
    except (EmbeddingError, UnknownService) as error:
        log.warning("embedding_waits", error=error)
        return 0
    finally:
        _one_at_a_time.release()


def _embed_batches(limit: int) -> int:
    embedder: Embedder | None = None
    done = 0
    while done < limit:
        size = LOCAL_BATCH if embedding_choice().kind == "local" else REMOTE_BATCH
        waiting = Memory.objects.unembedded().exclude(id__in=_resting.ids())
        # What was said or learnt does not wait until a book has its vectors.
        waiting = waiting.alias(is_document=Q(kind=Memory.Kind.DOCUMENT)).order_by(
            "is_document", "created_at"
        )
        texts = list(waiting.values_list("id", "text")[: min(size, limit - done)])
        if not texts:
            break
        release_connection()
        embedder = embedder or get_embedder()
        try:
            with timed("embed"):
                made = _embed(embedder, texts)
        except EmbeddingError as error:
            log.warning("embedding_waits", error=error, waiting_count=len(texts), done_count=done)
            break
        written = _write(made, embedder.name)
        done += written
        if made and not written:
            # Another worker is at the same rows.
            break
    return done


def _embed(embedder: Embedder, texts: Sequence[_Text]) -> list[tuple[UUID, list[float]]]:
    """Embed the texts together; where that fails, one by one, so that one bad text holds up no others."""
    try:
        vectors = embedder.embed([text for _, text in texts])
    except EmbeddingError:
        if len(texts) > 1:
            return _embed_singly(embedder, texts)
        raise
    for vector in vectors:
        check_size(vector, embedder.name)
    return [(id, vector) for (id, _), vector in zip(texts, vectors, strict=True)]


def _embed_singly(embedder: Embedder, texts: Sequence[_Text]) -> list[tuple[UUID, list[float]]]:
    made: list[tuple[UUID, list[float]]] = []
    refused: list[UUID] = []
    for id, text in texts:
        try:
            made += _embed(embedder, [(id, text)])
        except EmbeddingError:
            refused.append(id)
            if len(refused) > len(made) + 1:
                # So many failures are no bad text: the embedder is away.
                break
    if not made:
        raise EmbeddingError(f"{embedder.name} takes none of the texts.")
    for id in refused:
        log.warning("embedding_refused", memory_id=str(id), rest_seconds=REFUSED_REST_SECONDS)
        _resting.add(id)
    return made


def _write(made: Sequence[tuple[UUID, list[float]]], model: str) -> int:
    if not made:
        return 0
    rows = ", ".join(["(%s::uuid, %s::vector)"] * len(made))
    parameters: list[Any] = []
    for id, vector in made:
        parameters += (id, vector_text(vector))
    with timed("write_vectors"), connection.cursor() as cursor:
        cursor.execute(_UPDATE.format(rows=rows), [*parameters, model])
        return int(cursor.rowcount)


# Waking ---------------------------------------------------------------------------------------------------


class _Wake:
    """Until when this process knows that a wake-up of its own is on its way."""

    until = 0.0


def wake_embedding() -> bool:
    """Wake the task that makes vectors, at most once a second over the fleet; tell whether it was woken now.

    Call it on commit. The task waits until the second is over before it reads, so that it finds what was
    kept meanwhile by those who were told that it is awake. Where cache or broker are away, the dispatcher
    does the work.
    """
    now = time.monotonic()
    if now < _Wake.until or not _is_first(now):
        return False
    wakeups = find_service("wakeups")
    return bool(wakeups and wakeups.wake(EMBED_TASK, after_seconds=float(WAKE_SECONDS)))


def _is_first(now: float) -> bool:
    # While the cache hangs, one turn waits for it and the others go by.
    _Wake.until = now + WAKE_SECONDS
    try:
        is_first = cache.add(WAKE_KEY, 1, timeout=WAKE_SECONDS)
    except Exception as error:  # The cache's own errors are as many as its backends; a turn has none of them.
        log.warning("embedding_not_woken", error=error)
        _Wake.until = time.monotonic() + CACHE_REST_SECONDS
        return False
    if not is_first:
        _Wake.until = 0.0
    return is_first


# Clearing -------------------------------------------------------------------------------------------------


def clear_embeddings(model: str) -> Iterator[int]:
    """Take the vectors of this model away, so that they are made anew; yield how many, batch by batch."""
    while True:
        ids = Memory.objects.filter(embedding_model=model, embedding__isnull=False).values("id")[:CLEAR_BATCH]
        cleared = Memory.objects.filter(id__in=list(ids.values_list("id", flat=True))).update(
            embedding=None, embedding_model=""
        )
        if not cleared:
            return
        yield cleared
