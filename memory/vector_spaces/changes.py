"""Changes of the vector spaces: another model is begun, switched to, and its predecessor removed.

`agents.memories.reembedding` calls these, with the word for the audit. What every process goes by is read in
`memory.embeddings.spaces`; `memory.vector_spaces.filling` makes the vectors.
"""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator
from dataclasses import dataclass

from django.db import connection, transaction
from django.db.models.functions import Now

from memory.embeddings.choice import EmbeddingChoice
from memory.embeddings.spaces import Column, State, forget_known_spaces, get_embedder, used_space
from memory.models import Memory, VectorSpace
from memory.stores.indexes import (
    drop_indexes,
    is_usable,
    share_built,
    vector_index_name,
)
from memory.stores.postgres import indexed_field
from memory.vector_spaces.dimensions import check_dimensions
from memory.vector_spaces.pending import clear_vectors

NAME_MAX = 100
PATIENCE_SECONDS = 10.0
"""So long a switch waits for the few that were said just before it."""
PATIENT_UP_TO, COUNTED_UP_TO = 500, 10_000
SETTLED_SECONDS = 10.0
"""So long after a switch nothing is removed: until every process has heard of it (`docs/cache.md`), and turns that
began before are past their recall.
"""
_LOOK_SECONDS = 0.25


class CannotChange(Exception):
    """The vector spaces do not allow this now; the text says why, and the cure."""


@dataclass(frozen=True, kw_only=True)
class Progress:
    """A space and how far its vectors are; what its model refuses is not missing.

    Unit: `rate` in vectors a second, `built` from 0 to 1.
    """

    space: VectorSpace
    total: int
    missing: int
    has_index: bool
    built: float | None
    is_at_work: bool

    @property
    def is_ready(self) -> bool:
        """Tell whether everything has its vector, and the index stands."""
        return not self.missing and self.has_index

    @property
    def seconds_left(self) -> float | None:
        """Return how long the rest takes at the rate of lately; None where nobody knows."""
        return self.missing / self.space.rate if self.space.rate and self.missing else None


def begin(
    choice: EmbeddingChoice, *, name: str, sealed_key: str, sealed_used_key: str
) -> tuple[VectorSpace, bool]:
    """Begin a space for another model beside the one in use; tell whether it is new.

    `name` is its embedder's. To begin again what is being filled changes nothing. To be called in a transaction.
    Raises: CannotChange; VectorTooLarge.
    """
    if connection.vendor != "postgresql":
        raise CannotChange(
            "Vectors of two models stand side by side in PostgreSQL alone. On SQLite, set EMBEDDING_MODEL to the new "
            "one, and have all made anew: python manage.py clear_embeddings --model (the former) --yes"
        )
    indexed_field(choice.dimensions)
    if not name or len(name) > NAME_MAX:
        raise CannotChange(f"The model's name {name!r} is not of 1 to {NAME_MAX} characters.")
    _lock()
    rows = list(VectorSpace.objects.exclude(column=None))
    used = _row_in_use(rows, sealed_used_key)
    if used.name == name:
        raise CannotChange(
            f"{name} is in use already. Where only its server moved, set EMBEDDING_BASE_URL; nothing is made anew."
        )
    other = next((row for row in rows if row.pk != used.pk), None)
    if other is not None:
        if other.name == name and other.state == State.FILLING:
            return other, False
        raise CannotChange(f"There are two already, {used.name} and {other.name}: {_cure_of_two(other)}")
    column = next(column.value for column in Column if column != used.column)
    made = VectorSpace.objects.create(
        column=column,
        name=name,
        model=choice.model,
        dimensions=choice.dimensions,
        kind=choice.kind,
        base_url=choice.base_url,
        sealed_key=sealed_key,
        state=State.FILLING,
    )
    transaction.on_commit(forget_known_spaces)
    return made, True


def _row_in_use(rows: list[VectorSpace], sealed_key: str) -> VectorSpace:
    """Return the row of the space in use; where only the settings spoke, it is made of what they say now."""
    for row in rows:
        if row.state == State.USED:
            return row
    problems = [problem for problem in check_dimensions() if problem.is_fatal]
    if problems:
        raise CannotChange(f"{problems[0].message} {problems[0].cure}")
    space = used_space()
    return VectorSpace.objects.create(
        column=space.column,
        name=get_embedder(space).name,
        model=space.choice.model,
        dimensions=space.choice.dimensions,
        kind=space.choice.kind,
        base_url=space.choice.base_url,
        sealed_key=sealed_key,
        state=State.USED,
        filled_at=Now(),
    )


def _cure_of_two(other: VectorSpace) -> str:
    match other.state:
        case State.FILLING:
            return f"--switch to {other.name}, or give it up with --cancel."
        case State.KEPT:
            return f"remove {other.name} with --finish first."
    return f"{other.name} is half removed: --finish goes on with it."


def find_other() -> VectorSpace | None:
    """Return the row of the space beside the one in use, whatever its state."""
    return VectorSpace.objects.exclude(column=None).exclude(state=State.USED).first()


