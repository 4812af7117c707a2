"""Says what of a character's file has no effect here: unknown keys, and plugins that are not here.

It is kept all the same, but for what stands beside a wrapped character. `parse_character` looks for the keys; whoever
takes a file in tells the remarks.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, TypeAlias

from agents.characters.checks import KNOWN_KEYS, opened
from agents.characters.documents import WHOLE, CharacterDocument, JSONObject, place
from plugins.registry import unknown_plugins

MAX_NAMED = 20

_Shape: TypeAlias = Mapping[str, "_Shape | None"]
"""The keys of an object, each with the shape of the objects below it; None where these are free."""


def _keys(*names: str) -> dict[str, _Shape | None]:
    return dict.fromkeys(names)


_FOLDER = _keys("path", "directory", "shared")
_SOURCES: _Shape = {
    **_keys("path", "shared"),
    "directory": _FOLDER,
    "item": {**_keys("case"), "value": _FOLDER},
}
_CONTENT = _keys("text", "action", "actions", "providers")
# What elizaOS' messages may have besides, which means nothing in an example.
_CONTENT |= _keys("attachments", "channelType", "inReplyTo", "source", "target", "thought", "url")
_MESSAGE: _Shape = {**_keys("name", "user"), "content": _CONTENT}
_CONVERSATIONS: _Shape = {**_MESSAGE, "examples": _MESSAGE}
_CHARACTER: _Shape = {
    **_keys(*KNOWN_KEYS),
    "style": _keys("all", "chat", "post"),
    "messageExamples": _CONVERSATIONS,
    "message_examples": _CONVERSATIONS,
    "knowledge": _SOURCES,
    "documents": _SOURCES,
}
_AGENT = frozenset({"character", "id", "enabled", "status", "createdAt", "updatedAt"})
"""What elizaOS keeps of an agent beside its character."""


def unknown_keys(data: JSONObject) -> dict[str, str]:
    """Return the place of each key that nothing knows, with the key that it may be meant for, or "".

    `data` is a checked character file. Settings, secrets, templates and what other programs own are free.
    """
    character, path = opened(data)
    found = dict(_unknown(character, path, _CHARACTER))
    if character is not data:
        # Beside a wrapped character, where what would mean something within it is looked for.
        given = (key for key, value in data.items() if value is not None)
        beside = [key for key in given if key not in _AGENT and not key.startswith(("$", "_"))]
        found |= {place(WHOLE, key): place(path, key) if key in KNOWN_KEYS else "" for key in beside}
    return found


def remarks(document: CharacterDocument) -> list[str]:
    """Say what of the document has no effect here, a sentence each; at most 20 names in one."""
    said: list[str] = []
    if ignored := list(unknown_plugins(document.content.get("plugins") or ())):
        said.append(f"plugins that are not here are ignored: {_listed(ignored)}")
    if keys := document.unknown_keys:
        named = [f"{key} (is it {guess}?)" if guess else key for key, guess in keys.items()]
        said.append(f"keys that mean nothing here: {_listed(named)}")
    return said


def _unknown(value: Any, path: str, shape: _Shape) -> Iterator[tuple[str, str]]:
    """Yield the place of each unknown key of an object, or of the objects in a list, with its guess."""
    if isinstance(value, list):
        for position, entry in enumerate(value):
            yield from _unknown(entry, place(path, position), shape)
    elif isinstance(value, dict):
        for key, inner in value.items():
            below = shape.get(key)
            if below is not None:
                yield from _unknown(inner, place(path, key), below)
            elif key not in shape and not key.startswith(("$", "_")):
                yield place(path, key), next(iter(difflib.get_close_matches(key, shape, n=1)), "")


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - MAX_NAMED:,} more" if len(names) > MAX_NAMED else ""
    return ", ".join(names[:MAX_NAMED]) + more
