"""A document's file on its way in: a copy that nobody changes meanwhile, its hash, and its parts in the database.

`memory.documents.library` calls it.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import BinaryIO
from uuid import UUID

from django.conf import settings
from django.db.models import QuerySet

from memory.documents.formats import HEAD_BYTES, DocumentRefused
from memory.models import DocumentPart

PART_BYTES = 1024 * 1024


class PartsMissing(DocumentRefused):
    """The file was not stored to its end."""


@dataclass(frozen=True, kw_only=True)
class Snapshot:
    """A copy of a file, on disk, as it was when it was looked at."""

    file: BinaryIO
    content_hash: str
    byte_count: int

    @property
    def head(self) -> bytes:
        """Return the file's beginning."""
        self.file.seek(0)
        return self.file.read(HEAD_BYTES)


@contextmanager
def snapshot(file: BinaryIO) -> Iterator[Snapshot]:
    """Copy the file, within the limit of its size; the copy lives as long as the block.

    Raises: DocumentRefused where it is empty or too large.
    """
    most = settings.DOCUMENT_MAX_MEGABYTES * 1024 * 1024
    digest = hashlib.sha256()
    count = 0
    with tempfile.TemporaryFile() as copy:
        while part := file.read(PART_BYTES):
            count += len(part)
            if count > most:
                raise DocumentRefused(
                    f"it is larger than {settings.DOCUMENT_MAX_MEGABYTES} MB: divide it, or raise"
                    " DOCUMENT_MAX_MEGABYTES"
                )
            digest.update(part)
            copy.write(part)
        if not count:
            raise DocumentRefused("it is empty")
        yield Snapshot(file=copy, content_hash=digest.hexdigest(), byte_count=count)


def keep_parts(document_id: UUID, taken: Snapshot) -> None:
    """Keep the file in the database, a part a statement; parts that are there already are left as they are."""
    kept = set(_parts(document_id, taken.content_hash).values_list("position", flat=True))
    taken.file.seek(0)
    position = 0
    while part := taken.file.read(PART_BYTES):
        if position not in kept:
            row = DocumentPart(
                document_id=document_id, content_hash=taken.content_hash, position=position, content=part
            )
            DocumentPart.objects.bulk_create([row], ignore_conflicts=True)
        position += 1


@contextmanager
def kept_file(document_id: UUID, content_hash: str) -> Iterator[Snapshot]:
    """Copy the file out of the database.

    Raises: PartsMissing.
    """
    digest = hashlib.sha256()
    count = 0
    with tempfile.TemporaryFile() as copy:
        for position in range(_parts(document_id, content_hash).count()):
            part = bytes(_parts(document_id, content_hash).values_list("content", flat=True)[position])
            digest.update(part)
            copy.write(part)
            count += len(part)
        if digest.hexdigest() != content_hash:
            raise PartsMissing("its file was not stored to its end: add it again")
        yield Snapshot(file=copy, content_hash=content_hash, byte_count=count)


def drop_parts(document_id: UUID, *, keep: str) -> None:
    """Delete the parts of every other content."""
    DocumentPart.objects.filter(document_id=document_id).exclude(content_hash=keep).delete()


def _parts(document_id: UUID, content_hash: str) -> QuerySet[DocumentPart]:
    return DocumentPart.objects.filter(document_id=document_id, content_hash=content_hash)
