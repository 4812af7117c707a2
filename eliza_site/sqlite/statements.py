"""The cursor: it runs what Django writes for SQLite as it is, and the site's own statements by their plans.

The site writes its statements for PostgreSQL, with its tables' names bare, where Django puts them between quotation
marks. What names something that only SQLite has is in SQLite's own words and is run as it is. Results are as psycopg
gives them: UUIDs, times with their zone, lists; JSON is text.
"""

from __future__ import annotations

import datetime as dt
import json
import logging
import re
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple
from uuid import UUID

from django.db.backends.sqlite3.base import SQLiteCursorWrapper

from eliza_site.sqlite.functions import read_time, time_text
from eliza_site.sqlite.translating import Plan, translate
from eliza_site.sqlite.translating.expressions import NOW
from eliza_site.sqlite.translating.tables import find_table

_OURS = re.compile(
    r"""\s*(?=(?:WITH|SELECT|INSERT|UPDATE|DELETE)\b).*?
    (?:\b(?:FROM|JOIN|INTO|UPDATE|USING)\s+(?:agents|memory|plugins|transports)_\w
      |clock_timestamp\(|pg_advisory_xact_lock\(|\bunnest\(|::)""",
    re.VERBOSE | re.DOTALL,
)
_SNAPSHOT = re.compile(r"SET TRANSACTION .*READ ONLY")
_DJANGOS = ('SELECT "', 'INSERT INTO "', 'UPDATE "', 'DELETE FROM "')
_SQLITES = re.compile(r"\b(?:json_each\(|MATCH\b|rowid\b|memory_search)")
MOST_PLANS = 1000
_plans: dict[str, Plan] = {}
logging.getLogger("sqlglot").setLevel(logging.WARNING)


def is_ours(statement: str) -> bool:
    """Tell whether a statement is one of the site's own, written for PostgreSQL."""
    return _OURS.match(statement) is not None and _SQLITES.search(statement) is None


def find_plan(statement: str) -> Plan | None:
    """Return how one of the site's statements is run, found out once, or None where it is for SQLite already.

    Raises: Untranslatable.
    """
    plan = _plans.get(statement)
    # What Django writes is told at a glance: it is most of what comes, and never the same for long.
    if plan is None and not statement.startswith(_DJANGOS) and is_ours(statement):
        if len(_plans) >= MOST_PLANS:
            _plans.clear()
        plan = _plans[statement] = translate(statement)
    return plan


class Column(NamedTuple):
    """A column of a result, as psycopg tells of it."""

    name: str
    type_code: None = None
    display_size: None = None
    internal_size: None = None
    precision: None = None
    scale: None = None
    null_ok: None = None


