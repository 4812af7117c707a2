"""Open connections that nobody uses at this moment, as PostgreSQL's pool has them.

A thread gives its connection back whenever it waits for something slow. Opening one anew would cost more than the
statements of a turn: all functions are told to it, and SQLite compiles every statement again.
"""

from __future__ import annotations

import os
import sqlite3
import threading
from typing import Any

KEPT = 16

Key = tuple[tuple[str, str], ...]


class Pool:
    """Keeps connections of this process by what they were opened with; a forked child begins without any."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._idle: dict[Key, list[sqlite3.Connection]] = {}
        self._process = os.getpid()

    def take(self, parameters: dict[str, Any]) -> sqlite3.Connection | None:
        """Return a connection that was opened so, or None."""
        with self._lock:
            self._forget_the_parents()
            idle = self._idle.get(_key(parameters))
            return idle.pop() if idle else None

    def give_back(self, parameters: dict[str, Any], connection: sqlite3.Connection) -> None:
        """Keep a connection for the next who asks, or close it where enough are kept."""
        if connection.in_transaction:
            connection.rollback()
        with self._lock:
            self._forget_the_parents()
            idle = self._idle.setdefault(_key(parameters), [])
            if len(idle) < KEPT:
                idle.append(connection)
                return
        connection.close()

    def empty(self) -> None:
        """Close what is kept, before a database goes."""
        with self._lock:
            found, self._idle = self._idle, {}
        for idle in found.values():
            for connection in idle:
                connection.close()

    def _forget_the_parents(self) -> None:
        if self._process != os.getpid():
            # SQLite's connections must not be used beyond a fork, nor closed.
            _inherited.append(self._idle)
            self._idle, self._process = {}, os.getpid()


def _key(parameters: dict[str, Any]) -> Key:
    return tuple(sorted((name, str(value)) for name, value in parameters.items()))


_inherited: list[object] = []
pool = Pool()
