"""The thread's database connection, given back while something slow is waited for."""

from __future__ import annotations

from django.db import connection


def release_connection() -> None:
    """Return the connection to the process' pool; the next statement takes one again.

    Within a transaction nothing is released.
    """
    if not connection.in_atomic_block:
        connection.close()