def switch(*, back: bool = False) -> VectorSpace:
    """Let the fleet use the other space from now on; return its row. To be called in a transaction.

    `back` is for undoing a switch. What has no vector there is found by its words until it has.
    Raises: CannotChange.
    """
    _lock()
    other = _other_to_switch_to(back)
    free = {"leased_until": None, "lease_token": ""}
    VectorSpace.objects.filter(state=State.USED).update(state=State.KEPT, **free)
    VectorSpace.objects.filter(pk=other.pk).update(state=State.USED, switched_at=Now(), error="", **free)
    transaction.on_commit(forget_known_spaces)
    other.refresh_from_db()
    return other


def _other_to_switch_to(back: bool) -> VectorSpace:
    other = find_other()
    if other is None:
        raise CannotChange(
            "There is nothing to go back to: no other model has vectors here."
            if back
            else "There is no other space: begin one with --model."
        )
    if other.state == State.REMOVING:
        raise CannotChange(f"The vectors of {other.name} are being removed: --finish goes on with it.")
    used = VectorSpace.objects.get(state=State.USED)
    # The later begun is the one that is switched to, and back from: who says the same twice changes nothing more.
    if back and other.pk > used.pk:
        raise CannotChange(f"Nothing was switched: {used.name} is in use, as before.")
    if not back and other.pk < used.pk:
        raise CannotChange(f"{used.name} is in use already; --undo goes back to {other.name}.")
    return other


def await_vectors(*, back: bool = False, patience_seconds: float = PATIENCE_SECONDS) -> None:
    """Wait until all that was kept before now has its vector in the other space, where that is a matter of seconds.

    Raises: CannotChange where it has not, or there is nothing to switch to.
    """
    space = _other_to_switch_to(back)
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        (before,) = cursor.fetchone()
    until = time.monotonic() + patience_seconds
    while True:
        waiting = Memory.objects.unembedded(space.column or "").filter(created_at__lte=before)
        waiting = waiting.exclude(pk__in=space.refused)
        missing = waiting.values("pk")[:COUNTED_UP_TO].count()
        space.refresh_from_db()
        if not missing and space.filled_at is not None:
            return
        if missing > PATIENT_UP_TO or time.monotonic() >= until:
            break
        time.sleep(_LOOK_SECONDS)
    if missing:
        number = f"{missing} or more" if missing == COUNTED_UP_TO else str(missing)
        why = f"{number} memor{'y has' if missing == 1 else 'ies have'} no vector of {space.name} yet"
    else:
        why = f"All have a vector of {space.name}, but its index is not built yet"
    raise CannotChange(f"{why}: wait (--status shows how long), or do it all the same with --now.")


def await_settled() -> None:
    """Wait until the last switch is so long ago that nobody asks the former space any more."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT extract(epoch FROM clock_timestamp() - max(switched_at))::float8 FROM memory_vectorspace"
        )
        (seconds,) = cursor.fetchone()
    if seconds is not None and seconds < SETTLED_SECONDS:
        time.sleep(SETTLED_SECONDS - seconds)


def begin_removal(*, gives_up: bool = False) -> VectorSpace:
    """Let nobody use the other space any more; `remove` does the rest. To be called in a transaction.

    `gives_up` is for one that was never switched to, or from.
    Raises: CannotChange.
    """
    _lock()
    other = find_other()
    if other is None:
        raise CannotChange("There is nothing to remove: one space has all the vectors.")
    if other.state == State.FILLING and not gives_up:
        raise CannotChange(
            f"{other.name} is still being filled: --switch to it, or give it up with --cancel."
        )
    if other.state == State.KEPT and gives_up:
        raise CannotChange(f"{other.name} was in use before: remove it with --finish.")
    VectorSpace.objects.filter(pk=other.pk).update(state=State.REMOVING, leased_until=None, lease_token="")
    transaction.on_commit(forget_known_spaces)
    return other


def remove(space: VectorSpace) -> Iterator[int]:
    """Remove the vectors and indexes of a space whose removal was begun; yield how many vectors went, page by page.

    What was cut off is gone on with by removing again.
    """
    column = space.column
    if column is None:
        return
    drop_indexes(column, space.dimensions)
    yield from clear_vectors(column)
    # What a worker that was at it built meanwhile.
    drop_indexes(column, space.dimensions)
    VectorSpace.objects.filter(pk=space.pk, state=State.REMOVING).update(
        state=State.REMOVED, column=None, sealed_key="", rate=0.0, error=""
    )
    forget_known_spaces()


def progress() -> list[Progress]:
    """Return how far each space that has a column is, the one in use first."""
    rows = sorted(VectorSpace.objects.exclude(column=None), key=lambda row: row.state != State.USED)
    if not rows:
        return []
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 0")
        cursor.execute("SELECT clock_timestamp(), (SELECT count(*) FROM memory_memory WHERE text <> '')")
        now, total = cursor.fetchone()
        return [_progress(row, row.column, total, now) for row in rows if row.column is not None]


def _progress(row: VectorSpace, column: str, total: int, now: dt.datetime) -> Progress:
    index = vector_index_name(row.dimensions, column)
    return Progress(
        space=row,
        total=total,
        missing=Memory.objects.unembedded(column).exclude(pk__in=row.refused).count(),
        has_index=is_usable(index) is True,
        built=share_built(index),
        is_at_work=bool(row.lease_token) and row.leased_until is not None and row.leased_until > now,
    )


def _lock() -> None:
    """Let one change of the spaces happen at a time, until the transaction ends."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended('vector-spaces', 0))")
