"""A front for any embedder that remembers the vectors of short texts in the cache: people say "hello" again and again.

`memory.embeddings.choice` puts it before every embedder that costs something. A vector follows from model and text
alone, so it needs no invalidation.
"""

from __future__ import annotations

import hmac
from array import array
from collections.abc import Sequence
from hashlib import sha256

from django.conf import settings
from django.core.cache import cache

from memory.embeddings.base import Embedder

LONGEST_CHARACTERS = 64
"""Longer texts hardly ever come twice, and would push out those that do."""
EXPIRES_AFTER_SECONDS = 3600
"""As long as what was said lies in a room's stream: a vector says something of its text."""


class RememberingEmbedder:
    """Asks the cache before the embedder, for texts of at most 64 characters. Threads may share it.

    `source` tells apart servers that call different models by one name.
    """

    def __init__(self, embedder: Embedder, *, source: str = "") -> None:
        self.name = embedder.name
        self.dimensions = embedder.dimensions
        self._embedder = embedder
        self._source = source

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Embed the texts, in order; those that were asked for lately are not made again.

        Shape: len(texts) lists of `dimensions` floats, of unit length.
        Raises: EmbeddingError.
        """
        keys = {text: self._key(text) for text in texts if len(text) <= LONGEST_CHARACTERS}
        if not keys:
            return self._embedder.embed(texts)
        found = cache.get_many(keys.values())
        known = {text: read for text, key in keys.items() if (read := self._read(found.get(key)))}
        unknown = [text for text in dict.fromkeys(texts) if text not in known]
        if unknown:
            known |= dict(zip(unknown, self._embedder.embed(unknown), strict=True))
            made = {keys[text]: array("f", known[text]).tobytes() for text in unknown if text in keys}
            if made:
                cache.set_many(made, timeout=EXPIRES_AFTER_SECONDS)
        return [known[text] for text in texts]

    def _key(self, text: str) -> str:
        """Name the text's vector so that nobody who reads the cache can guess the text."""
        said = f"{self._source}\n{self.name}\n{self.dimensions}\n{text}".encode(errors="surrogatepass")
        return f"embedding:{hmac.new(settings.SECRET_KEY.encode(), said, sha256).hexdigest()}"

    def _read(self, data: object) -> list[float] | None:
        """Return the vector as it was made: models make numbers of 32 bits, and no more is stored of them."""
        if not isinstance(data, bytes) or len(data) != self.dimensions * 4:
            return None
        return array("f", data).tolist()
