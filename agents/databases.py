"""The thread's database connection: given back while something slow is waited for, or one outside of the pool."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from django.db import InterfaceError, OperationalError, connection, connections

CONNECT_TIMEOUT_SECONDS = 5
_AWAY = ("08", "57P")
"""The classes of PostgreSQL's errors that tell of a connection or a server that went away."""
_SHORT = "53"
"""The class of those that tell of a server without disk, memory or connections."""
_SQLITE_AWAY = ("SQLITE_BUSY", "SQLITE_LOCKED", "SQLITE_CANTOPEN", "SQLITE_IOERR")
"""Others have written for longer than a statement waits, or the disk is away."""
_SQLITE_SHORT = ("SQLITE_FULL", "SQLITE_NOMEM")


def release_connection() -> None:
    """Return the connection to the process' pool; the next query takes one again.

    Within a transaction nothing is released: nobody may wait for a model or a network there.
    """
    if not connection.in_atomic_block:
        connection.close()


@contextmanager
def own_connection(*, statement_timeout_seconds: int) -> Iterator[None]:
    """Give this thread a connection of its own while the block runs, so that it never waits for the pool.

    It is opened by the first statement, and again by the first one after it was closed.
    """
    pooled = connections["default"]
    own = pooled.copy()
    options = own.settings_dict["OPTIONS"]
    if own.vendor == "postgresql":
        options.pop("pool", None)
        options["options"] = (
            f"{options.get('options', '')} -c statement_timeout={statement_timeout_seconds}s"
            f" -c lock_timeout={statement_timeout_seconds}s"
        ).strip()
        # A server that vanished without a word is noticed in seconds.
        options |= {
            "connect_timeout": CONNECT_TIMEOUT_SECONDS,
            "tcp_user_timeout": 1000 * statement_timeout_seconds,
        }
    elif statement_timeout_seconds:
        options["timeout"] = statement_timeout_seconds
    connections["default"] = own
    try:
        yield
    finally:
        own.close()
        connections["default"] = pooled


def is_away(error: BaseException) -> bool:
    """Tell whether an error says that the database was away or short of something, rather than that it refused a
    statement.

    The outcome of a COMMIT that met such an error is unknown, and must be read again.
    """
    if not isinstance(error, OperationalError | InterfaceError):
        return False
    if name := getattr(error.__cause__, "sqlite_errorname", ""):
        return bool(name.startswith((*_SQLITE_AWAY, *_SQLITE_SHORT)))
    state = getattr(error.__cause__, "sqlstate", None)
    return state is None or state.startswith((*_AWAY, _SHORT))


def is_short(error: BaseException) -> bool:
    """Tell whether an error says that the database has no disk, memory or connections left."""
    state = getattr(error.__cause__, "sqlstate", None) or ""
    name = getattr(error.__cause__, "sqlite_errorname", None) or ""
    is_said = state.startswith(_SHORT) or name.startswith(_SQLITE_SHORT)
    return isinstance(error, OperationalError) and is_said
