"""Vector spaces for tests: hashed models of two sizes. Tests that use them need real transactions, for the indexes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

from django.db import connection, transaction

from memory.embeddings.choice import EmbeddingChoice
from memory.embeddings.spaces import forget_known_spaces, known_spaces
from memory.models import VectorSpace
from memory.stores.indexes import create_vector_index, vector_index_name
from memory.vector_spaces import changes

_Result = TypeVar("_Result")


def hashed(dimensions: int) -> EmbeddingChoice:
    """Choose the hashed model of this size."""
    return EmbeddingChoice(kind="hashed", model="hashed", dimensions=dimensions)


def told(change: Callable[..., _Result], *given: Any, **named: Any) -> _Result:
    """Make a change in a transaction of its own."""
    with transaction.atomic():
        return change(*given, **named)


def usual_indexes() -> None:
    """Drop the indexes that a test had made, and make the one that all other tests find."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT indexname FROM pg_indexes WHERE tablename = 'memory_memory'"
            " AND (indexname LIKE '%\\_hnsw' OR indexname LIKE 'memory\\_without\\_%')"
        )
        for (name,) in cursor.fetchall():
            if name != vector_index_name(384):
                cursor.execute(f"DROP INDEX {name}")
    create_vector_index(384)


def begin(dimensions: int = 64) -> VectorSpace:
    """Begin the hashed model of this size beside the one in use."""
    space, _is_new = told(
        changes.begin,
        hashed(dimensions),
        name=f"hashed-{dimensions}",
        sealed_key="",
        sealed_used_key="",
    )
    return space


def switch(*, back: bool = False) -> VectorSpace:
    """Let the other space be used."""
    return told(changes.switch, back=back)


def remove(*, gives_up: bool = False) -> int:
    """Remove the other space, and return how many vectors went."""
    space = told(changes.begin_removal, gives_up=gives_up)
    return sum(changes.remove(space))


def states() -> dict[str, tuple[str, str]]:
    """Return the column and the state of each space, as a process reads them."""
    forget_known_spaces()
    return {space.name: (space.column, space.state) for space in known_spaces()}
