"""Parts a character's secrets from its persona, and puts them back; reading, saving and exporting call it.

Secret are `secrets`, `settings.secrets`, and any text whose key is named like one (`OPENAI_API_KEY`,
`botToken`). They are kept as a tree with the places that they were taken from.
"""

from __future__ import annotations

import re
from typing import Any

from agents.characters.documents import JSONObject

_PERSONA_KEYS = {
    "name",
    "system",
    "bio",
    "lore",
    "messageExamples",
    "postExamples",
    "topics",
    "adjectives",
    "style",
    "knowledge",
    "plugins",
    "templates",
}
_WORD_START = re.compile(r"(?<=[a-z0-9])(?=[A-Z])")
_SECRET_NAME = re.compile(
    r"(^|_)(secret|password|passwd|token|mnemonic|apikey|(api|private|access|secret|signing)_?key)$"
)


def split_secrets(character: JSONObject) -> tuple[JSONObject, JSONObject]:
    """Return the character without its secrets, and the secrets."""
    persona = {key: value for key, value in character.items() if key in _PERSONA_KEYS}
    rest, secrets = _split({key: value for key, value in character.items() if key not in _PERSONA_KEYS})
    return {**persona, **rest}, secrets


def join_secrets(character: JSONObject, secrets: JSONObject) -> JSONObject:
    """Return the character with its secrets where they were."""
    joined = dict(character)
    for key, value in secrets.items():
        below = joined.get(key)
        joined[key] = (
            join_secrets(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
        )
    return joined


def update_secrets(stored: JSONObject, given: JSONObject) -> JSONObject:
    """Return the stored secrets with the given ones over them.

    A file without secrets forgets none: `null` forgets one, and an empty text is a blank that nobody filled.
    """
    updated = dict(stored)
    for key, value in given.items():
        before = updated.get(key)
        if isinstance(value, dict):
            updated[key] = update_secrets(before if isinstance(before, dict) else {}, value)
        elif value is None:
            updated.pop(key, None)
        elif value != "" or before is None:
            updated[key] = value
    return {key: value for key, value in updated.items() if value not in ({}, None)}


def _split(values: JSONObject) -> tuple[JSONObject, JSONObject]:
    plain: JSONObject = {}
    secrets: JSONObject = {}
    for key, value in values.items():
        if _is_secret(key, value):
            if value != {}:
                secrets[key] = value
        elif isinstance(value, dict):
            plain[key], below = _split(value)
            if below:
                secrets[key] = below
        else:
            plain[key] = value
    return plain, secrets


def _is_secret(key: str, value: Any) -> bool:
    if key == "secrets":
        return isinstance(value, dict)
    if isinstance(value, list):
        return any(_split(entry)[1] for entry in value if isinstance(entry, dict))
    name = _WORD_START.sub("_", key).replace("-", "_").lower()
    return isinstance(value, str) and value != "" and _SECRET_NAME.search(name) is not None
