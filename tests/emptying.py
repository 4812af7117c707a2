"""Empties the database after a test that committed, in a twentieth of the time that Django's `flush` takes.

`flush` truncates every table with its indexes, empty as most are, and then makes content types, permissions and the
wall of memories anew: 0.1 s of CPU for each of two hundred tests. Here all tables are locked as TRUNCATE locks them,
so that whatever still writes is waited for, and the rows of those that have any are deleted. What a migration wrote
(content types and permissions) is left alone, so that nothing needs to be made anew.
"""

from __future__ import annotations

from django.db import connections, transaction
from django.test import TransactionTestCase

OF_MIGRATIONS = {"django_content_type", "auth_permission"}
UNDELETABLE = {"agents_auditentry"}
"""Whose rows the database refuses to delete; nothing refers to them, so that the table can be truncated alone."""
MANY_ROWS = 1000
"""Above so many rows in a table, all are truncated: that takes the same time however many they are."""


def empty(alias: str) -> None:
    """Empty all tables but those of migrations, in one transaction."""
    connection = connections[alias]
    known = connection.introspection.django_table_names(only_existing=True, include_views=False)
    tables = sorted(set(known) - OF_MIGRATIONS)
    names = ", ".join(map(connection.ops.quote_name, tables))
    counts = " UNION ALL ".join(
        f"SELECT '{table}', (SELECT count(*) FROM (SELECT FROM \"{table}\" LIMIT {MANY_ROWS + 1}) AS counted)"
        for table in tables
    )
    with transaction.atomic(alias), connection.cursor() as cursor:
        cursor.execute(f"LOCK TABLE {names} IN ACCESS EXCLUSIVE MODE")
        cursor.execute(counts)
        full = {table: count for table, count in cursor.fetchall() if count}
        if max(full.values(), default=0) > MANY_ROWS:
            cursor.execute(f"TRUNCATE {names}")
            return
        # Foreign keys are asked at the end, so that the order does not matter.
        for table in full:
            cursor.execute(f'TRUNCATE "{table}"' if table in UNDELETABLE else f'DELETE FROM "{table}"')


_FLUSH = TransactionTestCase._fixture_teardown  # type: ignore[attr-defined]


def empty_after_test(case: TransactionTestCase) -> None:
    """Take the place of `TransactionTestCase._fixture_teardown`, which SQLite keeps: it has no such locks."""
    aliases = case._databases_names(include_mirrors=False)  # type: ignore[attr-defined]
    if any(connections[alias].vendor != "postgresql" for alias in aliases):
        _FLUSH(case)
        return
    for alias in aliases:
        empty(alias)