class Cursor(SQLiteCursorWrapper):
    """A cursor that knows the site's statements."""

    _rows: list[tuple[Any, ...]] | None = None
    _names: tuple[str, ...] | None = None
    _count = -1

    def execute(self, query: str, params: Any = None) -> Any:
        """Run a statement.

        Raises: Untranslatable.
        """
        self._rows = self._names = None
        if query.startswith("SET "):
            self._set(query)
            return self
        plan = find_plan(query)
        try:
            if plan is None:
                return super().execute(query, params)
            self._run(plan, params)
        except sqlite3.IntegrityError as error:
            raise sqlite3.IntegrityError(_named(str(error))) from error
        return self

    def _set(self, statement: str) -> None:
        """Pass over what sets PostgreSQL's limits. A transaction that only reads is none that keeps writers out: it
        has said so before anything else, and begins anew."""
        if _SNAPSHOT.match(statement) and self.connection.in_transaction:
            self.connection.rollback()
            sqlite3.Cursor.execute(self, "BEGIN DEFERRED")

    def _run(self, plan: Plan, params: Any) -> None:
        connection = self.connection
        is_own = plan.is_change and not connection.in_transaction
        if is_own:
            sqlite3.Cursor.execute(self, "BEGIN IMMEDIATE")
        try:
            # Only now: whoever waited for the database would otherwise reckon from before.
            self._run_steps(plan, {**_bound(params), NOW: time_text(dt.datetime.now(dt.UTC))})
        except BaseException:
            if is_own and connection.in_transaction:
                connection.rollback()
            raise
        if is_own:
            connection.commit()

    def _run_steps(self, plan: Plan, values: dict[str, Any]) -> None:
        rows: list[tuple[Any, ...]] = []
        for step in plan.steps:
            sqlite3.Cursor.execute(self, step.sql, values)
            rows = sqlite3.Cursor.fetchall(self)
            if step.stores_as:
                values[step.stores_as] = json.dumps(rows, ensure_ascii=False)
        readers = [_READERS.get(kind) for kind in plan.types]
        if any(readers):
            rows = [
                tuple(
                    value if reader is None or value is None else reader(value)
                    for value, reader in zip(row, readers, strict=True)
                )
                for row in rows
            ]
        count = sqlite3.Cursor.rowcount.__get__(self)
        if count < 0 and plan.is_change and not plan.types:
            # Of a change that begins with WITH, Python tells no number.
            (count,) = sqlite3.Cursor.execute(self, "SELECT changes()").fetchone()
        self._count = len(rows) if plan.types else count
        self._rows, self._names = rows, plan.names

    @property
    def description(self) -> Any:
        """The columns of the result; each has its name at its beginning, and by `name`."""
        if self._names is None:
            return sqlite3.Cursor.description.__get__(self)
        return [Column(name=name) for name in self._names] or None

    @property
    def rowcount(self) -> int:
        """How many rows were changed, or found."""
        if self._rows is None:
            return int(sqlite3.Cursor.rowcount.__get__(self))
        return self._count

    def fetchone(self) -> Any:
        """Return the next row, or None."""
        if self._rows is None:
            return super().fetchone()
        return self._rows.pop(0) if self._rows else None

    def fetchmany(self, size: int | None = 1) -> list[Any]:
        """Return the next rows."""
        if self._rows is None:
            return super().fetchmany(size)
        found, self._rows = self._rows[: size or 1], self._rows[size or 1 :]
        return found

    def fetchall(self) -> list[Any]:
        """Return all rows that are left."""
        if self._rows is None:
            return super().fetchall()
        found, self._rows = self._rows, []
        return found

    def __iter__(self) -> Iterator[Any]:  # type: ignore[override]
        return super().__iter__() if self._rows is None else iter(self.fetchall())


def _named(message: str) -> str:
    """Add the name of the constraint, which PostgreSQL says and SQLite doesn't."""
    _text, mark, places = message.partition("UNIQUE constraint failed: ")
    if not mark or places.startswith("index"):
        return message
    table = find_table(places.partition(".")[0])
    name = (
        table.keys.get(frozenset(place.partition(".")[2] for place in places.split(", "))) if table else None
    )
    return f"{message} ({name})" if name else message


def _bound(params: Any) -> dict[str, Any]:
    if params is None:
        return {}
    pairs = (
        params.items() if isinstance(params, Mapping) else ((str(n), value) for n, value in enumerate(params))
    )
    return {name: adapted(value) for name, value in pairs}


def adapted(value: Any) -> Any:
    """Return a parameter as SQLite keeps it."""
    if isinstance(value, dt.datetime):
        return time_text(value)
    if isinstance(value, UUID):
        return str(value)
    if isinstance(value, Sequence) and not isinstance(value, str | bytes | bytearray):
        return json.dumps([adapted(one) for one in value], ensure_ascii=False)
    return str(value) if isinstance(value, str) else value  # a choice of a field's is a text of another class


def _read_json_list(kept: str, read: Callable[[Any], Any]) -> list[Any]:
    return [None if one is None else read(one) for one in json.loads(kept)]


_READERS: dict[str, Callable[[Any], Any]] = {
    "uuid": UUID,
    "timestamptz": read_time,
    "bool": bool,
    "uuid[]": lambda kept: _read_json_list(kept, UUID),
    "text[]": json.loads,
    "int[]": json.loads,
    "float": float,
    "vector": lambda kept: kept,
}
