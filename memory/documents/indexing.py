"""Makes chunks of a document's file, and puts them in place of those that stood there, all at once.

Chunks are memories. Until all of them are there they are in the scope of nobody, so that no recall finds them;
they are kept batch by batch, and whoever was cut off goes on after the last whole batch.
`memory.documents.library` calls it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from django.db.models.functions import Now
from django.utils import timezone

from memory.documents.chunks import VERSION, Chunking, chunk_blocks
from memory.documents.chunks import Chunk as Piece
from memory.documents.files import Snapshot, drop_parts
from memory.documents.formats import DocumentRefused
from memory.documents.formats.blocks import Facts
from memory.documents.reading import Reading
from memory.memories import MemoryDraft, remember, storable
from memory.metrics import timed
from memory.models import Chunk, Document, Memory
from memory.models.document import TITLE_MAX
from memory.writes import wake_embedding

BATCH = 200
CHANGED_MEANWHILE = "somebody changed or removed it meanwhile: add it again"

OnProgress = Callable[[int], None]
"""Is told how many chunks are kept so far."""

_DROP = """
WITH gone AS (
    DELETE FROM memory_chunk WHERE document_id = %(document)s AND edition NOT IN (
        %(also)s, (SELECT edition FROM memory_document WHERE id = %(document)s)
    )
    RETURNING memory_id
)
DELETE FROM memory_memory WHERE id IN (SELECT memory_id FROM gone) AND NOT EXISTS (
    SELECT 1 FROM memory_chunk AS kept
    WHERE kept.memory_id = memory_memory.id AND kept.edition IN (
        %(also)s, (SELECT edition FROM memory_document WHERE id = %(document)s)
    )
)
"""
"""A memory that a chunk of an edition that stays shares is kept, with its vector."""

_MEMORIES = """
SELECT key, memory.id FROM unnest(%(keys)s::text[]) AS key CROSS JOIN LATERAL (
    SELECT id FROM memory_memory WHERE agent_id = %(agent)s AND source_key = key LIMIT 1
) AS memory
"""
"""Key by key through the unique index: without statistics all of the agent's memories were read for each batch."""
_MEMORIES_OF_SQLITE = """
SELECT source_key, id FROM memory_memory WHERE agent_id = %(agent)s AND source_key = ANY(%(keys)s::text[])
"""
"""SQLite has no LATERAL, and reads key by key without being told to."""

_SHARED = """
SELECT coalesce(sum(number), 0) FROM (
    SELECT count(*) FILTER (WHERE edition = %(edition)s) AS number FROM memory_chunk
    WHERE document_id = %(document)s AND edition IN (%(edition)s, %(before)s)
    GROUP BY memory_id HAVING bool_or(edition = %(before)s)
) AS shared
"""
"""How many chunks stayed as they were. One pass: chunks that came a moment ago are in no statistics, by which a join
would be planned as if there were one.
"""

_SHOW = """
UPDATE memory_memory SET scope = %(scope)s
WHERE scope = 'nobody' AND id IN (
    SELECT memory_id FROM memory_chunk WHERE document_id = %(document)s AND edition = %(edition)s
)
"""


@dataclass(frozen=True, kw_only=True)
class Edition:
    """A content and the way it is cut. `cut` is the same for all contents that are cut in this way."""

    content_hash: str
    format: str
    chunking: Chunking

    @property
    def cut(self) -> str:
        """Return the name of the way it is cut."""
        return _hash(f"{VERSION}:{self.format}:{self.chunking.size}:{self.chunking.overlap}")[:8]

    @property
    def name(self) -> str:
        """Return what the chunks of this edition carry."""
        return self.cut + _hash(f"{self.content_hash}:{self.cut}")[:24]


@dataclass(frozen=True, kw_only=True)
class Indexed:
    """What indexing did: the facts, how many chunks there are, how many of them were kept as they were."""

    facts: Facts
    chunk_count: int
    kept_count: int
    resumed_at: int = 0


def current_chunking() -> Chunking:
    """Return how the settings have documents cut."""
    return Chunking(size=settings.DOCUMENT_CHUNK_TOKENS, overlap=settings.DOCUMENT_OVERLAP_TOKENS)


def is_cut_as_set(document: Document) -> bool:
    """Tell whether the document's chunks are cut as the settings are now."""
    wanted = Edition(content_hash=document.content_hash, format=document.format, chunking=current_chunking())
    return document.edition == wanted.name


def try_out(document: Document | None, taken: Snapshot, edition: Edition) -> Indexed:
    """Read and cut the file, and keep nothing; tell what indexing would do.

    Raises: DocumentRefused.
    """
    count = kept = 0
    _release_connection()
    with Reading(taken.file, edition.format) as reading:
        for batch in _batched(chunk_blocks(reading, edition.chunking)):
            count += len(batch)
            if document is not None:
                keys = [_key(document, edition, piece) for piece in batch]
                known = _known(document, keys)
                kept += sum(key in known for key in keys)
                _release_connection()
    return Indexed(facts=reading.facts, chunk_count=count, kept_count=kept)


