"""`load_character FILE…`: reads elizaOS character files and puts each character to work."""

import json
import sys
from collections import Counter
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from agents.characters import (
    CharacterConflictError,
    CharacterDocument,
    CharacterFiles,
    KeptKnowledge,
    keep_knowledge,
    read_character_files,
    remarks,
    save_characters,
)
from agents.fields import EncryptionKeyError
from plugins.registry import unknown_plugins


class Command(BaseCommand):
    help = "Load elizaOS character files; faults are named with their places, and then nothing is saved."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("files", nargs="+", metavar="FILE", help="a file, a directory of *.json, or -")
        parser.add_argument("--dry-run", action="store_true", help="check the files and save nothing")
        parser.add_argument("--json", action="store_true", help="report as JSON")

    def handle(self, *_args: Any, **options: Any) -> None:
        read = read_character_files(options["files"])
        try:
            outcomes = _report(read) if read.faults or options["dry_run"] else _save(read)
        except (CharacterConflictError, EncryptionKeyError) as error:
            raise CommandError(str(error)) from None
        if options["json"]:
            faults = [{"file": file, **vars(fault)} for file, fault in read.faults]
            self.stdout.write(json.dumps({"characters": outcomes, "faults": faults}, indent=2))
        else:
            self._tell(outcomes, read)
        if read.faults or any(piece["reason"] for outcome in outcomes for piece in outcome["knowledge"]):
            sys.exit(1)

    def _tell(self, outcomes: list[dict[str, Any]], read: CharacterFiles) -> None:
        for document, outcome in zip(read.documents, outcomes, strict=True) if not read.faults else ():
            agent = f", agent {outcome['agent']} is {outcome['status']}" if "agent" in outcome else ""
            version = f" (version {outcome['version']}{agent})" if "version" in outcome else ""
            self.stdout.write(f"{outcome['name']}: {outcome['outcome']}{version}")
            for remark in remarks(document):
                self.stderr.write(f"{outcome['name']}: {remark}")
            self._tell_knowledge(outcome["name"], outcome["knowledge"])
        for file, fault in read.faults:
            self.stderr.write(f"{file}: {fault}")
        if read.faults:
            count = len(read.faults)
            self.stderr.write(f"{count} fault{'s' if count > 1 else ''}; nothing was saved")

    def _tell_knowledge(self, name: str, pieces: list[dict[str, Any]]) -> None:
        counts = Counter(piece["outcome"] for piece in pieces)
        told = ", ".join(f"{count} {outcome}" for outcome, count in sorted(counts.items()))
        if told:
            self.stdout.write(f"{name}: of what it knows, documents: {told}")
        for piece in pieces:
            if piece["reason"]:
                self.stderr.write(f"{name}: {piece['name']}: refused: {piece['reason']}")


def _report(read: CharacterFiles) -> list[dict[str, Any]]:
    return [
        {
            "name": document.name,
            "file": document.source,
            "outcome": "checked",
            "ignored_plugins": _ignored_plugins(document),
            "unknown_keys": dict(document.unknown_keys),
            "knowledge": [],
        }
        for document in read.documents
    ]


def _save(read: CharacterFiles) -> list[dict[str, Any]]:
    return [
        {
            "name": saved.character.name,
            "file": document.source,
            "outcome": saved.outcome,
            "version": saved.character.version,
            "agent": saved.agent.slug,
            "status": str(saved.agent.status),
            "ignored_plugins": _ignored_plugins(document),
            "unknown_keys": dict(document.unknown_keys),
            "knowledge": _knowledge(keep_knowledge(saved.character, knowledge)),
        }
        for document, knowledge, saved in zip(
            read.documents, read.knowledge, save_characters(read.documents), strict=True
        )
    ]


def _knowledge(pieces: list[KeptKnowledge]) -> list[dict[str, Any]]:
    return [
        {
            "name": piece.name,
            "outcome": piece.added.outcome if piece.added else "refused",
            "chunks": piece.added.chunk_count if piece.added else 0,
            "reason": piece.refusal,
        }
        for piece in pieces
    ]


def _ignored_plugins(document: CharacterDocument) -> list[str]:
    return list(unknown_plugins(document.content.get("plugins") or ()))
