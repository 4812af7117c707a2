"""What a character knows, where it was saved in the admin: the words alone. Files are `load_character`'s to read."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest

from agents.characters import find_knowledge, keep_knowledge, stored_document
from agents.models import Character


def keep_words(request: HttpRequest, character: Character) -> None:
    """Let the character's agents know what its document says in words, and tell what was left alone."""
    knowledge, _ = find_knowledge(stored_document(character), None)
    for piece in keep_knowledge(character, knowledge):
        if piece.refusal:
            messages.warning(request, f"What {character.name} knows was refused: {piece.refusal}.")
    if knowledge.named:
        messages.info(
            request,
            f"Files that {character.name} names as its knowledge ({', '.join(knowledge.named)}) are read by the"
            " command load_character alone; documents can be uploaded.",
        )
