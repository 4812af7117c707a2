"""The functions that SQLite lacks, in Python: what the site's statements ask of PostgreSQL.

Times are text, as Django keeps them: UTC, `2026-01-31 12:00:00.123456`, with or without the fraction. Both compare
as text. Intervals are seconds. Arrays are JSON. Vectors are in pgvector's binary form (four bytes of head, then single
floats, big-endian), or in its text form.
"""

from __future__ import annotations

import datetime as dt
import sqlite3


def register_functions(connection: sqlite3.Connection) -> None:
    """Make the functions known to a new connection."""
    connection.create_function("clock_timestamp", 0, clock_timestamp)


def clock_timestamp() -> str:
    """Return the time as it is now, like PostgreSQL's function of this name."""
    return time_text(dt.datetime.now(dt.UTC))


def time_text(at: dt.datetime) -> str:
    """Write a time as it is kept."""
    return str(at.astimezone(dt.UTC).replace(tzinfo=None) if at.tzinfo else at)
