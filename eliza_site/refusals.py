"""What somebody reads instead of a stack trace where a setting is wrong or the database is away.

`eliza_site` installs `explain` as the last word of every process of the project: commands, fleet, web and workers.
`manage.py` has commands end without a word where nobody reads them any longer.
"""

from __future__ import annotations

import errno
import logging
import os
import re
import select
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import TracebackType
from typing import Any, TextIO

UNKNOWN = re.compile(r"no such (?:table|column)|(?:relation|column) .* does not exist")
CURE = "start `make run`, or correct DATABASE_URL"
CONNECT_TIMEOUT_SECONDS = 5
PAUSE_SECONDS = 0.5
COMMAND_SECONDS = 5.0
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
DATABASE_FULL = frozenset({"53100", "SQLITE_FULL"})
PATIENT = {"dispatch", "work_suspects"}
"""Commands that are workers, and wait for a database as workers do."""
UNREAD = 128 + signal.SIGPIPE
"""What a shell gives as the status of a program that ended because nobody reads it any longer."""


def explain(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    """Write an uncaught error in one line if whoever started the process can mend it, else with its stack.

    `--traceback`, which each command knows, shows the stack in any case.
    """
    text = "" if "--traceback" in sys.argv else _find_explanation(error)
    if text:
        sys.stderr.write(f"{text}\n")
    else:
        sys.__excepthook__(kind, error, trace)


def _find_explanation(error: BaseException) -> str:
    from django.core.exceptions import ImproperlyConfigured
    from django.db import InterfaceError, OperationalError, ProgrammingError, connections

    if isinstance(error, ImproperlyConfigured):
        return str(error)
    if full := _find_full_disk(error):
        return full
    is_unknown = isinstance(error, OperationalError | ProgrammingError) and UNKNOWN.search(str(error))
    if is_unknown and _lacks_migrations():
        return f"The database lacks tables ({str(error).splitlines()[0]}): run `python manage.py migrate`."
    if isinstance(error, OperationalError | InterfaceError):
        if _first.is_awaited:
            return _say(connections["default"].settings_dict, _first.reason, CURE)
        # The pool's own words are that it had no connection in time; the reason is told at a second look. Where
        # the database is there, the error is another one, and its stack is needed.
        return find_database_fault(cure=CURE)
    return ""


def _find_full_disk(error: BaseException) -> str:
    if isinstance(error, OSError) and error.errno in FULL:
        where = f" for {error.filename}" if error.filename else ""
        return f"{error.strerror}{where}: make room. What was written last is not whole."
    said_by_driver = {getattr(error.__cause__, name, None) for name in ("sqlstate", "sqlite_errorname")}
    if said_by_driver & DATABASE_FULL:
        reason = str(error).splitlines()[0]
        return f"The database's disk is full ({reason}): make room there. What was written last is not kept."
    return ""


def _lacks_migrations() -> bool:
    """Look whether a migration was not made; a table that is unknown after all of them is the code's own fault."""
    from django.db import Error, connections
    from django.db.migrations.executor import MigrationExecutor

    own = connections["default"].copy()
    try:
        executor = MigrationExecutor(own)
        return bool(executor.migration_plan(executor.loader.graph.leaf_nodes()))
    except Error:
        return False
    finally:
        own.close()


def find_database_fault(*, cure: str, patience_seconds: float = 0.0) -> str:
    """Ask the database whether it takes a connection; return what keeps it from that, or nothing."""
    deadline = time.monotonic() + patience_seconds
    while (fault := _try_database(cure)) and time.monotonic() < deadline:
        time.sleep(PAUSE_SECONDS)
    return fault


def _try_database(cure: str) -> str:
    from django.db import Error, connections

    own = connections["default"].copy()
    options = own.settings_dict["OPTIONS"]
    if own.vendor == "postgresql":
        options.pop("pool", None)
        options["connect_timeout"] = CONNECT_TIMEOUT_SECONDS
    try:
        own.ensure_connection()
    except Error as error:
        if own.vendor == "sqlite":
            return f"SQLite can't open {own.settings_dict['NAME']}: {error}. Correct DATABASE_URL."
        return _say(own.settings_dict, str(error), cure)
    finally:
        own.close()
    return ""


def _say(database: dict[str, Any], reason: str, cure: str) -> str:
    host, port = database["HOST"] or "localhost", database["PORT"] or 5432
    where = f"{host}/.s.PGSQL.{port}" if host.startswith("/") else f"{host}:{port}"
    _, is_refused, refusal = reason.partition("FATAL:")
    if is_refused:
        return f"PostgreSQL at {where} refuses: {refusal.strip().splitlines()[0]}. Correct DATABASE_URL."
    return f"PostgreSQL at {where} does not answer: {cure}."


class _FirstConnection(logging.Filter):
    """The wait for a command's first connection: the pool's warnings are held back, and the last one is the reason."""

    is_awaited = False
    reason = ""

    def filter(self, record: logging.LogRecord) -> bool:
        """Tell whether a line is written."""
        if not self.is_awaited or record.levelno > logging.WARNING:
            return True
        self.reason = record.getMessage()
        return False

    def wait(self, options: dict[str, Any], *, seconds: float) -> None:
        """Let the pool wait for so long; from the first connection on as long as it was set to."""
        from django.db.backends.signals import connection_created

        usual = options["timeout"]

        def end(connection: Any, **_signal: Any) -> None:
            self.is_awaited = False
            if connection.pool is not None:
                connection.pool.timeout = usual

        connection_created.connect(end, weak=False)
        logging.getLogger("psycopg.pool").addFilter(self)
        options["timeout"], self.is_awaited = min(usual, seconds), True


_first = _FirstConnection()


def expect_database(command: str) -> None:
    """Have a command wait a few seconds alone for a database that was never there, and have `explain` say it once.

    Without it, the pool waits as long as a worker does, and warns of each attempt.
    """
    from django.core.exceptions import ImproperlyConfigured
    from django.db import connections

    # A setting that is wrong is told by what comes next.
    with suppress(ImproperlyConfigured):
        if pool := connections["default"].settings_dict["OPTIONS"].get("pool"):
            _first.wait(pool, seconds=pool["timeout"] if command in PATIENT else COMMAND_SECONDS)


@contextmanager
def ending_unread() -> Iterator[None]:
    """End the process without a word where whoever read its output has gone, as `head` does after its lines.

    Source: Python's `signal`, "Note on SIGPIPE". The signal stays ignored: sockets cause it, too.
    """
    try:
        try:
            yield
        finally:
            # It is None where it was closed before the process began.
            if sys.stdout is not None:
                sys.stdout.flush()
    except BrokenPipeError:
        unread = [stream for stream in (sys.stdout, sys.stderr) if stream and _is_unread(stream)]
        if not unread:
            raise
        # Python writes what is left of both as it ends.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        for stream in unread:
            os.dup2(nowhere, stream.fileno())
        sys.exit(UNREAD)


def _is_unread(stream: TextIO) -> bool:
    poll = select.poll()
    poll.register(stream, 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _stream, event in poll.poll(0))
