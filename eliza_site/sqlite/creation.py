"""How a test run's database comes and goes: a file beside the named one, or memory."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.db.backends.sqlite3.creation import DatabaseCreation as SQLiteCreation

from eliza_site.sqlite.pool import pool

MEMORY = "vfs=memdb"
_BESIDE = ("-wal", "-shm")


class DatabaseCreation(SQLiteCreation):
    """Takes the files along that SQLite keeps beside a database."""

    def _create_test_db(self, verbosity: int, autoclobber: bool, keepdb: bool = False) -> Any:
        name = str(self.connection.settings_dict["TEST"]["NAME"])
        pool.empty()
        if not keepdb:
            _remove_beside(name)
        return super()._create_test_db(verbosity, autoclobber, keepdb)  # type: ignore[misc]

    def _destroy_test_db(self, test_database_name: str, verbosity: int) -> None:
        pool.empty()
        if MEMORY not in test_database_name:
            super()._destroy_test_db(test_database_name, verbosity)  # type: ignore[misc]
            _remove_beside(test_database_name)


def _remove_beside(name: str) -> None:
    if MEMORY not in name:
        for end in _BESIDE:
            Path(name + end).unlink(missing_ok=True)
