"""The search beside the memories in SQLite: kept by triggers, made anew where they are gone, read in batches."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from memory.memories import remember
from memory.models import Memory
from memory.stores import sqlite_rows, store
from memory.stores.sqlite import SqliteStore
from memory.stores.sqlite_schema import TRIGGERS, ensure_search

COUNTS = """/* sqlite */
SELECT (SELECT count(*) FROM memory_searched), (SELECT count(*) FROM memory_searched WHERE embedding IS NOT NULL),
       (SELECT count(*) FROM memory_search_docsize)
"""


def execute(sql: str) -> list[Any]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return list(cursor.fetchall())


def test_the_store_is_sqlite(scene: Any) -> None:
    assert isinstance(store(), SqliteStore)


def test_whatever_writes_a_memory_the_search_follows(scene: Any) -> None:
    remember([scene.embedded("one"), scene.draft("two", source_key="s"), scene.draft("", source_key="t")])
    remember([scene.draft("again", source_key="s")])
    assert execute(COUNTS) == [(3, 1, 3)]
    Memory.objects.filter(text="two").update(embedding=scene.embedder.embed(["two"])[0])
    assert execute(COUNTS) == [(3, 2, 3)]
    Memory.objects.update(embedding=None)
    assert execute(COUNTS) == [(3, 0, 3)]
    Memory.objects.filter(text="one").delete()
    assert execute(COUNTS) == [(2, 0, 2)]


def test_what_a_migration_dropped_is_made_anew_with_all_that_is_kept(scene: Any) -> None:
    remember([scene.embedded("a kettle"), scene.draft("a teapot")])
    execute("DROP TRIGGER memory_search_gone")
    execute("DROP TRIGGER memory_search_new")
    remember([scene.draft("a cup of tea")])
    Memory.objects.filter(text="a teapot").delete()
    assert scene.recall_by_words("cups") == ()
    ensure_search()
    assert execute(COUNTS) == [(2, 1, 2)]
    assert {hit.text for hit in scene.recall("the cup and the kettle")} == {"a kettle", "a cup of tea"}
    with CaptureQueriesContext(connection) as queries:
        ensure_search()
    assert not any("CREATE" in query["sql"] for query in queries)
    names = execute("SELECT name FROM sqlite_master WHERE type = 'trigger' AND tbl_name = 'memory_memory'")
    assert {name for (name,) in names} == set(TRIGGERS)


def test_vectors_are_compared_in_batches_to_the_same_end(scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    texts = [f"tea number {number} of {number % 7}" for number in range(50)]
    remember([scene.embedded(text) if n % 5 else scene.draft(text) for n, text in enumerate(texts)])
    whole = scene.recall("tea of 3", limit=50)
    monkeypatch.setattr(sqlite_rows, "BATCH", 3)
    in_batches = scene.recall("tea of 3", limit=50)
    assert {hit.id: hit.score for hit in in_batches} == pytest.approx(
        {hit.id: hit.score for hit in whole}, abs=1e-4
    )
    assert len(whole) == 50


def test_a_recall_costs_as_many_statements_however_much_there_is(scene: Any) -> None:
    def count() -> int:
        with CaptureQueriesContext(connection) as queries:
            scene.recall("what did Bob say of the cat on 1 May 2026?", limit=20)
        return len(queries)

    remember([scene.embedded("cat 1")])
    few = count()
    remember([scene.embedded(f"cat {number}") for number in range(60)])
    assert count() == few <= 14
