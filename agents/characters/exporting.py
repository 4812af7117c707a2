"""Gives a character back as a file of elizaOS' 1.x shape; the export command and the admin call it."""

from __future__ import annotations

import copy

from agents.characters.documents import CharacterDocument, JSONObject
from agents.characters.secrets import join_secrets
from agents.characters.shapes import V1_KEYS


def export_character(document: CharacterDocument, include_secrets: bool = False) -> JSONObject:
    """Return the character as elizaOS' 1.x JSON, with the keys that 1.x doesn't know at its end."""
    content = copy.deepcopy(document.content)
    if include_secrets:
        content = join_secrets(content, copy.deepcopy(dict(document.secrets)))
    known = {key: content[key] for key in V1_KEYS if key in content}
    return known | {key: content[key] for key in sorted(content) if key not in known}