def index(
    document: Document, taken: Snapshot, edition: Edition, *, title: str, on_progress: OnProgress
) -> Indexed:
    """Read the file, keep its chunks in batches, and put them in place of the document's others.

    `title` is for a file that has none. No connection to the database is held while the file is read.
    Raises: DocumentRefused; nothing of this edition is left then, and the one before stands as it was.
    """
    try:
        drop_others(document.pk, but=edition.name)
        staged = Chunk.objects.filter(document=document, edition=edition.name).count()
        _release_connection()
        count = 0
        with Reading(taken.file, edition.format) as reading:
            for batch in _batched(chunk_blocks(reading, edition.chunking)):
                if count + len(batch) > staged:
                    _stage(document, edition, count, batch)
                    wake_embedding()
                    _release_connection()
                count += len(batch)
                on_progress(count)
        kept = _publish(
            document, edition, taken, count, reading.facts.title or title, reading.facts.page_count
        )
    except (DocumentRefused, IntegrityError) as error:
        drop_others(document.pk)
        if isinstance(error, DocumentRefused):
            raise
        raise DocumentRefused(CHANGED_MEANWHILE) from error
    wake_embedding()
    return Indexed(facts=reading.facts, chunk_count=count, kept_count=kept, resumed_at=staged)


def drop_others(document_id: UUID, *, but: str = "") -> None:
    """Delete the document's chunks that are neither in use nor of this edition, and the memories that were theirs.

    Two who do this to one document come one after the other.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        list(Document.objects.select_for_update().filter(pk=document_id).values_list("pk"))
        # The chunks of a book are more than a statement of a turn may take.
        cursor.execute("SET LOCAL statement_timeout = 0")
        cursor.execute(_DROP, {"document": document_id, "also": but})


def _stage(document: Document, edition: Edition, position: int, pieces: Sequence[Piece]) -> None:
    """Keep a batch of chunks, out of everybody's sight; what is there already is left as it is."""
    keys = [_key(document, edition, piece) for piece in pieces]
    drafts = [
        MemoryDraft(
            agent_id=document.agent_id,
            room_id=document.room_id,
            kind=Memory.Kind.DOCUMENT.value,
            scope=Memory.Scope.NOBODY.value,
            text=piece.text,
            said_at=timezone.now(),
            source_key=key,
        )
        for key, piece in zip(keys, pieces, strict=True)
    ]
    with timed("keep_chunks"), transaction.atomic():
        remember(drafts)
        ids = _known(document, keys)
        rows = [
            Chunk(
                document=document,
                edition=edition.name,
                position=position + number,
                memory_id=ids[key],
                headings=[storable(heading) for heading in piece.headings],
                page=piece.page,
                last_page=piece.last_page,
                start=piece.start,
                end=piece.end,
            )
            for number, (key, piece) in enumerate(zip(keys, pieces, strict=True))
        ]
        Chunk.objects.bulk_create(rows, ignore_conflicts=True)


def _publish(
    document: Document, edition: Edition, taken: Snapshot, count: int, title: str, page_count: int | None
) -> int:
    """Put the edition in place of the one before, in one transaction; return how many chunks stayed as they were."""
    scope = Memory.Scope.AGENT if document.room_id is None else Memory.Scope.ROOM
    with timed("publish_document"), transaction.atomic():
        known = Document.objects.select_for_update().filter(pk=document.pk).first()
        staged = Chunk.objects.filter(document=document, edition=edition.name)
        if known is None or staged.count() != count:
            raise DocumentRefused(CHANGED_MEANWHILE)
        names: dict[str, Any] = {
            "document": document.pk,
            "edition": edition.name,
            "before": known.edition,
            "scope": scope.value,
        }
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = 0")
            cursor.execute(_SHARED, names)
            (kept,) = cursor.fetchone()
            cursor.execute(_SHOW, names)
        Document.objects.filter(pk=document.pk).update(
            edition=edition.name,
            content_hash=edition.content_hash,
            format=edition.format,
            byte_count=taken.byte_count,
            title=storable(title)[:TITLE_MAX],
            page_count=page_count,
            chunk_count=count,
            indexed_at=Now(),
        )
        drop_others(document.pk)
        drop_parts(document.pk, keep=edition.content_hash)
    return int(kept)


def _key(document: Document, edition: Edition, piece: Piece) -> str:
    return f"document:{document.pk.hex}:{edition.cut}:{_hash(piece.text)[:40]}"


def _known(document: Document, keys: Sequence[str]) -> dict[str, UUID]:
    """Return which of the keys have a memory."""
    with connection.cursor() as cursor:
        statement = _MEMORIES if connection.vendor == "postgresql" else _MEMORIES_OF_SQLITE
        cursor.execute(statement, {"agent": document.agent_id, "keys": list(keys)})
        return dict(cursor.fetchall())


def _batched(pieces: Iterator[Piece]) -> Iterator[list[Piece]]:
    while batch := list(islice(pieces, BATCH)):
        yield batch


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def _release_connection() -> None:
    if not connection.in_atomic_block:
        connection.close()
