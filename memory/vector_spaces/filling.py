"""The vectors of a space that is not in use: made in the background, after everything else, by one worker at a time.

`memory.writes.embed_pending` calls `go_on` when nothing waits in the space in use. What is missing is what has no
vector, so that a run which ends, or dies, is gone on with by the next one, in whichever process. A lease on the
space's row keeps others from making the same vectors; it is renewed with each batch, together with the count.
"""

from __future__ import annotations

import time
from uuid import uuid4

import structlog
from django.conf import settings
from django.db import DatabaseError, connection
from django.db.models import Q
from django.db.models.functions import Now

from memory.databases import release_connection
from memory.embeddings import get_embedder
from memory.embeddings.base import EmbeddingError
from memory.embeddings.spaces import (
    Space,
    State,
    find_other_space,
    forget_known_spaces,
    known_spaces,
    used_column,
)
from memory.metrics import timed
from memory.models import Memory, VectorSpace
from memory.stores.indexes import create_vector_index, create_waiting_index
from memory.vector_spaces.pending import (
    batch_size,
    clear_vectors,
    embed_texts,
    find_waiting,
    has_waiting,
    is_local,
    write_vectors,
)
from memory.vectors import UnexpectedVectorSize
from plugins.registry import UnknownService

log = structlog.get_logger(__name__)

# So long a run takes; then it goes to the end of its queue, behind what others wait for.
RUN_SECONDS = 5.0
# Longer than two requests take by the embedder's own limit, EMBEDDING_TIMEOUT_SECONDS, and than the local model takes.
# Whoever loses it writes nothing more.
LEASE_TIMEOUTS, SHORTEST_LEASE_SECONDS = 3, 90
# An embedder that failed is asked again after so long, and twice as long each time.
REST_SECONDS, LONGEST_REST_SECONDS = 5, 300
# So many refused texts are named.
REFUSED_NAMED = 100
# The local model rests between batches as long as one took: half of it is for who waits for an answer.
LONGEST_PAUSE_SECONDS = 1.0

_CLAIM = """
UPDATE memory_vectorspace
SET leased_until = now() + make_interval(secs => %(seconds)s), lease_token = %(token)s,
    filled_count = filled_count + %(made)s,
    rate = CASE WHEN %(made)s = 0 THEN rate WHEN rate = 0 THEN %(rate)s ELSE 0.8 * rate + 0.2 * %(rate)s END,
    failure_count = CASE WHEN %(made)s = 0 THEN failure_count ELSE 0 END,
    error = CASE WHEN %(made)s = 0 THEN error ELSE '' END
WHERE id = %(space)s AND state IN ('filling', 'kept')
  AND (lease_token = %(token)s OR leased_until IS NULL OR leased_until < now())
"""
_RELEASE = (
    "UPDATE memory_vectorspace SET leased_until = NULL, lease_token = '' WHERE id = %s AND lease_token = %s"
)
_REST = """
UPDATE memory_vectorspace
SET leased_until = now() + make_interval(secs => least(%(longest)s, %(shortest)s * power(2, least(failure_count, 16)))),
    lease_token = '', failure_count = failure_count + 1, error = %(error)s
WHERE id = %(space)s AND lease_token = %(token)s
"""


def is_due() -> bool:
    """Tell whether a space beside the one in use has something to be made, and no worker is at it."""
    if any(not space.is_filled for space in known_spaces() if space.state == State.USED):
        return True
    space = find_other_space()
    if space is None or (space.is_filled and not Memory.objects.unembedded(space.column).exists()):
        return False
    free = Q(leased_until=None) | Q(leased_until__lt=Now())
    return VectorSpace.objects.filter(free, pk=space.id).exists()


def go_on(*, yields: bool) -> tuple[int, bool]:
    """Make vectors of the other space for some seconds, unless another worker does.

    With `yields` it ends as soon as something waits in the space in use. Returns how many were made, and whether it
    ended before all were.
    """
    _complete_used()
    space = find_other_space()
    if space is None or (space.is_filled and not has_waiting(space.column)):
        return 0, False
    token = uuid4().hex
    if not _claim(space, token):
        return 0, False
    try:
        done, is_more = _fill(space, token, before=used_column() if yields else None)
    except (EmbeddingError, UnknownService, UnexpectedVectorSize, DatabaseError) as error:
        _rest(space, token, error)
        return 0, False
    with connection.cursor() as cursor:
        cursor.execute(_RELEASE, [space.id, token])
    return done, is_more


