"""Which vector spaces there are, and the embedder of each: what every process goes by, read through the cache.

Whoever reads or writes vectors asks here for column and embedder. `memory.vector_spaces.changes` changes the rows. A
process that still knows an earlier state for a moment does no harm: a question carries model and column, the older
column is still there, and what is written goes by the model's name to the column of that model, or nowhere.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from django.core.cache import cache

from memory.databases import release_connection
from memory.embeddings.base import Embedder, EmbeddingError
from memory.embeddings.choice import EmbeddingChoice, embedding_choice, make_embedder
from memory.embeddings.remembering import RememberingEmbedder
from memory.models import VectorSpace
from plugins.registry import get_service

CACHE_KEY = "memory:vector-spaces"
KNOWN_FOR_SECONDS = 60
"""For so long, and once more so long, a process may go by what it read, should the cache's server lose the word of a
change. It then reads one statement a minute for the whole fleet.
"""

Column = VectorSpace.Column
State = VectorSpace.State

_Row = tuple[int, str, str, str, int, str, str, str, bool]
_FIELDS = ("id", "column", "name", "model", "dimensions", "kind", "base_url", "state")


@dataclass(frozen=True, kw_only=True)
class Space:
    """The vectors of one model. Where only the settings speak, `id` is 0 and `name` "", which is any model's."""

    column: str
    name: str
    choice: EmbeddingChoice
    state: str
    is_filled: bool = True
    id: int = 0

    @property
    def model_column(self) -> str:
        """Return the column in which each vector's model stands."""
        return f"{self.column}_model"


def known_spaces() -> tuple[Space, ...]:
    """Return the spaces that have a column, the one in use first; none where only the settings speak."""
    # Django's own caches have no `old_seconds`: who waits for the one who reads gets the value of before.
    found = cache.get_or_set(  # type: ignore[call-arg]
        CACHE_KEY, _read, timeout=KNOWN_FOR_SECONDS, old_seconds=KNOWN_FOR_SECONDS
    )
    return _spaces(found)


def forget_known_spaces() -> None:
    """Have every process read the spaces anew; to be called when a change has committed."""
    cache.delete(CACHE_KEY)


def used_space() -> Space:
    """Return the space in use: by its row, or by the settings where there is none.

    Raises: EmbeddingError where there is none and the settings contradict each other.
    """
    known = known_spaces()
    return known[0] if known and known[0].state == State.USED else chosen_space()


def chosen_space() -> Space:
    """Return the space that the settings choose, which is in use where there is no row.

    Raises: EmbeddingError where they contradict each other.
    """
    return Space(column=Column.FIRST.value, name="", choice=embedding_choice(), state=State.USED.value)


def used_column() -> str:
    """Return the column of the vectors in use."""
    known = known_spaces()
    return known[0].column if known and known[0].state == State.USED else Column.FIRST.value


def find_other_space() -> Space | None:
    """Return the space beside the one in use whose vectors are made, if there is one."""
    made = (State.FILLING, State.KEPT)
    return next((space for space in known_spaces() if space.state in made), None)


def find_space_of(name: str) -> Space | None:
    """Return the space that a vector of this embedder belongs to; None where no column is that model's (any more).

    Raises: EmbeddingError where there are no rows and the settings contradict each other.
    """
    known = known_spaces()
    if not known:
        return used_space()
    return next((space for space in known if space.name == name and space.state != State.REMOVING), None)


def choice_of(space: Space) -> EmbeddingChoice:
    """Return how the space's model is reached: by the settings where they choose that model, else by the row."""
    if not space.id or not _is_chosen(space.choice):
        return space.choice
    return embedding_choice()


def get_embedder(space: Space | None = None) -> Embedder:
    """Return this process' embedder, behind fronts that remember short texts and join concurrent calls into one.

    It is that of the space in use, or of the one given.
    Raises: EmbeddingError where the settings allow none.
    """
    space = space or used_space()
    choice = choice_of(space)
    if choice.kind == "remote" and space.id and not _is_chosen(space.choice):
        return _remote_embedder(choice, space.id)
    return make_embedder(choice)


def sealed_keys() -> list[str]:
    """Return the encrypted keys of all spaces that have a column, as they are stored."""
    rows = VectorSpace.objects.exclude(column=None).exclude(sealed_key="")
    return list(rows.values_list("sealed_key", flat=True))


def failing_spaces() -> list[tuple[str, str, int, str]]:
    """Return name and state of each space whose embedder failed, how often since it last answered, and why."""
    rows = VectorSpace.objects.exclude(column=None).exclude(error="")
    return list(rows.values_list("name", "state", "failure_count", "error"))


def _read() -> tuple[Any, ...]:
    rows = VectorSpace.objects.exclude(column=None).order_by("id").values_list(*_FIELDS, "filled_at")
    found = tuple((*row[:-1], row[-1] is not None) for row in rows)
    # Whoever asks is often about to wait for an embedder.
    release_connection()
    return found


@functools.lru_cache(maxsize=16)
def _spaces(rows: tuple[_Row, ...]) -> tuple[Space, ...]:
    spaces = [
        Space(
            id=id,
            column=column,
            name=name,
            choice=EmbeddingChoice(kind=kind, model=model, dimensions=dimensions, base_url=base_url),  # type: ignore[arg-type]
            state=state,
            is_filled=is_filled,
        )
        for id, column, name, model, dimensions, kind, base_url, state, is_filled in rows
    ]
    return tuple(sorted(spaces, key=lambda space: space.state != State.USED))


def _is_chosen(choice: EmbeddingChoice) -> bool:
    """Tell whether the settings choose this model. They say where it is then: a server may move."""
    try:
        chosen = embedding_choice()
    except EmbeddingError:
        return False
    return (chosen.model, chosen.dimensions) == (choice.model, choice.dimensions)


@functools.lru_cache(maxsize=4)
def _remote_embedder(choice: EmbeddingChoice, space_id: int) -> Embedder:
    # The key goes through no cache: it is read once a process.
    sealed = VectorSpace.objects.values_list("sealed_key", flat=True).get(pk=space_id)
    release_connection()
    embedder: Embedder = get_service("remote_embedders")(choice, sealed)
    return RememberingEmbedder(embedder, source=choice.base_url)
