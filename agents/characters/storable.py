"""Finds what JSON allows and a database doesn't store; `check_character` asks it before anything else."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator
from typing import Any

from agents.characters.documents import CharacterFault, describe, place

MAX_DEPTH = 64
_SURROGATE = re.compile("[\ud800-\udfff]")


class RepeatedKeys(dict[str, Any]):
    """A JSON object that named some of its keys more than once."""

    def __init__(self, pairs: list[tuple[str, Any]]) -> None:
        super().__init__(pairs)
        counts = Counter(key for key, _value in pairs)
        self.repeated = sorted(key for key, count in counts.items() if count > 1)


def find_unstorable(value: object, path: str, depth: int = 0) -> Iterator[CharacterFault]:
    """Yield a fault for each text, number or nesting below `path` that can't be stored as it is."""
    if depth > MAX_DEPTH:
        yield CharacterFault(path=path, expected=f"at most {MAX_DEPTH} levels", got="deeper nesting")
    elif isinstance(value, dict):
        for key in getattr(value, "repeated", ()):
            yield CharacterFault(path=place(path, key), expected="each key once", got="the key again")
        for key, inner in value.items():
            yield from _text_faults(key, place(path, key))
            yield from find_unstorable(inner, place(path, key), depth + 1)
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from find_unstorable(inner, place(path, position), depth + 1)
    elif isinstance(value, str):
        yield from _text_faults(value, path)
    elif isinstance(value, float) and not math.isfinite(value):
        yield CharacterFault(path=path, expected="a finite number", got=describe(value))


def _text_faults(text: str, path: str) -> Iterator[CharacterFault]:
    if "\0" in text:
        yield CharacterFault(
            path=path, expected="text without NUL", got=f"\\u0000 at character {text.index(chr(0)) + 1}"
        )
    lone = _SURROGATE.search(text)
    if lone:
        yield CharacterFault(
            path=path,
            expected="whole characters (half of a surrogate pair was cut off)",
            got=f"a lone \\u{ord(lone.group()):04x} at character {lone.start() + 1}",
        )
