"""Composes (NFC) what was kept before everything was. Migrations call it."""

from __future__ import annotations

import unicodedata
from functools import partial
from typing import Any

from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.migrations.operations import RunPython
from django.db.models import Model

PAGE = 2000


def compose(app: str, model: str, *columns: str, is_unique: bool = False) -> RunPython:
    """Return the operation that composes these columns of all rows; what is composed stays so when it is undone.

    Where the columns are unique, a row stays as it is whose name another one has already.
    """
    code = partial(_compose, app=app, model=model, columns=columns, is_unique=is_unique)
    return RunPython(code, RunPython.noop, elidable=True)


def _compose(apps: Any, schema_editor: Any, *, app: str, model: str, columns: Any, is_unique: bool) -> None:
    compose_rows(schema_editor.connection, apps.get_model(app, model), *columns, is_unique=is_unique)


def compose_rows(
    connection: BaseDatabaseWrapper, model: type[Model], *columns: str, is_unique: bool = False
) -> None:
    """Compose these columns of all rows, in a statement each where the database can."""
    for column in columns:
        if is_unique or not _knows_forms(connection):
            _one_by_one(model, column, is_unique=is_unique)
            continue
        table, name = map(connection.ops.quote_name, (model._meta.db_table, column))
        with connection.cursor() as cursor:
            # All rows are read, which takes longer than a statement of a turn may.
            cursor.execute("SET LOCAL statement_timeout = 0")
            cursor.execute(
                f"UPDATE {table} SET {name} = normalize({name}, NFC) WHERE {name} IS NOT NFC NORMALIZED"
            )


def _knows_forms(connection: BaseDatabaseWrapper) -> bool:
    """Tell whether the database composes texts: PostgreSQL does, if they are in UTF-8 there."""
    if connection.vendor != "postgresql":
        return False
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_encoding")
        return bool(cursor.fetchone() == ("UTF8",))


def _one_by_one(model: type[Model], column: str, *, is_unique: bool) -> None:
    rows = model._default_manager.order_by("pk")
    pairs = rows.values_list("pk", column).iterator(chunk_size=PAGE)
    apart = [pair for pair in pairs if not unicodedata.is_normalized("NFC", pair[1] or "")]
    for pk, text in apart:
        composed = {column: unicodedata.normalize("NFC", text)}
        if not is_unique or not rows.filter(**composed).exists():
            rows.filter(pk=pk).update(**composed)
