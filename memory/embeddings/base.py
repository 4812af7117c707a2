"""What turns text into vectors: the contract of the `embedder` service."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

PROBE = "hello " * 20
"""Tells whether an embedder answers: too long to be remembered, so that it is the embedder itself that does."""


class EmbeddingError(Exception):
    """The embedder could not be reached, or answered something that is no vector.

    `quotes_others` tells that the text has a server's own words, which may repeat what it was asked.
    """

    def __init__(self, message: str, *, quotes_others: bool = False) -> None:
        super().__init__(message)
        self.quotes_others = quotes_others


class Embedder(Protocol):
    """Makes vectors of one model. `name` is kept beside each vector, so that models never mix."""

    name: str
    dimensions: int

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Embed the texts, in order.

        Shape: len(texts) lists of `dimensions` floats, of unit length.
        Raises: EmbeddingError.
        """
