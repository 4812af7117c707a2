"""How Django reads this backend's columns."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.backends.sqlite3.operations import DatabaseOperations as SQLiteOperations


class DatabaseOperations(SQLiteOperations):
    """UUIDs stand as PostgreSQL writes them, so that they compare equal to those within JSON."""

    def convert_uuidfield_value(self, value: Any, *_where: Any) -> UUID | None:
        """Return the column's value."""
        return UUID(value) if isinstance(value, str) else value
