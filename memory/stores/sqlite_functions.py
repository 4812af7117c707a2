"""What the triggers of SQLite's search call: a text's words, its size, and a vector as numbers.

Plain Python, without models: `eliza_site.sqlite` tells them to each new connection, also before Django is set up.
"""

from __future__ import annotations

import hashlib
import json
import re
import sqlite3

import numpy as np

from memory.scripts import ANY_WORD, SPACELESS
from memory.stores.sqlite_words import LITTLE_WORDS

MOST_CHARACTERS = 100_000
"""So much of a text is searched, as in PostgreSQL."""
_SIGN = re.compile(f"([{SPACELESS}])")
_WORD = re.compile(ANY_WORD)

_NUMBER = 1
"""Of the functions' code: one more with each change of what they return. What they are told below counts by itself."""
_TOLD = (MOST_CHARACTERS, _SIGN.pattern, _WORD.pattern, sorted(LITTLE_WORDS))
VERSION = f"{_NUMBER}-{hashlib.sha256(repr(_TOLD).encode()).hexdigest()[:12]}"
"""What an index was filled by; `sqlite_schema.ensure_search` makes one of another version anew."""


def words_of(text: str | None) -> str:
    """Return a text as it is indexed: with each sign of a script without spaces as a word of its own."""
    return _SIGN.sub(r" \1 ", (text or "")[:MOST_CHARACTERS])


def size_of(text: str | None) -> int:
    """Count the different words of a text that say something."""
    return len(set(_WORD.findall(words_of(text).lower())) - LITTLE_WORDS)


def vector_of(written: str | bytes | None) -> bytes | None:
    """Return a vector of length 1 as single floats; None where there is none, or it has no direction.

    `written` is in pgvector's form: as text, or in binary with a head of four bytes, its numbers big-endian.
    """
    if not written:
        return None
    if isinstance(written, bytes):
        numbers = np.frombuffer(written, ">f4", offset=4).astype(np.float64)
    else:
        numbers = np.array(json.loads(written), dtype=np.float64)
    length = float(np.linalg.norm(numbers))
    return (numbers / length).astype("<f4").tobytes() if length > 0.0 else None


def register_functions(connection: sqlite3.Connection) -> None:
    """Make known to a new connection what the triggers call."""
    for name, function in (
        ("memory_words", words_of),
        ("memory_size", size_of),
        ("memory_vector", vector_of),
    ):
        connection.create_function(name, 1, function, deterministic=True)
