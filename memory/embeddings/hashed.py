"""Vectors from hashed words: for tests, and where `EMBEDDING_MODEL=hashed` says that words shall do.

Texts that share words lie near each other; of meaning it knows nothing. `memory.embeddings.choice` makes it.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Sequence
from functools import lru_cache

from memory.scripts import MARKS

WORD = re.compile(rf"(?:\w[{MARKS}]*)+")


class HashedEmbedder:
    """Counts words into a vector of unit length, each at places that its hash chooses."""

    def __init__(self, *, dimensions: int = 384) -> None:
        self.name = f"hashed-{dimensions}"
        self.dimensions = dimensions

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Embed the texts, in order.

        Shape: len(texts) lists of `dimensions` floats, of unit length.
        """
        return [self._vector(text) for text in texts]

    def _vector(self, text: str) -> list[float]:
        vector = [0.0] * self.dimensions
        # A text without a word still needs a direction: a vector of zeros has none.
        for word in WORD.findall(text.lower()) or [""]:
            for place, sign in _places(word, self.dimensions):
                vector[place] += sign
        length = math.sqrt(sum(value * value for value in vector))
        if length == 0.0:
            vector[0] = length = 1.0
        return [value / length for value in vector]


@lru_cache(maxsize=50_000)
def _places(word: str, dimensions: int) -> tuple[tuple[int, float], ...]:
    """Choose four places and signs, so that two words rarely fall together entirely.

    Source: feature hashing (Weinberger and others, 2009).
    """
    digest = hashlib.blake2b(word.encode("utf-8", "replace"), digest_size=16).digest()
    numbers = (int.from_bytes(digest[start : start + 4], "little") for start in range(0, 16, 4))
    return tuple(((number >> 1) % dimensions, 1.0 if number & 1 else -1.0) for number in numbers)
