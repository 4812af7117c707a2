"""The thread's database connection, given back while something slow is waited for, and one that may take long."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.db import connection


def release_connection() -> None:
    """Return the connection to the process' pool; the next statement takes one again.

    Within a transaction nothing is released.
    """
    if not connection.in_atomic_block:
        connection.close()


@contextmanager
def unhurried_cursor() -> Iterator[Any]:
    """Give a cursor whose statements may take as long as they do, on a connection of its own that the block ends.

    Within a transaction, as a test has one, it is the transaction's own connection.
    """
    if connection.in_atomic_block:
        with connection.cursor() as cursor:
            cursor.execute("SET LOCAL statement_timeout = 0")
            yield cursor
        return
    own = connection.copy()
    options = own.settings_dict["OPTIONS"]
    options.pop("pool", None)
    options["options"] = f"{options.get('options', '')} -c statement_timeout=0 -c lock_timeout=0".strip()
    try:
        with own.cursor() as cursor:
            yield cursor
    finally:
        own.close()
