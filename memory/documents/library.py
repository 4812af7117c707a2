"""Documents: files that an agent knows, everywhere or in one room. The commands and the admin call it.

The same name is the same document, in whichever form its accents are written: added again it is replaced where it
changed. The same content is kept once.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import PurePath
from typing import BinaryIO, Literal
from uuid import UUID

from django.db import transaction
from django.db.models import Count, F, Q, QuerySet

from memory.documents.files import PartsMissing, Snapshot, drop_parts, keep_parts, kept_file, snapshot
from memory.documents.formats import DocumentRefused, recognise
from memory.documents.indexing import (
    Edition,
    Indexed,
    OnProgress,
    current_chunking,
    drop_others,
    index,
    try_out,
)
from memory.embeddings.spaces import used_column
from memory.memories import storable
from memory.models import Document
from memory.models.document import NAME_MAX, TITLE_MAX

__all__ = [
    "AddedDocument",
    "DocumentRefused",
    "DocumentSource",
    "Progress",
    "add_document",
    "index_again",
    "progress_of",
    "remove_document",
    "remove_documents",
]

Outcome = Literal["added", "replaced", "indexed again", "unchanged"]


@dataclass(frozen=True, kw_only=True)
class DocumentSource:
    """A file that is to be known: its bytes, and the name by which it is known again.

    Without a `format` the file's beginning and its name's ending tell it. The `title` is for a file that has none;
    without one it is the last part of the name.
    """

    name: str
    file: BinaryIO
    origin: str = Document.Origin.FILE.value
    format: str = ""
    title: str = ""


@dataclass(frozen=True, kw_only=True)
class AddedDocument:
    """What adding did. `document_id` is None where nothing was to be kept.

    `note` says in a few words what else there is to know: which document has the same content, or that an earlier
    attempt was taken up.
    """

    outcome: Outcome
    document_id: UUID | None
    title: str
    format: str
    page_count: int | None
    chunk_count: int
    new_chunk_count: int
    note: str = ""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a document is: its chunks that are in use, those of them that have vectors, those being made."""

    chunk_count: int = 0
    vector_count: int = 0
    staged_count: int = 0


def add_document(
    agent_id: UUID,
    source: DocumentSource,
    *,
    room_id: UUID | None = None,
    dry_run: bool = False,
    on_progress: OnProgress = lambda _count: None,
) -> AddedDocument:
    """Let the agent know the file: everywhere, or in the room alone.

    A file that is known already changes nothing. One that changed keeps the chunks that did not; the others are
    put in place at once when all of them are there. Vectors are made in the background.
    Raises: DocumentRefused where the file is empty, too large, broken or encrypted; nothing of it is kept then.
    """
    name = storable(source.name).strip()
    if not 0 < len(name) <= NAME_MAX:
        raise DocumentRefused(f"its name has {len(name)} characters, and 1 to {NAME_MAX} are allowed")
    with snapshot(source.file) as taken:
        edition = Edition(
            content_hash=taken.content_hash,
            format=source.format or recognise(name, taken.head),
            chunking=current_chunking(),
        )
        here = Document.objects.filter(agent=agent_id, room=room_id)
        known = here.filter(origin=source.origin, name=name).first()
        if known is not None and known.edition == edition.name:
            return _unchanged(known)
        if known is None and (same := _same_content(here, source, taken)):
            return _unchanged(same, f"{same.name} has the same content")
        title = source.title or _last_part(name)
        if dry_run:
            tried = try_out(known, taken, edition)
            return _added(known, tried, edition, title, _outcome(known, edition))
        if known is None:
            known, _ = here.get_or_create(
                origin=source.origin,
                name=name,
                defaults={"agent_id": agent_id, "room_id": room_id, "title": title[:TITLE_MAX]},
            )
        return _index(known, taken, edition, title, on_progress)


def index_again(document_id: UUID, *, on_progress: OnProgress = lambda _count: None) -> AddedDocument:
    """Index the document's kept file as the settings are now, or go on where an attempt was cut off.

    Raises: DocumentRefused where there is no such document, or its file can't be read.
    """
    document = Document.objects.filter(pk=document_id).first()
    if document is None:
        raise DocumentRefused("it was removed")
    try:
        with kept_file(document.pk, _newest_content(document)) as taken:
            return _index_kept(document, taken, on_progress)
    except PartsMissing:
        if not document.edition:
            raise
        # Its successor was cut off while it was stored.
        with kept_file(document.pk, document.content_hash) as taken:
            return _index_kept(document, taken, on_progress)


