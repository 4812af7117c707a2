"""How tables are made: unique constraints that count NULLs as equal, which SQLite has no word for."""

from __future__ import annotations

from typing import Any

from django.db.backends.ddl_references import Statement
from django.db.backends.sqlite3.schema import DatabaseSchemaEditor as SQLiteSchemaEditor

NULL_STAND_IN = "''"
"""What stands for NULL in such an index: no id and no name is empty text."""


class DatabaseSchemaEditor(SQLiteSchemaEditor):
    """Makes a unique index over `coalesce(column, '')` where NULLs are to count as equal."""

    def _create_unique_sql(
        self, model: Any, fields: Any, name: Any = None, nulls_distinct: bool | None = None, **more: Any
    ) -> Statement | None:
        statement: Statement | None = super()._create_unique_sql(model, fields, name=name, **more)  # type: ignore[misc]
        if statement is None or nulls_distinct is not False:
            return statement
        columns = ", ".join(
            f"coalesce({self.quote_name(field.column)}, {NULL_STAND_IN})"
            if field.null
            else self.quote_name(field.column)
            for field in fields
        )
        return Statement(
            "CREATE UNIQUE INDEX %(name)s ON %(table)s (%(columns)s)",
            table=statement.parts["table"],
            name=statement.parts["name"],
            columns=columns,
        )

    def _index_include_sql(self, _model: Any, _columns: Any) -> str:
        """Leave out what an index would only carry along: SQLite reads the row instead."""
        return ""

    def _delete_unique_sql(
        self, model: Any, name: Any, nulls_distinct: bool | None = None, **more: Any
    ) -> Any:
        if nulls_distinct is None:
            return super()._delete_unique_sql(model, name, **more)  # type: ignore[misc]
        return self._delete_constraint_sql(self.sql_delete_index, model, name)  # type: ignore[attr-defined]
