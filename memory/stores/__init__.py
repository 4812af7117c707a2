"""The databases that memories are kept in: PostgreSQL, and SQLite in a file or in RAM."""

from __future__ import annotations

from django.db import connection

from memory.stores.base import Store
from memory.stores.postgres_recall import PostgresStore
from memory.stores.sqlite import SqliteStore


def store() -> Store:
    """Return the store of the database that Django is connected with."""
    return SqliteStore() if connection.vendor == "sqlite" else PostgresStore()
