"""Reads many character files at once: all are checked before any is saved. `load_character` calls it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from agents.characters.documents import CharacterDocument, CharacterFault, CharacterFileError
from agents.characters.knowledge import Knowledge, find_knowledge
from agents.characters.reading import MAX_BYTES, parse_character

STDIN = "-"


@dataclass(frozen=True, kw_only=True)
class CharacterFiles:
    """What was read: a document a file, with what it knows, or the faults with the file that each stands in."""

    documents: tuple[CharacterDocument, ...]
    faults: tuple[tuple[str, CharacterFault], ...]
    knowledge: tuple[Knowledge, ...] = ()


def read_character_files(names: Sequence[str]) -> CharacterFiles:
    """Read the named files; `-` is standard input, a directory stands for its `*.json`."""
    documents: dict[str, CharacterDocument] = {}
    knowledge: dict[str, Knowledge] = {}
    faults: list[tuple[str, CharacterFault]] = []
    for source in _sources(names):
        try:
            document = parse_character(_read(source), source=source)
        except CharacterFileError as error:
            faults += [(source, fault) for fault in error.faults]
            continue
        other = documents.setdefault(document.name, document)
        if other is not document:
            got = f"{document.name!r}, which {other.source} has too"
            faults.append((source, CharacterFault(path="name", expected="a name of its own", got=got)))
            continue
        knowledge[document.name], missing = _find_knowledge(document, source)
        faults += [(source, fault) for fault in missing]
    return CharacterFiles(
        documents=tuple(documents.values()), faults=tuple(faults), knowledge=tuple(knowledge.values())
    )


def _find_knowledge(document: CharacterDocument, source: str) -> tuple[Knowledge, tuple[CharacterFault, ...]]:
    if source != STDIN:
        return find_knowledge(document, Path(source).parent)
    found, _ = find_knowledge(document, None)
    missing = (
        CharacterFault(path="knowledge", expected="texts, as there is no folder", got=name)
        for name in found.named
    )
    return found, tuple(missing)


def _sources(names: Sequence[str]) -> Iterator[str]:
    seen: set[str] = set()
    for name in names:
        # Unlike a Path's own question, this one bears any name.
        inside = sorted(map(str, Path(name).glob("*.json"))) if os.path.isdir(name) else []
        for source in inside or [name]:
            if source not in seen:
                seen.add(source)
                yield source


def _read(source: str) -> bytes:
    # One byte more than is allowed is enough to refuse a file of any size.
    if source == STDIN:
        return sys.stdin.buffer.read(MAX_BYTES + 1)
    if os.path.isdir(source):
        raise _unreadable(source, "a directory without *.json")
    try:
        with open(source, "rb") as file:
            return file.read(MAX_BYTES + 1)
    except OSError as error:
        raise _unreadable(source, (error.strerror or type(error).__name__).lower()) from None


def _unreadable(source: str, got: str) -> CharacterFileError:
    return CharacterFileError(source, [CharacterFault(path="$", expected="a readable file", got=got)])
