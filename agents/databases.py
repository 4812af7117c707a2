"""Gives the thread's database connection back while something slow is waited for."""

from __future__ import annotations

from django.db import connection


def release_connection() -> None:
    """Return the connection to the process' pool; the next query takes one again.

    Within a transaction nothing is released: nobody may wait for a model or a network there.
    """
    if not connection.in_atomic_block:
        connection.close()
