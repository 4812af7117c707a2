"""Vectors on their way to PostgreSQL: how they are written, and the size that the settings promise.

`memory.memories`, `memory.retrieval` and `memory.writes` call it.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from memory.embeddings.choice import embedding_choice


class UnexpectedVectorSize(ValueError):
    """A vector is not of the size that the settings promise."""


def check_size(vector: Sequence[float], model: str) -> None:
    """Refuse a vector that no index would find.

    Raises: UnexpectedVectorSize.
    """
    promised = embedding_choice().dimensions
    if len(vector) != promised:
        raise UnexpectedVectorSize(
            f"A vector of {model or 'no model'} has {len(vector)} numbers, where the settings promise "
            f"{promised}: set EMBEDDING_MODEL and EMBEDDING_DIMENSIONS to what the embedder makes."
        )


def vector_text(vector: Sequence[float]) -> str:
    """Write the vector as pgvector reads it. Seven digits are all that its single floats hold."""
    return _format(len(vector)) % tuple(vector)


@functools.lru_cache(maxsize=8)
def _format(dimensions: int) -> str:
    return "[" + ",".join(["%.7g"] * dimensions) + "]"
