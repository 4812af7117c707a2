"""A character's knowledge: what its file says in words, and the files that it names beside itself.

`load_character` finds the files, within the folder of the character's own file and nowhere else, and keeps all of it
as documents of the character's agents. The admin keeps the words alone: an upload never has this machine's files
read.
"""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

from agents.characters.documents import CharacterDocument, CharacterFault, place
from agents.models import Character
from memory.documents.folders import FoundFile, find_files
from memory.documents.formats import ENDINGS
from memory.documents.library import (
    AddedDocument,
    DocumentRefused,
    DocumentSource,
    add_document,
    remove_documents,
)

ORIGIN = "character"
IN_WORDS = "what the file says in words"
"""The name of the document that holds the knowledge that is text."""


@dataclass(frozen=True, kw_only=True)
class Knowledge:
    """What a character's file says that it knows.

    `files` were found in its folder; `named` are the paths and folders that it names, whether or not they were looked
    for.
    """

    texts: tuple[str, ...] = ()
    named: tuple[str, ...] = ()
    files: tuple[FoundFile, ...] | None = None


@dataclass(frozen=True, kw_only=True)
class KeptKnowledge:
    """What became of one piece of knowledge: how it was kept, or why it was refused."""

    name: str
    added: AddedDocument | None = None
    refusal: str = ""


def find_knowledge(
    document: CharacterDocument, folder: Path | None
) -> tuple[Knowledge, tuple[CharacterFault, ...]]:
    """Find the files that the character names, in this folder, and say which can't be had.

    Without a folder no file is looked for.
    """
    texts: list[str] = []
    named: list[str] = []
    files: list[FoundFile] = []
    faults: list[CharacterFault] = []
    for number, entry in enumerate(document.content.get("knowledge") or ()):
        path = _path_of(entry)
        if path is None:
            texts.append(str(entry))
            continue
        named.append(_normal(path))
        if folder is not None:
            found = find_files([path], within=folder)
            here = place("knowledge", number)
            faults += _faults(path, here, found.files)
            files += [file for file in found.files if not file.refusal]
    found_files = None if folder is None else tuple({_normal(file.shown): file for file in files}.values())
    return Knowledge(texts=tuple(texts), named=tuple(named), files=found_files), tuple(faults)


def keep_knowledge(character: Character, knowledge: Knowledge) -> list[KeptKnowledge]:
    """Let the character's agents know this and nothing else of its file; tell what became of each piece.

    Files that were not looked for stay as they were kept, as long as the character names them.
    """
    kept: list[KeptKnowledge] = []
    for agent_id in character.agents.order_by("created_at").values_list("pk", flat=True):
        names = {_normal(file.shown) for file in knowledge.files or ()}
        below: tuple[str, ...] = ()
        if knowledge.files is None:
            names, below = {*knowledge.named}, knowledge.named
        if knowledge.texts:
            names.add(IN_WORDS)
        remove_documents(agent_id, ORIGIN, keep=names, keep_below=below)
        # What each of several agents of one character knows is the same, and told once.
        kept = [_add(agent_id, source) for source in _sources(character, knowledge)]
    return kept


def _sources(character: Character, knowledge: Knowledge) -> Iterator[tuple[str, Path | str, str]]:
    """Yield each piece's name, where it is or what it says, and its title."""
    if knowledge.texts:
        yield IN_WORDS, json.dumps(knowledge.texts), f"What {character.name} knows"
    for file in knowledge.files or ():
        yield _normal(file.shown), file.path.resolve(), ""


def _add(agent_id: Any, source: tuple[str, Path | str, str]) -> KeptKnowledge:
    name, content, title = source
    try:
        if isinstance(content, str):
            file = io.BytesIO(content.encode())
            words = DocumentSource(name=name, file=file, origin=ORIGIN, format="texts", title=title)
            return KeptKnowledge(name=name, added=add_document(agent_id, words))
        with content.open("rb") as opened:
            named = DocumentSource(name=name, file=opened, origin=ORIGIN)
            return KeptKnowledge(name=name, added=add_document(agent_id, named))
    except DocumentRefused as error:
        return KeptKnowledge(name=name, refusal=str(error))
    except OSError as error:
        return KeptKnowledge(name=name, refusal=f"it can't be opened: {error.strerror or error}")


def _path_of(entry: Any) -> str | None:
    """Return the path that an entry names; None where it is a text.

    A string is a path where it is one word with a known ending, as elizaOS' 1.x line has them.
    """
    if isinstance(entry, dict):
        return str(entry["path"] if isinstance(entry.get("path"), str) else entry["directory"])
    is_path = len(entry.split()) == 1 and PurePath(entry.strip()).suffix.lower() in ENDINGS
    return str(entry).strip() if is_path else None


def _faults(path: str, here: str, found: tuple[FoundFile, ...]) -> Iterator[CharacterFault]:
    expected = "a document in the folder of the character's file"
    if not found:
        yield CharacterFault(path=here, expected=expected, got=f"{json.dumps(path)}: there is none in it")
    for file in found:
        if file.refusal:
            yield CharacterFault(
                path=here, expected=expected, got=f"{json.dumps(file.shown)}: {file.refusal}"
            )


def _normal(path: str) -> str:
    return PurePath(os.path.normpath(path)).as_posix()
