"""Where recalled memories stand in documents. The pipeline's recall step and turn reports call it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from django.db import connection

from memory.metrics import timed
from memory.models import Memory
from plugins.api import Citation, RecalledMemory

_CITATIONS = """
SELECT DISTINCT ON (memory.id) memory.id, chunk.id IS NOT NULL, document.id, document.title, document.name,
       chunk.headings::text, chunk.page, chunk.last_page
FROM memory_memory AS memory
LEFT JOIN memory_chunk AS chunk ON chunk.memory_id = memory.id
LEFT JOIN memory_document AS document ON document.id = chunk.document_id AND document.edition = chunk.edition
WHERE memory.id = ANY(%s)
ORDER BY memory.id, document.id NULLS LAST, chunk.position
"""


def cite(memories: Sequence[RecalledMemory]) -> list[RecalledMemory]:
    """Return the memories with their citations, in one statement where documents are among them, else in none.

    It leaves out what is no longer in use since it was recalled: what a caller gets of a document that is replaced
    meanwhile is all of one edition.
    """
    documents = [memory.id for memory in memories if memory.kind == Memory.Kind.DOCUMENT]
    if not documents:
        return list(memories)
    found = citations_of(documents)
    return [
        replace(memory, citation=found[memory.id]) if memory.id in found else memory
        for memory in memories
        if memory.kind != Memory.Kind.DOCUMENT or memory.id in found
    ]


def citations_of(memory_ids: Sequence[UUID]) -> dict[UUID, Citation | None]:
    """Return the citations of those memories that are kept and in use; None for one that is in no document."""
    with timed("cite"), connection.cursor() as cursor:
        cursor.execute(_CITATIONS, [list(memory_ids)])
        rows = cursor.fetchall()
    return {
        memory_id: None
        if document_id is None
        else Citation(
            document_id=document_id,
            document=title,
            name=name,
            headings=tuple(json.loads(headings)),
            page=page,
            last_page=last_page,
        )
        for memory_id, is_chunk, document_id, title, name, headings, page, last_page in rows
        if document_id is not None or not is_chunk
    }
