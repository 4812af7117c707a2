"""The size of vectors: that its index stands, and that the store, its vector spaces and the settings mean one model.

Django calls `ensure_vector_index` after a migration; `doctor` and the system checks call `check_dimensions`.
"""

from __future__ import annotations

import shlex
from dataclasses import dataclass
from typing import Any

from django.db import DEFAULT_DB_ALIAS, connection, connections, transaction

from memory.embeddings.base import EmbeddingError
from memory.embeddings.choice import EmbeddingChoice, embedding_choice
from memory.embeddings.spaces import Column, Space, State, chosen_space, known_spaces
from memory.models import VectorSpace
from memory.stores.indexes import create_vector_index, has_vector_index
from memory.stores.postgres import VectorTooLarge, indexed_field


@dataclass(frozen=True, kw_only=True)
class Problem:
    """Something that is wrong with the vectors, and its cure. A `fatal` one keeps memories from surfacing."""

    id: str
    message: str
    cure: str
    is_fatal: bool = True


def ensure_vector_index(*, using: str = DEFAULT_DB_ALIAS, verbosity: int = 1, **_rest: Any) -> None:
    """Create the index for the vectors in use, of the size that the settings choose before there are any spaces."""
    if using != DEFAULT_DB_ALIAS or not _has_table():
        return
    try:
        used = _used() or chosen_space()
        if not has_vector_index(used.choice.dimensions, used.column):
            create_vector_index(used.choice.dimensions, used.column)
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
    used = _used()
    if used is None:
        foreign = [
            _foreign(choice, *row) for row in _stored_models(Column.FIRST) if not _is_of(choice, *row[:2])
        ]
        return [*foreign, *_without_index(choice.dimensions, Column.FIRST.value)]
    stored = _stored_models(used.column)
    strange = [row for row in stored if row[:2] != (used.name, used.choice.dimensions)]
    return [
        *_other_settings(choice, used),
        *(_stray(used, *row) for row in strange),
        *_without_index(used.choice.dimensions, used.column),
    ]


def _used() -> Space | None:
    """Return the space in use, where it has a row."""
    if not _has_table("memory_vectorspace"):
        return None
    return next((space for space in known_spaces() if space.state == State.USED), None)


def _other_settings(choice: EmbeddingChoice, used: Space) -> list[Problem]:
    """Tell where the settings name another model than the fleet uses. That of a space is a matter of one line."""
    meant = {"model": choice.model, "dimensions": choice.dimensions}
    if meant == {"model": used.choice.model, "dimensions": used.choice.dimensions}:
        return []
    chosen = f"The settings choose {choice.model} ({choice.dimensions} numbers)"
    if VectorSpace.objects.filter(**meant).exists():
        return [
            Problem(
                id="memory.W002",
                message=f"{chosen}, but the fleet uses {used.choice.model} ({used.choice.dimensions}).",
                cure=f"Set {used.choice.settings}",
                is_fatal=False,
            )
        ]
    return [
        Problem(
            id="memory.E001",
            message=(
                f"{chosen}, but the vectors that the fleet uses are of {used.choice.model} "
                f"({used.choice.dimensions}), and no others were ever made."
            ),
            cure=(
                f"Set {used.choice.settings}; the other model is begun beside it with: python manage.py "
                f"reembed_memories --model {shlex.quote(choice.model)}"
            ),
        )
    ]


def _stray(used: Space, model: str, dimensions: int, count: int) -> Problem:
    return Problem(
        id="memory.E001",
        message=(
            f"{count} memories have vectors of {model} ({dimensions} numbers), where those of {used.name} "
            f"({used.choice.dimensions}) are in use: they would never be recalled."
        ),
        cure=f"Have them made anew: python manage.py clear_embeddings --model {shlex.quote(model)} --yes",
    )


def _without_index(dimensions: int, column: str) -> list[Problem]:
    if has_vector_index(dimensions, column):
        return []
    return [
        Problem(
            id="memory.W001",
            message=f"There is no index for vectors of {dimensions} numbers, so recall is slow.",
            cure="Run: python manage.py migrate",
            is_fatal=False,
        )
    ]


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
            f"Set EMBEDDING_MODEL back to what it was, and EMBEDDING_DIMENSIONS to {dimensions}; then change the "
            f"model while recall goes on: python manage.py reembed_memories --model {shlex.quote(choice.model)}. "
            "Or do without those vectors until all are made anew: python manage.py clear_embeddings --model "
            f"{shlex.quote(model)} --yes"
        ),
    )


def _has_table(name: str = "memory_memory") -> bool:
    return name in connections[DEFAULT_DB_ALIAS].introspection.table_names()


def _stored_models(column: str) -> list[tuple[str, int, int]]:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 0")
        cursor.execute(
            f"SELECT {column}_model, vector_dims({column}), count(*) FROM memory_memory"  # noqa: S608
            f" WHERE {column} IS NOT NULL GROUP BY 1, 2 ORDER BY 1, 2"
        )
        return [(model, dimensions, count) for model, dimensions, count in cursor.fetchall()]