def _complete_used() -> None:
    """Have what a switch with --now left undone made good, as far as it goes."""
    used = next((space for space in known_spaces() if space.state == State.USED), None)
    if used is None or used.is_filled:
        return
    try:
        if create_waiting_index(used.column):
            _complete(used)
    except DatabaseError as error:
        # A full disk, say: the vectors are made all the same, and the next run tries again.
        log.warning("index_not_built", space=used.name, error=error)


def _fill(space: Space, token: str, *, before: str | None) -> tuple[int, bool]:
    """Return how many vectors were made, and whether there is more to be made."""
    if not space.is_filled and not create_waiting_index(space.column):
        return 0, False
    done, until = 0, time.monotonic() + RUN_SECONDS
    while time.monotonic() < until:
        if before is not None and has_waiting(before):
            # Whoever makes those wakes nobody for nothing.
            return done, done > 0
        started = time.monotonic()
        texts = find_waiting(space.column, batch_size(space))
        if not texts:
            _complete(space)
            return done, False
        release_connection()
        embedder = get_embedder(space)
        with timed("embed"):
            made = embed_texts(embedder, space, texts)
        asked_seconds = time.monotonic() - started
        written = write_vectors(space.column, made, space.name, held_by=(space.id, token))
        done += written
        if is_local(space):
            time.sleep(min(asked_seconds, LONGEST_PAUSE_SECONDS))
        if not _claim(space, token, made=written, seconds=time.monotonic() - started):
            # Switched, removed, or held by another: it is theirs.
            return done, False
        if made and not written:
            # Somebody holds these rows just now.
            return done, False
    return done, True


def _complete(space: Space) -> None:
    """Have the index built once all vectors are there, which is many times quicker than one by one.

    A text that the model refuses, while it takes others, is not waited for. In a space that is in use already the
    index is built whatever is missing.
    """
    if space.is_filled:
        return
    is_waiting = has_waiting(space.column)
    if is_waiting and space.state != State.USED:
        return
    if not create_vector_index(space.choice.dimensions, space.column):
        return
    # What a process wrote there that slept since before the column was another space's.
    strays = sum(clear_vectors(space.column, but=space.name))
    if strays:
        log.warning("stray_vectors_cleared", space=space.name, count=strays)
        return
    if is_waiting:
        return
    left = Memory.objects.unembedded(space.column).values_list("pk", flat=True)[:REFUSED_NAMED]
    refused = list(map(str, left))
    if VectorSpace.objects.filter(pk=space.id, filled_at=None).update(filled_at=Now(), refused=refused):
        forget_known_spaces()
        log.info("vector_space_filled", space=space.name, column=space.column, refused_count=len(refused))


def _claim(space: Space, token: str, *, made: int = 0, seconds: float = 0.0) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(
            _CLAIM,
            {
                "space": space.id,
                "token": token,
                "seconds": max(SHORTEST_LEASE_SECONDS, LEASE_TIMEOUTS * settings.EMBEDDING_TIMEOUT_SECONDS),
                "made": made,
                "rate": made / max(seconds, 0.001),
            },
        )
        return int(cursor.rowcount) == 1


def _rest(space: Space, token: str, error: Exception) -> None:
    log.warning("filling_waits", space=space.name, error=error)
    # What a server says may repeat what it was asked, which is people's words.
    is_ours = not getattr(error, "quotes_others", True)
    told = (
        str(error)
        if is_ours
        else f"{type(error).__name__}, in words that may be people's and are kept nowhere"
    )
    with connection.cursor() as cursor:
        cursor.execute(
            _REST,
            {
                "space": space.id,
                "token": token,
                "error": told[:500],
                "shortest": REST_SECONDS,
                "longest": LONGEST_REST_SECONDS,
            },
        )
