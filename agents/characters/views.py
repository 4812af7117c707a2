"""Shows a character to plugins and prompts: elizaOS' fields as tuples, no secrets. The pipeline calls it."""

from __future__ import annotations

from typing import Any

from agents.characters.documents import CharacterDocument, JSONObject
from agents.characters.secrets import split_secrets
from agents.cleaning import clean_words
from plugins.api import CharacterView


def character_view(document: CharacterDocument | JSONObject) -> CharacterView:
    """Return what a plugin sees of a document, or of its stored content."""
    content = document.content if isinstance(document, CharacterDocument) else document
    content, _secrets = split_secrets(content)
    return CharacterView(
        name=clean_words(content["name"]),
        username=content.get("username") or "",
        system=content.get("system") or "",
        bio=_texts(content.get("bio")),
        lore=_texts(content.get("lore")),
        topics=_texts(content.get("topics")),
        adjectives=_texts(content.get("adjectives")),
        style={key: _texts(lines) for key, lines in (content.get("style") or {}).items()},
        message_examples=tuple(
            tuple(_message(message) for message in conversation)
            for conversation in content.get("messageExamples") or ()
        ),
        post_examples=_texts(content.get("postExamples")),
        templates=content.get("templates") or {},
        settings=content.get("settings") or {},
    )


def _texts(value: Any) -> tuple[str, ...]:
    if isinstance(value, str):
        return (value,) if value else ()
    return tuple(str(entry) for entry in value) if isinstance(value, (list, tuple)) else ()


def _message(message: JSONObject) -> dict[str, str]:
    content = message["content"]
    shown = {"name": clean_words(message["name"]), "text": content.get("text") or ""}
    if content.get("actions"):
        shown["actions"] = ", ".join(content["actions"])
    return shown
