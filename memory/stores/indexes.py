"""The indexes that vectors need, made and dropped while everybody writes: one of nearness for each column and size, and
one of what has no vector yet for each column that is filled.

`memory.vector_spaces.filling` has them made, `memory.vector_spaces.changes` dropped; migrations, `doctor` and system
checks look at them.
"""

from __future__ import annotations

from contextlib import suppress

from django.db import Error, connection
from django.db.backends.utils import CursorWrapper

from memory.databases import unhurried_cursor
from memory.stores.postgres import indexed_field

FIRST_COLUMN = "embedding"
# Over many rows HNSW is built several times faster where its graph fits into this.
BUILD_MEMORY = "256MB"
# So many of the nearest are in view while a vector finds its place. With 64, which is pgvector's own, the index of a
# million found .980 of the ten nearest with 500 in view; with this it found .992 of the same with 300.
BUILD_BREADTH = 128
_LOCK = "SELECT pg_try_advisory_lock(hashtextextended('memory-indexes', 0))"
_UNLOCK = "SELECT pg_advisory_unlock(hashtextextended('memory-indexes', 0))"


def vector_index_name(dimensions: int, column: str = FIRST_COLUMN) -> str:
    """Return the name of the HNSW index for the column's vectors of this size."""
    return f"memory_{column}_half_{dimensions}_hnsw"


def _former_index_name(dimensions: int, column: str) -> str:
    """Return the name that an index over whole floats had."""
    return f"memory_{column}_{dimensions}_hnsw"


def waiting_index_name(column: str) -> str:
    """Return the name of the index of what has no vector in this column yet, in the order in which it is made."""
    return f"memory_without_{column}"


def create_vector_index(dimensions: int, column: str = FIRST_COLUMN) -> bool:
    """Create the HNSW index for the column's vectors of this size; tell whether it stands.

    Where it does not, another process is at an index just now.
    Raises: VectorTooLarge.
    Source: Malkov and Yashunin, Efficient and robust approximate nearest neighbor search using HNSW, 2018.
    """
    size = int(dimensions)
    kind = indexed_field(size).db_type(connection)
    stands = _create(
        vector_index_name(size, column),
        f"USING hnsw (({column}::{kind}) halfvec_cosine_ops) WITH (ef_construction = {BUILD_BREADTH})"
        f" WHERE vector_dims({column}) = {size}",
    )
    if (
        stands
        and connection.vendor == "postgresql"
        and is_usable(_former_index_name(size, column)) is not None
    ):
        with unhurried_cursor() as cursor:
            cursor.execute(f"DROP INDEX {_concurrently()} IF EXISTS {_former_index_name(size, column)}")
    return stands


def create_waiting_index(column: str) -> bool:
    """Create the index of what has no vector in this column; tell whether it stands, as `create_vector_index` does.

    Documents stand last in it.
    """
    return _create(waiting_index_name(column), f"((kind = 'document'), created_at) WHERE {column} IS NULL")


def drop_indexes(column: str, dimensions: int) -> None:
    """Drop the column's indexes, unless they are gone."""
    with unhurried_cursor() as cursor:
        for name in (vector_index_name(dimensions, column), waiting_index_name(column)):
            cursor.execute(f"DROP INDEX {_concurrently()} IF EXISTS {name}")


def has_vector_index(dimensions: int, column: str = FIRST_COLUMN) -> bool:
    """Tell whether the index for the column's vectors of this size is there and usable."""
    return is_usable(vector_index_name(dimensions, column)) is True


def is_usable(name: str) -> bool | None:
    """Tell whether an index is usable: None where there is none, False where its making was cut off, or goes on.

    SQLite needs none: it compares all.
    """
    if connection.vendor != "postgresql":
        return True
    with connection.cursor() as cursor:
        cursor.execute("SELECT indisvalid FROM pg_index WHERE indexrelid = to_regclass(%s)", [name])
        row = cursor.fetchone()
    return row[0] if row else None


def share_built(name: str) -> float | None:
    """Tell how much of an index that is being made has been read into it, from 0 to 1; None where nobody makes it."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT blocks_done::float8 / greatest(blocks_total, 1) FROM pg_stat_progress_create_index"
            " WHERE index_relid = to_regclass(%s)",
            [name],
        )
        row = cursor.fetchone()
    return min(1.0, row[0]) if row else None


def _create(name: str, definition: str) -> bool:
    """Create an index while others write. What a build that was cut off left behind is dropped first."""
    if is_usable(name):
        return True
    with unhurried_cursor() as cursor:
        if not _concurrently():
            _build(cursor, name, definition)
            return True
        # The server goes on with a build whose client died, and holds the lock for as long.
        cursor.execute(_LOCK)
        if not cursor.fetchone()[0]:
            return False
        try:
            cursor.execute(f"SET maintenance_work_mem = '{BUILD_MEMORY}'")
            _build(cursor, name, definition)
        finally:
            # A session that is closed holds it a little longer, and the next build would be left out.
            with suppress(Error):
                cursor.execute(_UNLOCK)
    return True


def _build(cursor: CursorWrapper, name: str, definition: str) -> None:
    if is_usable(name):
        return
    cursor.execute(f"DROP INDEX {_concurrently()} IF EXISTS {name}")
    cursor.execute(f"CREATE INDEX {_concurrently()} {name} ON memory_memory {definition}")


def _concurrently() -> str:
    """Return the word that lets others write meanwhile, which PostgreSQL allows outside of a transaction alone."""
    return "" if connection.in_atomic_block else "CONCURRENTLY"
