"""The size of vectors: that its index stands, and that the store and the settings mean the same model.

Django calls `ensure_vector_index` after a migration; `doctor` and the system checks call `check_dimensions`.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connection, connections, transaction

from memory.embeddings.base import EmbeddingError
from memory.embeddings.choice import EmbeddingChoice, embedding_choice
from memory.stores.postgres import VectorTooLarge, create_vector_index, has_vector_index, indexed_field


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something that is wrong with the vectors, and its cure. A `fatal` one keeps memories from surfacing."""

    id: str
    message: str
    cure: str
    is_fatal: bool = True


def ensure_vector_index(*, using: str = DEFAULT_DB_ALIAS, verbosity: int = 1, **_rest: Any) -> None:
    """Create the index for vectors of the size that the settings choose, unless it stands."""
    if using != DEFAULT_DB_ALIAS or not _has_table():
        return
    try:
        dimensions = embedding_choice().dimensions
        if not has_vector_index(dimensions):
            create_vector_index(dimensions)
    except (EmbeddingError, VectorTooLarge) as error:
        # The checks that come before a migration have refused these settings; here they were skipped.
        if verbosity:
            print(f"No index for vectors was made: {error}")  # noqa: T201


def check_dimensions() -> list[Problem]:
    """List what is wrong with the vectors in the store by the settings. It reads the whole table."""
    try:
        choice = embedding_choice()
        indexed_field(choice.dimensions)
    except (EmbeddingError, VectorTooLarge) as error:
        cure = "Set EMBEDDING_BASE_URL, EMBEDDING_MODEL and EMBEDDING_DIMENSIONS to what belongs together."
        return [Problem(id="memory.E002", message=str(error), cure=cure)]
    if not _has_table():
        return []
    problems = [_foreign(choice, *row) for row in _stored_models() if not _is_of(choice, row[0], row[1])]
    if not has_vector_index(choice.dimensions):
        problems.append(
            Problem(
                id="memory.W001",
                message=f"There is no index for vectors of {choice.dimensions} numbers, so recall is slow.",
                cure="Run: python manage.py migrate",
                is_fatal=False,
            )
        )
    return problems


def _is_of(choice: EmbeddingChoice, model: str, dimensions: int) -> bool:
    # An embedder that can make several sizes has the size in its name.
    return dimensions == choice.dimensions and model in (choice.model, f"{choice.model}-{dimensions}")


def _foreign(choice: EmbeddingChoice, model: str, dimensions: int, count: int) -> Problem:
    return Problem(
        id="memory.E001",
        message=(
            f"{count} memories have vectors of {model} ({dimensions} numbers), but the settings choose "
            f"{choice.model} ({choice.dimensions}): those memories would never be recalled."
        ),
        # The name may have the size added to it, so it is not what EMBEDDING_MODEL was.
        cure=(
            f"Set EMBEDDING_MODEL back to what it was, and EMBEDDING_DIMENSIONS to {dimensions}; or have the "
            f"vectors made anew: python manage.py clear_embeddings --model {shlex.quote(model)} --yes"
        ),
    )


def _has_table() -> bool:
    return "memory_memory" in connections[DEFAULT_DB_ALIAS].introspection.table_names()


def _stored_models() -> list[tuple[str, int, int]]:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 0")
        cursor.execute(
            "SELECT embedding_model, vector_dims(embedding), count(*) FROM memory_memory"
            " WHERE embedding IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2"
        )
        return [(model, dimensions, count) for model, dimensions, count in cursor.fetchall()]
