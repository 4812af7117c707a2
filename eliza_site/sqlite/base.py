"""Django's backend for SQLite, as the site needs it. `settings` names it where DATABASE_URL begins with `sqlite:`.

A transaction begins as IMMEDIATE, so that there is one writer at a time and nobody finds out late that they read
something old; that stands for PostgreSQL's row locks. Readers are never in the way (WAL).
"""

from __future__ import annotations

import sqlite3
import threading
from typing import Any
from uuid import UUID

from django.core.exceptions import ImproperlyConfigured
from django.db.backends.sqlite3.base import DatabaseWrapper as SQLiteWrapper

from eliza_site.sqlite.creation import MEMORY, DatabaseCreation
from eliza_site.sqlite.features import DatabaseFeatures
from eliza_site.sqlite.functions import register_functions, vector_text
from eliza_site.sqlite.operations import DatabaseOperations
from eliza_site.sqlite.pool import pool
from eliza_site.sqlite.schema import DatabaseSchemaEditor
from eliza_site.sqlite.statements import Cursor
from memory.stores import sqlite_functions

OLDEST_SQLITE = (3, 39)
"""The first that knows IS NOT DISTINCT FROM; RETURNING, UPDATE … FROM and full text search are older."""
BUSY_SECONDS = 20.0
"""So long a statement waits for another's transaction to end."""
CACHED_STATEMENTS = 400
"""So many are kept as SQLite compiled them: the plans of a turn have some 150."""

# A column's declared type has a word in it by which SQLite keeps text as text: a UUID such as 12345678-… or 1e5…
# would become a number otherwise.
sqlite3.register_adapter(UUID, str)
# A field reads its vector as text, as from PostgreSQL; statements compute with what is kept.
sqlite3.register_converter("vector", vector_text)

_in_memory: dict[str, sqlite3.Connection] = {}
_in_memory_lock = threading.Lock()


class DatabaseWrapper(SQLiteWrapper):
    """A connection to the site's database in a file, or in this process' memory."""

    data_types = {**SQLiteWrapper.data_types, "UUIDField": "char_uuid", "DateTimeField": "text_timestamp"}
    creation_class = DatabaseCreation
    features_class = DatabaseFeatures
    ops_class = DatabaseOperations
    SchemaEditorClass = DatabaseSchemaEditor
    _parameters: dict[str, Any]

    def get_connection_params(self) -> dict[str, Any]:
        """Return what `sqlite3.connect` is told."""
        parameters: dict[str, Any] = super().get_connection_params()
        self.transaction_mode = "IMMEDIATE"
        parameters.setdefault("timeout", BUSY_SECONDS)
        parameters.setdefault("cached_statements", CACHED_STATEMENTS)
        return parameters

    def get_new_connection(self, conn_params: dict[str, Any]) -> sqlite3.Connection:
        """Open the database, with the functions that SQLite lacks, or take an open connection.

        Raises: ImproperlyConfigured where SQLite is too old.
        """
        if sqlite3.sqlite_version_info < OLDEST_SQLITE:
            raise ImproperlyConfigured(
                f"Python's SQLite is {sqlite3.sqlite_version}, which is too old: {'.'.join(map(str, OLDEST_SQLITE))}"
                " is the first that will do. Use a newer Python, or set DATABASE_URL to PostgreSQL."
            )
        self._parameters = conn_params
        if kept := pool.take(conn_params):
            return kept
        name = str(conn_params["database"])
        is_file = MEMORY not in name and not self.is_in_memory_db()
        if not is_file:
            _keep_in_memory(name)
        found: sqlite3.Connection = super().get_new_connection(conn_params)
        register_functions(found)
        sqlite_functions.register_functions(found)
        if is_file:
            # What is committed outlives a killed process; a lost power supply may cost the last moments.
            found.execute("PRAGMA journal_mode = WAL")
            found.execute("PRAGMA synchronous = NORMAL")
        return found

    def _close(self) -> None:
        if self.connection is not None:
            pool.give_back(self._parameters, self.connection)

    def create_cursor(self, name: str | None = None) -> Cursor:  # noqa: ARG002 - there are no cursors of a server's
        """Return a cursor that knows the site's statements."""
        found: Cursor = self.connection.cursor(factory=Cursor)
        return found


def _keep_in_memory(name: str) -> None:
    """Hold a connection for as long as the process lives: a database in memory goes with its last one."""
    with _in_memory_lock:
        if name not in _in_memory:
            _in_memory[name] = sqlite3.connect(name, uri=True, check_same_thread=False)
