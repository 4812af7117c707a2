"""What recall needs beside the memories in SQLite: their words for full-text search, and their vectors as numbers.

Triggers keep both, whoever writes a memory and however; `ensure_search` makes them after each migration, because one
that builds the memories' table anew drops its triggers. A text's words are taken out of the index by what the functions
make of it, so that an index that other functions filled is made anew, too: words of forgotten texts would stay in it.
"""

from __future__ import annotations

import json
import sqlite3
from typing import Any

from django.core.exceptions import ImproperlyConfigured
from django.db import DEFAULT_DB_ALIAS, connections, transaction
from django.db.backends.base.base import BaseDatabaseWrapper

from memory.scripts import JOINERS
from memory.stores.sqlite_functions import VERSION
from memory.stores.sqlite_words import AS_IT_IS

VECTOR_COLUMNS = ("embedding",)
"""The memories' columns of vectors; the search has one of the same name for each."""
_COLUMNS = ", ".join(VECTOR_COLUMNS)


def _vectors(row: str) -> str:
    return ", ".join(f"memory_vector({row}.{column})" for column in VECTOR_COLUMNS)


_FORGET_WORDS = """
            INSERT INTO memory_search (memory_search, rowid, words)
            SELECT 'delete', row, memory_words(old.text) FROM memory_searched WHERE memory_id = old.id;"""
_KEEP_WORDS = """
            INSERT INTO memory_search (rowid, words)
            SELECT row, memory_words(new.text) FROM memory_searched WHERE memory_id = new.id;"""

TABLES = {
    "memory_searched": f"""
        CREATE TABLE memory_searched ( -- filled by functions {VERSION}
            row INTEGER PRIMARY KEY AUTOINCREMENT, memory_id char_uuid NOT NULL UNIQUE, size INTEGER NOT NULL,
            {", ".join(f"{column} BLOB" for column in VECTOR_COLUMNS)}
        )
    """,
    # The words themselves stand in the memory; here is only where each of them is.
    "memory_search": f"""
        CREATE VIRTUAL TABLE memory_search USING fts5(
            words, content='',
            tokenize="porter unicode61 remove_diacritics 0 categories 'L* M* N* Co' tokenchars '{JOINERS}'"
        )
    """,
}
"""`row` is a memory's own number for the search: SQLite numbers the memories' rows anew where it tidies up.

It is given once: a recall reads several times, and the number of a memory that goes meanwhile must not lead to another.
"""

TRIGGERS = {
    "memory_search_new": f"""
        CREATE TRIGGER memory_search_new AFTER INSERT ON memory_memory BEGIN
            INSERT INTO memory_searched (memory_id, size, {_COLUMNS})
            VALUES (new.id, memory_size(new.text), {_vectors("new")});{_KEEP_WORDS}
        END
    """,
    "memory_search_gone": f"""
        CREATE TRIGGER memory_search_gone AFTER DELETE ON memory_memory BEGIN{_FORGET_WORDS}
            DELETE FROM memory_searched WHERE memory_id = old.id;
        END
    """,
    "memory_search_text": f"""
        CREATE TRIGGER memory_search_text AFTER UPDATE OF text ON memory_memory
        WHEN new.text IS NOT old.text BEGIN{_FORGET_WORDS}
            UPDATE memory_searched SET size = memory_size(new.text) WHERE memory_id = new.id;{_KEEP_WORDS}
        END
    """,
    **{
        f"memory_search_{column}": f"""
        CREATE TRIGGER memory_search_{column} AFTER UPDATE OF {column} ON memory_memory BEGIN
            UPDATE memory_searched SET {column} = memory_vector(new.{column}) WHERE memory_id = new.id;
        END
    """
        for column in VECTOR_COLUMNS
    },
}
FILL = (
    f"""{AS_IT_IS}
    INSERT INTO memory_searched (memory_id, size, {_COLUMNS})
    SELECT id, memory_size(text), {_vectors("memory")} FROM memory_memory AS memory ORDER BY id
    """,
    f"""{AS_IT_IS}
    INSERT INTO memory_search (rowid, words)
    SELECT kept.row, memory_words(memory.text)
    FROM memory_searched AS kept JOIN memory_memory AS memory ON memory.id = kept.memory_id
    """,
)


class MissingFullText(ImproperlyConfigured):
    """Python's SQLite was built without FTS5."""


def ensure_search(*, using: str = DEFAULT_DB_ALIAS, **_signal: Any) -> None:
    """Make tables and triggers of the search as they are written here, and fill them, unless they stand.

    Raises: MissingFullText.
    """
    connection = connections[using]
    if connection.vendor != "sqlite" or "memory_memory" not in connection.introspection.table_names():
        return
    wanted = {name: statement.strip() for name, statement in (TABLES | TRIGGERS).items()}
    if _standing(connection) == wanted:
        return
    check_full_text()
    with transaction.atomic(using=using), connection.cursor() as cursor:
        for kind, names in (("TRIGGER", TRIGGERS), ("TABLE", TABLES)):
            for name in names:
                cursor.execute(f"DROP {kind} IF EXISTS {name}")
        for statement in (*wanted.values(), *FILL):
            cursor.execute(statement)


def _standing(connection: BaseDatabaseWrapper) -> dict[str, str]:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT name, sql FROM sqlite_master WHERE name IN (SELECT value FROM json_each(%s))",
            [json.dumps([*TABLES, *TRIGGERS])],
        )
        return dict(cursor.fetchall())


def check_full_text() -> None:
    """Refuse a SQLite without full-text search.

    Raises: MissingFullText, with the cure.
    """
    with sqlite3.connect(":memory:") as connection:
        try:
            connection.execute("CREATE VIRTUAL TABLE trial USING fts5(words)")
        except sqlite3.OperationalError as error:
            raise MissingFullText(
                f"Python's SQLite {sqlite3.sqlite_version} has no full-text search (FTS5), by which memories are"
                " found: use a Python whose SQLite has it, as Debian's and pyenv's do, or set DATABASE_URL to"
                " PostgreSQL."
            ) from error
