"""What waits for a vector, and how it gets one.

`memory.writes` and `memory.vector_spaces.filling` are made of these parts.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID

import structlog
from django.db import connection
from django.db.models import BooleanField
from django.db.models.expressions import RawSQL

from memory.embeddings.base import PROBE, Embedder, EmbeddingError
from memory.embeddings.spaces import Column, Space, choice_of
from memory.metrics import timed
from memory.models import Memory
from memory.vectors import UnexpectedVectorSize, vector_text

log = structlog.get_logger(__name__)

EMBED_TASK = "memory.embed_memories"
# The local model answers one request at a time, and a turn's own question must not wait long for it.
LOCAL_BATCH, REMOTE_BATCH = 32, 128
# A text that the embedder refuses alone, while it takes others, is left for so long.
REFUSED_REST_SECONDS = 600.0
# So many times more texts go at once after a batch that went well, up to the usual number.
QUICKENS = 4
CLEAR_BATCH = 2000

Text = tuple[UUID, str]
Made = list[tuple[UUID, list[float]]]

# What another worker writes at this moment is passed over: it is the same vector. The order of the locks is
# always that of the ids, so that two never wait for each other.
_UPDATE = """
WITH made (id, embedding) AS (VALUES {rows}),
held AS (
    SELECT memory_memory.id FROM memory_memory JOIN made ON made.id = memory_memory.id
    WHERE memory_memory.{column} IS NULL {fence}
    ORDER BY memory_memory.id FOR UPDATE OF memory_memory SKIP LOCKED
)
UPDATE memory_memory SET {column} = made.embedding, {column}_model = %s
FROM made JOIN held ON held.id = made.id
WHERE memory_memory.id = made.id AND memory_memory.{column} IS NULL
"""

_FENCE = "AND EXISTS (SELECT 1 FROM memory_vectorspace WHERE id = %s AND lease_token = %s)"

# A page of rows is read whatever is found in it, so that no statement takes long.
_CLEAR = """
WITH page AS MATERIALIZED (
    SELECT id, {column} IS NOT NULL AND {condition} AS goes FROM memory_memory
    WHERE id > %(after)s ORDER BY id LIMIT %(batch)s
), held AS (
    SELECT memory.id FROM memory_memory AS memory JOIN page ON page.id = memory.id
    WHERE page.goes ORDER BY memory.id FOR UPDATE OF memory
), cleared AS (
    UPDATE memory_memory AS memory SET {column} = NULL, {column}_model = {nothing}
    FROM held WHERE memory.id = held.id RETURNING memory.id
)
SELECT (SELECT id FROM page ORDER BY id DESC LIMIT 1), (SELECT count(*) FROM cleared)
"""
_NO_MODEL = {Column.FIRST.value: "''", Column.SECOND.value: "NULL"}


class Resting:
    """The texts that embedders refused, each until when it is left alone."""

    def __init__(self) -> None:
        self._until: dict[tuple[str, UUID], float] = {}

    def add(self, column: str, id: UUID) -> None:
        """Leave a text alone for a while."""
        self._until[column, id] = time.monotonic() + REFUSED_REST_SECONDS

    def ids(self, column: str) -> list[UUID]:
        """Return those that are left alone now."""
        now = time.monotonic()
        self._until = {key: until for key, until in self._until.items() if until > now}
        return [id for of, id in self._until if of == column]


resting = Resting()
paces: dict[str, int] = {}
"""How many texts of a column go at once at most, where a batch of it failed in this process."""


def is_local(space: Space) -> bool:
    """Tell whether the space's model runs in this process."""
    return choice_of(space).kind == "local"


def batch_size(space: Space) -> int:
    """Return how many texts go to the space's embedder at once: fewer for a while after a batch that failed."""
    most = LOCAL_BATCH if is_local(space) else REMOTE_BATCH
    return min(most, paces.get(space.column, most))


def has_waiting(column: str) -> bool:
    """Tell whether a text waits for its vector in this column, and is not left alone."""
    return Memory.objects.unembedded(column).exclude(id__in=resting.ids(column)).exists()


