"""Vectors on their way to PostgreSQL: how they are written, where to, and the size that their space promises.

`memory.memories`, `memory.retrieval` and `memory.writes` call it.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence

from memory.embeddings.spaces import find_space_of


class UnexpectedVectorSize(ValueError):
    """A vector is not of the size that the settings, or its vector space, promise."""


def column_for(vector: Sequence[float], model: str) -> str | None:
    """Return the column that a vector of this model belongs into; None where no column is that model's.

    Raises: UnexpectedVectorSize, as no index would find it.
    """
    space = find_space_of(model)
    if space is None:
        return None
    promised = space.choice.dimensions
    if len(vector) != promised:
        whose = "the settings promise" if not space.id else "its vector space has"
        raise UnexpectedVectorSize(
            f"A vector of {model or 'no model'} has {len(vector)} numbers, where {whose} "
            f"{promised}: set EMBEDDING_MODEL and EMBEDDING_DIMENSIONS to what the embedder makes."
        )
    return space.column


def vector_text(vector: Sequence[float]) -> str:
    """Write the vector as pgvector reads it. Seven digits are all that its single floats hold."""
    return _format(len(vector)) % tuple(vector)


@functools.lru_cache(maxsize=8)
def _format(dimensions: int) -> str:
    return "[" + ",".join(["%.7g"] * dimensions) + "]"
