"""One worker process on SQLite: a second one is told so, and ends. `eliza_site.celery` calls it as a worker begins."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path
from typing import IO

from django.core.exceptions import ImproperlyConfigured

NOTE = "SQLite: for development, one worker process"
"""What the page, `doctor` and `make run` say of it."""

_held: list[IO[str]] = []


def hold_for_worker(database: str) -> None:
    """Hold the database for this process' workers, until it ends, however it ends.

    Raises: ImproperlyConfigured, naming the process that holds it.
    """
    path = Path(f"{database}.worker")
    file = path.open("a+")
    try:
        # A lock of POSIX': a child that was forked doesn't have it.
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.seek(0)
        holder = file.read().strip() or "unknown"
        file.close()
        raise ImproperlyConfigured(
            f"A worker (process {holder}) works on {database} already, and SQLite has one: stop that one, or set "
            "DATABASE_URL to PostgreSQL for several."
        ) from None
    file.truncate(0)
    file.write(f"{os.getpid()}\n")
    file.flush()
    _held.append(file)
