"""An export as a file on its way to a browser: made whole first, so that a page never gets a half of one."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from typing import IO

from asgiref.sync import sync_to_async

from agents import audit
from agents.exports.writing import export_person
from agents.models import Message
from agents.people.families import Family

MOST_MESSAGES = 50_000
CHUNK_BYTES = 65_536


class TooMuch(audit.NotDecided):
    """More than a page can wait for; the text says what to do instead."""


def export_to_temporary_file(family: Family, *, by: str) -> IO[bytes]:
    """Write the export to a file that goes when it is closed, note it in the audit, and return it at its beginning.

    Raises: TooMuch.
    """
    said = Message.objects.filter(person__in=family.ids)
    if said[: MOST_MESSAGES + 1].count() > MOST_MESSAGES:
        raise TooMuch(
            f"That is more than {MOST_MESSAGES:,} messages: use `manage.py export_person {family.person.pk}`."
        )
    file = tempfile.TemporaryFile()  # noqa: SIM115 — whoever sends it closes it
    try:
        counts = export_person(family, lambda text: file.write(text.encode()))
        audit.record(by, "export", "person", {family.person.pk: counts}, why="")
    except BaseException:
        file.close()
        raise
    file.seek(0)
    return file


async def chunks_of(file: IO[bytes]) -> AsyncIterator[bytes]:
    """Yield the file piece by piece without holding up the event loop, and close it."""
    try:
        while chunk := await sync_to_async(file.read, thread_sensitive=False)(CHUNK_BYTES):
            yield chunk
    finally:
        file.close()
