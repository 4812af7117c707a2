"""`add_documents AGENT PATH…`: lets an agent know files: text, Markdown, HTML, PDF."""

from __future__ import annotations

import json
import sys
from collections import Counter
from collections.abc import Callable
from typing import Any
from uuid import UUID

from django.core.management.base import BaseCommand, CommandError, CommandParser

from agents.agents import UnknownAgent, get_agent
from agents.people.finding import UnknownRoom, find_room
from memory.documents.folders import FoundFile, find_files
from memory.documents.library import AddedDocument, DocumentRefused, DocumentSource, add_document, progress_of

Row = dict[str, Any]


class Command(BaseCommand):
    help = "Let an agent know files: text, Markdown, HTML, PDF. Known files change nothing; changed ones are replaced."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("agent", metavar="AGENT", help="its name or slug")
        parser.add_argument(
            "paths", nargs="+", metavar="PATH", help="a file, or a folder for all that is in it"
        )
        parser.add_argument(
            "--room", default="", metavar="ROOM", help="known in this room alone (id or name)"
        )
        parser.add_argument("--dry-run", action="store_true", help="read the files and keep nothing")
        parser.add_argument("--json", action="store_true", help="report as JSON")

    def handle(self, *_args: Any, **options: Any) -> None:
        try:
            agent = get_agent(options["agent"])
            room = find_room(options["room"]) if options["room"] else None
        except (UnknownAgent, UnknownRoom) as error:
            raise CommandError(str(error)) from None
        found = find_files(options["paths"])
        if not found.files:
            raise CommandError(f"There is no document in {', '.join(options['paths'])}.")
        rows = []
        for file in found.files:
            row = _add(
                file, agent.pk, room.pk if room else None, options["dry_run"], self._counter(file, options)
            )
            rows.append(row)
            if not options["json"]:
                self._tell(row)
        self._end(rows, found.skipped, options)
        if any(row["outcome"] == "refused" for row in rows):
            sys.exit(1)

    def _counter(self, file: FoundFile, options: dict[str, Any]) -> Callable[[int], None]:
        def count(chunks: int) -> None:
            self.stdout.write(f"\r{file.shown}: {chunks} chunks", ending="")
            self.stdout.flush()

        return count if self.stdout.isatty() and not options["json"] else lambda _chunks: None

    def _tell(self, row: Row) -> None:
        start = "\r" if self.stdout.isatty() else ""
        if row["outcome"] == "refused":
            self.stderr.write(f"{start}{row['file']}: refused: {row['reason']}")
            return
        pages = f"{_counted(row['pages'], 'page')}, " if row["pages"] else ""
        new = "" if row["new_chunks"] in (0, row["chunks"]) else f", {row['new_chunks']} of them new"
        note = f"; {row['note']}" if row["note"] else ""
        self.stdout.write(
            f"{start}{row['file']}: {row['outcome']} ({pages}{_counted(row['chunks'], 'chunk')}{new}{note})"
        )

    def _end(self, rows: list[Row], skipped: tuple[str, ...], options: dict[str, Any]) -> None:
        counts = Counter(row["outcome"] for row in rows)
        progress = progress_of([UUID(row["document"]) for row in rows if row["document"]]).values()
        chunks = sum(each.chunk_count for each in progress)
        vectors = sum(each.vector_count for each in progress)
        if options["json"]:
            report = {"documents": rows, "skipped": list(skipped), "chunks": chunks, "vectors": vectors}
            self.stdout.write(
                json.dumps({**report, "dry_run": options["dry_run"]}, indent=2, ensure_ascii=False)
            )
            return
        if skipped:
            self.stdout.write(f"Passed over, as no documents: {', '.join(skipped)}")
        told = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items()))
        if options["dry_run"]:
            self.stdout.write(f"{told}; nothing was kept.")
        elif chunks:
            rest = "" if vectors == chunks else "; the workers make the others"
            self.stdout.write(f"{told}. {vectors} of {_counted(chunks, 'chunk')} have vectors{rest}.")
        else:
            self.stdout.write(f"{told}.")


def _add(
    file: FoundFile, agent_id: UUID, room_id: UUID | None, dry_run: bool, on_progress: Callable[[int], None]
) -> Row:
    if file.refusal:
        return _row(file, None, file.refusal)
    try:
        with file.path.open("rb") as opened:
            source = DocumentSource(name=str(file.path.resolve()), file=opened)
            added = add_document(agent_id, source, room_id=room_id, dry_run=dry_run, on_progress=on_progress)
    except DocumentRefused as error:
        return _row(file, None, str(error))
    except OSError as error:
        return _row(file, None, f"it can't be opened: {error.strerror or error}")
    return _row(file, added, "")


def _row(file: FoundFile, added: AddedDocument | None, reason: str) -> Row:
    return {
        "file": file.shown,
        "outcome": added.outcome if added else "refused",
        "reason": reason,
        "note": added.note if added else "",
        "document": str(added.document_id) if added and added.document_id else None,
        "title": added.title if added else None,
        "format": added.format if added else None,
        "pages": added.page_count if added else None,
        "chunks": added.chunk_count if added else 0,
        "new_chunks": added.new_chunk_count if added else 0,
    }


def _counted(count: int, noun: str) -> str:
    return f"{count} {noun}{'' if count == 1 else 's'}"
