"""The databases that memories are kept in: PostgreSQL, and SQLite in a file or in RAM."""

from __future__ import annotations

from django.db import connection

from memory.stores.base import Store


def store() -> Store:
    """Return the store of the database that Django is connected with."""
    # Imported on first use: both know the models, and a connection to SQLite is opened before those are there, by
    # whoever asks whether the database answers; it needs `sqlite_functions` of this package.
    if connection.vendor == "sqlite":
        from memory.stores.sqlite import SqliteStore

        return SqliteStore()
    from memory.stores.postgres_recall import PostgresStore

    return PostgresStore()
