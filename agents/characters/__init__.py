"""Character files in and out: elizaOS' JSON of its 0.25, 1.x and 2.x lines is read, its 1.x shape is kept.

The commands and the admin read with `parse_character`, save with `save_character` and give back with
`export_character`; the pipeline sees a character through `character_view`.
"""

from agents.characters.checks import check_character
from agents.characters.documents import CharacterDocument, CharacterFault, CharacterFileError
from agents.characters.exporting import export_character
from agents.characters.files import CharacterFiles, read_character_files
from agents.characters.knowledge import KeptKnowledge, find_knowledge, keep_knowledge
from agents.characters.reading import parse_character
from agents.characters.remarks import remarks
from agents.characters.saving import (
    CharacterConflictError,
    SavedCharacter,
    UnknownCharacterError,
    get_character,
    save_character,
    save_characters,
    stored_document,
)
from agents.characters.views import character_view

__all__ = [
    "CharacterConflictError",
    "CharacterDocument",
    "CharacterFault",
    "CharacterFileError",
    "CharacterFiles",
    "KeptKnowledge",
    "SavedCharacter",
    "UnknownCharacterError",
    "character_view",
    "check_character",
    "export_character",
    "find_knowledge",
    "get_character",
    "keep_knowledge",
    "parse_character",
    "read_character_files",
    "remarks",
    "save_character",
    "save_characters",
    "stored_document",
]