def find_waiting(column: str, limit: int) -> list[Text]:
    """Find the oldest that wait for a vector in this column. What was said or learnt does not wait for a book's."""
    waiting = Memory.objects.unembedded(column).exclude(id__in=resting.ids(column))
    # Word for word as the index has it (`memory.stores.indexes`).
    is_document = RawSQL("(memory_memory.kind = 'document')", (), output_field=BooleanField())
    waiting = waiting.order_by(is_document, "created_at")
    return list(waiting.values_list("id", "text")[:limit])


def embed_texts(embedder: Embedder, space: Space, texts: Sequence[Text]) -> Made:
    """Embed the texts together, in one request; where that fails though the embedder answers, make none.

    The next batch is then half as large, and one that is a single text is refused and left alone for a while: so
    neither a text that is refused nor a server that is slow holds up the others. It takes two requests' time at most.
    Raises: EmbeddingError where the embedder is away; UnexpectedVectorSize.
    """
    try:
        made = _embed(embedder, space, texts)
    except EmbeddingError as error:
        if not _answers(embedder):
            raise
        if len(texts) == 1:
            (id, _text), *_ = texts
            log.warning(
                "embedding_refused", memory_id=str(id), rest_seconds=REFUSED_REST_SECONDS, error=error
            )
            resting.add(space.column, id)
        else:
            log.warning("batch_failed", space=space.name, count=len(texts), error=error)
        paces[space.column] = max(1, len(texts) // 2)
        return []
    if space.column in paces:
        paces[space.column] = max(paces[space.column], QUICKENS * len(texts))
    return made


def _embed(embedder: Embedder, space: Space, texts: Sequence[Text]) -> Made:
    vectors = embedder.embed([text for _, text in texts])
    for vector in vectors:
        if len(vector) != space.choice.dimensions:
            raise UnexpectedVectorSize(
                f"A vector of {embedder.name} has {len(vector)} numbers, where {space.choice.dimensions} are "
                "promised: set EMBEDDING_MODEL and EMBEDDING_DIMENSIONS to what the embedder makes."
            )
    return [(id, vector) for (id, _), vector in zip(texts, vectors, strict=True)]


def _answers(embedder: Embedder) -> bool:
    try:
        embedder.embed([PROBE])
    except EmbeddingError:
        return False
    return True


def write_vectors(
    column: str,
    made: Sequence[tuple[UUID, list[float]]],
    model: str,
    *,
    held_by: tuple[int, str] | None = None,
) -> int:
    """Write the vectors where there is none yet, and return how many that were.

    `held_by` is a space and the token of its lease: nothing is written once that is another's.
    """
    if not made:
        return 0
    rows = ", ".join(["(%s::uuid, %s::vector)"] * len(made))
    parameters: list[Any] = []
    for id, vector in made:
        parameters += (id, vector_text(vector))
    with timed("write_vectors"), connection.cursor() as cursor:
        statement = _UPDATE.format(rows=rows, column=column, fence=_FENCE if held_by else "")
        cursor.execute(statement, [*parameters, *(held_by or ()), model])
        return int(cursor.rowcount)


def clear_vectors(column: str, *, only: str | None = None, but: str | None = None) -> Iterator[int]:
    """Take the column's vectors away, all or those of a model (`only`) or of all others (`but`).

    It yields how many, page by page, and may be ended at any of them.
    """
    condition = "true"
    if only is not None:
        condition = f"{column}_model = %(model)s"
    elif but is not None:
        condition = f"{column}_model IS DISTINCT FROM %(model)s"
    statement = _CLEAR.format(column=column, condition=condition, nothing=_NO_MODEL[column])
    after = UUID(int=0)
    while True:
        with connection.cursor() as cursor:
            names: dict[str, Any] = {
                "after": after,
                "batch": CLEAR_BATCH,
                "model": only if only is not None else but,
            }
            cursor.execute(statement, names)
            last, count = cursor.fetchone()
        if last is None:
            return
        after = last
        yield count
