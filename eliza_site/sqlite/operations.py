"""How Django reads this backend's columns."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db.backends.sqlite3.operations import DatabaseOperations as SQLiteOperations


class DatabaseOperations(SQLiteOperations):
    """UUIDs stand as PostgreSQL writes them, so that they compare equal to those within JSON."""

    def sql_flush(self, style: Any, tables: Any, **options: Any) -> list[str]:
        """Return what empties tables; triggers that refuse it stand aside, as they do for PostgreSQL's TRUNCATE."""
        statements: list[str] = super().sql_flush(style, tables, **options)
        with self.connection.cursor() as cursor:
            cursor.execute(
                "SELECT name, tbl_name, sql FROM sqlite_master WHERE type = 'trigger' AND sql LIKE '%raise(%'"
            )
            refusing = [(name, sql) for name, table, sql in cursor.fetchall() if table in tables]
        if not statements or not refusing:
            return statements
        dropped = [f"DROP TRIGGER {self.quote_name(name)}" for name, _sql in refusing]
        return [*dropped, *statements, *(sql for _name, sql in refusing)]

    def convert_uuidfield_value(self, value: Any, *_where: Any) -> UUID | None:
        """Return the column's value."""
        return UUID(value) if isinstance(value, str) else value
