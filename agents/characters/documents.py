"""What a character file is once it is read, and what is wrong with one that isn't a character."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

JSONObject = dict[str, Any]

WHOLE = "$"
_PLAIN_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_SHOWN_CHARACTERS = 40
_LONGEST_KEY = 100


@dataclass(frozen=True, kw_only=True)
class CharacterDocument:
    """A character in elizaOS' 1.x shape, unknown keys kept.

    `secrets` mirrors the places that its values were taken from: `{"settings": {"secrets": {…}}}`. `unknown_keys` are
    the places of keys in its file that mean nothing here, each with a key that may be meant, or "".
    """

    content: JSONObject
    secrets: JSONObject = field(default_factory=dict, repr=False)
    source: str = ""
    unknown_keys: Mapping[str, str] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """Return the character's name."""
        return str(self.content["name"])


@dataclass(frozen=True, kw_only=True)
class CharacterFault:
    """One thing that is wrong: where it stands, what belongs there, and what was found."""

    path: str
    expected: str
    got: str

    def __str__(self) -> str:
        return f"{self.path}: expected {self.expected}, got {self.got}"


class CharacterFileError(ValueError):
    """The file is no character; `faults` has everything that is wrong with it."""

    def __init__(self, source: str, faults: Sequence[CharacterFault]) -> None:
        super().__init__("\n".join(f"{source}: {fault}" for fault in faults))
        self.source = source
        self.faults = tuple(faults)


def fault(path: str, expected: str, value: object) -> CharacterFault:
    """Make a fault that shows the value that was found."""
    return CharacterFault(path=path, expected=expected, got=describe(value))


def describe(value: object) -> str:
    """Show a JSON value in a few characters."""
    if isinstance(value, dict):
        return "an object"
    if isinstance(value, list):
        return f"a list of {len(value)}"
    text = json.dumps(value, default=repr)
    return text if len(text) <= _SHOWN_CHARACTERS else f"{text[:_SHOWN_CHARACTERS]}…"


def describe_kind(value: object) -> str:
    """Name the kind of a JSON value that must not be shown."""
    kinds = {str: "text", bool: "true or false", int: "a number", float: "a number", list: "a list"}
    return "null" if value is None else kinds.get(type(value), "an object")


def place(path: str, key: str | int) -> str:
    """Return the path of what stands at `key` below `path`."""
    if isinstance(key, int):
        return f"{'' if path == WHOLE else path}[{key}]"
    if len(key) > _LONGEST_KEY:
        key = f"{key[:_LONGEST_KEY]}..."
    if not _PLAIN_KEY.fullmatch(key):
        return f"{path}[{json.dumps(key)}]"
    return key if path == WHOLE else f"{path}.{key}"