def remove_document(document_id: UUID) -> bool:
    """Remove the document, its chunks and its file, at once; tell whether there was one."""
    with transaction.atomic():
        locked = Document.objects.select_for_update().filter(pk=document_id)
        if not locked.exists():
            return False
        # With no edition in use, none is kept.
        locked.update(edition="")
        drop_others(document_id)
        Document.objects.filter(pk=document_id).delete()
        return True


def remove_documents(
    agent_id: UUID, origin: str, *, keep: Collection[str], keep_below: Collection[str] = ()
) -> int:
    """Remove the agent's documents of this origin whose name is not kept, nor below a kept folder.

    Return how many were removed.
    """
    names, folders = {storable(name) for name in keep}, [storable(folder) for folder in keep_below]
    rows = Document.objects.filter(agent=agent_id, origin=origin).values_list("pk", "name")
    gone = [key for key, name in rows if name not in names and not _is_below(name, folders)]
    return sum(remove_document(key) for key in gone)


def progress_of(document_ids: Sequence[UUID]) -> dict[UUID, Progress]:
    """Return how far these documents are, in one statement."""
    with_vector = Q(chunks__edition=F("edition"), **{f"chunks__memory__{used_column()}__isnull": False})
    rows = (
        Document.objects.filter(pk__in=document_ids)
        .annotate(
            current=Count("chunks", filter=Q(chunks__edition=F("edition"))),
            with_vector=Count("chunks", filter=with_vector),
            all_chunks=Count("chunks"),
        )
        .values_list("pk", "current", "with_vector", "all_chunks")
    )
    return {
        key: Progress(chunk_count=current, vector_count=vectors, staged_count=every - current)
        for key, current, vectors, every in rows
    }


def _index(
    document: Document, taken: Snapshot, edition: Edition, title: str, on_progress: OnProgress
) -> AddedDocument:
    try:
        keep_parts(document.pk, taken)
        indexed = index(document, taken, edition, title=title, on_progress=on_progress)
    except DocumentRefused:
        _forget_attempt(document.pk)
        raise
    return _added(document, indexed, edition, title, _outcome(document, edition))


def _index_kept(document: Document, taken: Snapshot, on_progress: OnProgress) -> AddedDocument:
    is_named_so = document.format == "texts"
    edition = Edition(
        content_hash=taken.content_hash,
        format=document.format if is_named_so else recognise(document.name, taken.head),
        chunking=current_chunking(),
    )
    if document.edition == edition.name:
        return _unchanged(document)
    title = document.title if is_named_so else _last_part(document.name)
    return _index(document, taken, edition, title, on_progress)


def _newest_content(document: Document) -> str:
    """Return the hash of the content that came last, which may be a successor's that was cut off."""
    newest = document.parts.order_by("-id").values_list("content_hash", flat=True).first()
    return newest or document.content_hash


def _forget_attempt(document_id: UUID) -> None:
    """Leave the document as it was before: nothing of it, where it was none."""
    before = Document.objects.filter(pk=document_id).first()
    if before is not None and before.edition:
        drop_parts(document_id, keep=before.content_hash)
    else:
        remove_document(document_id)


def _same_content(here: QuerySet[Document], source: DocumentSource, taken: Snapshot) -> Document | None:
    """Find a document with the same content. What a character's file names comes and goes with it, and is apart."""
    is_characters = Q(origin=Document.Origin.CHARACTER)
    apart = is_characters if source.origin == Document.Origin.CHARACTER else ~is_characters
    return here.filter(apart, content_hash=taken.content_hash).exclude(edition="").first()


def _outcome(before: Document | None, edition: Edition) -> Outcome:
    if before is None or not before.edition:
        return "added"
    return "indexed again" if before.content_hash == edition.content_hash else "replaced"


def _added(
    document: Document | None, indexed: Indexed, edition: Edition, title: str, outcome: Outcome
) -> AddedDocument:
    return AddedDocument(
        outcome=outcome,
        document_id=document.pk if document else None,
        title=indexed.facts.title or title,
        format=edition.format,
        page_count=indexed.facts.page_count,
        chunk_count=indexed.chunk_count,
        new_chunk_count=indexed.chunk_count - indexed.kept_count,
        note=f"went on after chunk {indexed.resumed_at}" if indexed.resumed_at else "",
    )


def _unchanged(document: Document, note: str = "") -> AddedDocument:
    return AddedDocument(
        outcome="unchanged",
        document_id=document.pk,
        title=document.title,
        format=document.format,
        page_count=document.page_count,
        chunk_count=document.chunk_count,
        new_chunk_count=0,
        note=note,
    )


def _last_part(name: str) -> str:
    return PurePath(name).name or name


def _is_below(name: str, folders: Collection[str]) -> bool:
    return any(folder in ("", ".") or name.startswith(f"{folder.rstrip('/')}/") for folder in folders)
