"""How Django reads this backend's columns."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID

from django.db.backends.sqlite3.operations import DatabaseOperations as SQLiteOperations

from eliza_site.sqlite.statements import adapted


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

    def last_executed_query(self, cursor: Any, sql: str, params: Any) -> str:
        """Return the statement as it was asked for, with its values."""
        if isinstance(params, Mapping):
            params = {name: adapted(value) for name, value in params.items()}
        elif params:
            params = [adapted(value) for value in params]
        shown: str = super().last_executed_query(cursor, sql, params)
        return shown

    def convert_uuidfield_value(self, value: Any, *_where: Any) -> UUID | None:
        """Return the column's value."""
        return UUID(value) if isinstance(value, str) else value
