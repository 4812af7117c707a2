"""Composes (NFC) what was kept before everything was. Migrations that are not atomic call it."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from django.db import IntegrityError, connection, transaction
from django.db.models import Model, QuerySet

Also = Callable[[Any, dict[str, str]], dict[str, Any]]
PAGE = 2000


def compose_rows(rows: QuerySet[Any, Any], *columns: str, also: Also | None = None) -> None:
    """Compose these columns of the rows, each row by itself: what was interrupted is done by doing it again.

    A row whose composed name another one has, where names are unique, stays as it is; what gets longer is cut to its
    column. `also` is given a row and its composed columns, and returns what else is to change with them.
    """
    rows = rows.order_by()
    with _waiting_for_any_row():
        for pk in _apart(rows, columns):
            try:
                with transaction.atomic():
                    _compose_row(rows.filter(pk=pk), columns, also)
            except IntegrityError:
                continue


def _compose_row(row: QuerySet[Any, Any], columns: tuple[str, ...], also: Also | None) -> None:
    found = row.select_for_update().first()
    if found is None:
        return
    composed = {column: _composed(found, column) for column in columns if _is_apart(getattr(found, column))}
    if composed:
        row.update(**composed, **(also(found, composed) if also else {}))


def _composed(row: Model, column: str) -> str:
    longest: int | None = getattr(row._meta.get_field(column), "max_length", None)
    return unicodedata.normalize("NFC", getattr(row, column))[:longest]


def _is_apart(text: str | None) -> bool:
    return text is not None and not unicodedata.is_normalized("NFC", text)


def _apart(rows: QuerySet[Any, Any], columns: tuple[str, ...]) -> list[Any]:
    """Return the keys of the rows that are to be composed."""
    if _is_postgresql() and _encoding() == "UTF8":
        table = connection.ops.quote_name(rows.model._meta.db_table)
        names = map(connection.ops.quote_name, columns)
        is_apart = " OR ".join(f"{table}.{name} IS NOT NFC NORMALIZED" for name in names)
        return list(rows.extra(where=[is_apart]).values_list("pk", flat=True))
    pages = rows.values_list("pk", *columns).iterator(chunk_size=PAGE)
    return [pk for pk, *texts in pages if any(map(_is_apart, texts))]


@contextmanager
def _waiting_for_any_row() -> Iterator[None]:
    """All rows are read, and one may be held by a turn: both may take longer than in a turn."""
    _say("SET statement_timeout = 0", "SET lock_timeout = 0")
    yield
    _say("RESET statement_timeout", "RESET lock_timeout")


def _say(*statements: str) -> None:
    if _is_postgresql():
        with connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)


def _is_postgresql() -> bool:
    return connection.vendor == "postgresql"


def _encoding() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SHOW server_encoding")
        return str(cursor.fetchone()[0])
