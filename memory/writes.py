"""Vectors for what has none yet, made in batches in the background.

The pipeline calls `wake_embedding` when a turn has committed; the task `memory.embed_memories` and the
dispatcher call `embed_pending`. A memory without a vector waits in its table, so losing a wake-up loses
nothing, and while the embedder is away the rows wait for it.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import structlog
from django.core.cache import cache

from memory.databases import release_connection
from memory.embeddings import get_embedder
from memory.embeddings.base import Embedder, EmbeddingError
from memory.embeddings.spaces import used_column, used_space
from memory.metrics import timed
from memory.models import Memory
from memory.vector_spaces import filling
from memory.vector_spaces.pending import (
    EMBED_TASK,
    batch_size,
    clear_vectors,
    embed_texts,
    find_waiting,
    write_vectors,
)
from plugins.registry import UnknownService, find_service

log = structlog.get_logger(__name__)

WAKE_KEY = "memory:embedding-woken"
# For so long the fleet sends no second wake-up, and the task that was woken lets texts gather.
WAKE_SECONDS = 1
# A cache that failed is not asked by the turns of the next seconds.
CACHE_REST_SECONDS = 5.0

_one_at_a_time = threading.Lock()
_turned_away = threading.Event()


def find_unembedded_count() -> int:
    """Count the memories that wait for a vector in the space in use."""
    return Memory.objects.unembedded(used_column()).count()


def is_embedding_due() -> bool:
    """Tell whether memories wait for a vector that a worker could make now, in any space."""
    return Memory.objects.unembedded(used_column()).exists() or filling.is_due()


def embed_pending(limit: int = 4096) -> int:
    """Give vectors to at most `limit` memories that have none, oldest first, and return how many were made.

    Documents come after everything else. Then a space that is not in use is gone on with
    (`memory.vector_spaces.filling`).

    No connection is held while the embedder works. Two workers that take the same rows are harmless. While
    one thread of this process is at it, the others return 0, and it wakes the task once more at its end.
    """
    if not _one_at_a_time.acquire(blocking=False):
        _turned_away.set()
        return 0
    _turned_away.clear()
    done, is_served = 0, False
    try:
        try:
            done, is_served = _embed_batches(limit)
        except (EmbeddingError, UnknownService) as error:
            log.warning("embedding_waits", error=error)
        # What the embedder in use cannot do does not keep another one from its work.
        filled, is_more = filling.go_on(yields=is_served)
    finally:
        _one_at_a_time.release()
    # Who was turned away had come for what was kept since the last look at what waits.
    wakeups = find_service("wakeups") if is_more or _turned_away.is_set() else None
    if wakeups:
        # At the end of the queue, behind what others wait for.
        wakeups.wake(EMBED_TASK)
    return done + filled


def _embed_batches(limit: int) -> tuple[int, bool]:
    """Return how many vectors were made, and whether the embedder was there."""
    space = used_space()
    embedder: Embedder | None = None
    done = 0
    while done < limit:
        size = min(batch_size(space), limit - done)
        texts = find_waiting(space.column, size)
        if not texts:
            break
        release_connection()
        embedder = embedder or get_embedder()
        if space.name not in ("", embedder.name):
            # Switched a moment ago: the next run is of the other space.
            break
        try:
            with timed("embed"):
                made = embed_texts(embedder, space, texts)
        except EmbeddingError as error:
            log.warning("embedding_waits", error=error, waiting_count=len(texts), done_count=done)
            return done, False
        written = write_vectors(space.column, made, embedder.name)
        done += written
        # Another worker is at the same rows; or these were all, and whoever kept more since then wakes for it.
        if made and (not written or len(texts) < size):
            break
    return done, True


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
    yield from clear_vectors(used_column(), only=model)
