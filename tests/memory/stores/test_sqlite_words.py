"""What SQLite's search makes of words and vectors, and what it says where it can't be."""

from __future__ import annotations

import sqlite3
import struct
from typing import Any

import numpy as np
import pytest

from memory import checks
from memory.questions import find_terms
from memory.stores import sqlite_schema
from memory.stores.sqlite_functions import size_of, vector_of, words_of
from memory.stores.sqlite_schema import MissingFullText, check_full_text
from memory.stores.sqlite_words import query_of, telling_when_query


def test_words_become_queries_by_themselves_and_their_beginnings() -> None:
    queries = [query_of(term) for term in find_terms("the Paintings of cats 火车 O'Neill")]
    assert queries == [
        "",
        '"paintings" OR "paintin" *',
        "",
        '"cats" OR "cats" *',
        '"火 车"',
        '"o"',
        '"neill" OR "neil" *',
    ]
    assert '"yesterday" OR ' in telling_when_query()
    assert '"昨 天"' in telling_when_query()


def test_no_word_breaks_the_query() -> None:
    asked = 0
    with sqlite3.connect(":memory:") as connection:
        connection.execute("CREATE VIRTUAL TABLE trial USING fts5(words)")
        for text in (
            'NEAR AND OR NOT "a" * ^ col:x (y)',
            "100% {0} %s",
            "ก็",
            "\ud83d",
            "a.b@c",
            "٣",
            "ß ﬁ İ",
        ):
            for term in find_terms(text):
                if query := query_of(term):
                    assert (
                        connection.execute("SELECT rowid FROM trial WHERE trial MATCH ?", [query]).fetchall()
                        == []
                    )
                    asked += 1
    assert asked >= 10


def test_a_text_is_indexed_with_signs_apart_and_as_far_as_in_postgresql() -> None:
    assert words_of("我家 cat").split() == ["我", "家", "cat"]
    assert words_of(None) == ""
    assert len(words_of("a" * 200_000)) == 100_000
    assert size_of("The cat and the other Cat sleep, 火车") == 4
    assert size_of("") == 0


def test_a_vector_is_kept_as_numbers_of_length_one_however_it_was_written() -> None:
    binary = struct.pack(">HH2f", 2, 0, 3.0, 4.0)
    for written in ("[3,4]", binary):
        assert np.frombuffer(vector_of(written) or b"", "<f4").tolist() == pytest.approx([0.6, 0.8])
    for nothing in (None, "", "[0,0]"):
        assert vector_of(nothing) is None


class _Bare(sqlite3.Connection):
    def execute(self, *_statement: Any) -> Any:
        raise sqlite3.OperationalError("no such module: fts5")


def test_a_sqlite_without_full_text_is_refused_with_the_cure(monkeypatch: pytest.MonkeyPatch) -> None:
    check_full_text()
    assert checks.check_search() == []
    connect = sqlite3.connect
    monkeypatch.setattr(sqlite_schema.sqlite3, "connect", lambda name: connect(name, factory=_Bare))
    with pytest.raises(MissingFullText, match=r"FTS5.*use a Python whose SQLite has it"):
        check_full_text()

    class OnSqlite:
        vendor = "sqlite"

    monkeypatch.setattr(checks, "connection", OnSqlite)
    (error,) = checks.check_search()
    assert error.id == "memory.E004"
    assert "FTS5" in error.msg
    assert "DATABASE_URL" in (error.hint or "")
