"""The search beside the memories in SQLite: kept by triggers, made anew where they are gone, read in batches."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from memory.memories import remember
from memory.models import Memory
from memory.stores import sqlite_rows, store
from memory.stores.sqlite import SqliteStore
from memory.stores.sqlite_functions import VERSION, register_functions, size_of, vector_of, words_of
from memory.stores.sqlite_schema import TABLES, TRIGGERS, ensure_search

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


@pytest.fixture
def meanwhile(monkeypatch: pytest.MonkeyPatch) -> Callable[[Callable[[], object]], None]:
    """Have something happen between the statements of the next recall, before it reads the words."""

    def plan(change: Callable[[], object]) -> None:
        def find_beside(*arguments: Any) -> Any:
            found = kept(*arguments)
            change()
            return found

        kept = sqlite_rows.find_beside
        monkeypatch.setattr(sqlite_rows, "find_beside", find_beside)

    return plan


def test_a_memory_said_in_private_does_not_take_the_place_of_one_that_is_forgotten_meanwhile(
    scene: Any, meanwhile: Any
) -> None:
    remember([scene.embedded("Ann keeps bees on the roof")])
    (shared,) = Memory.objects.all()

    def forget_and_confide() -> None:
        shared.delete()
        secret = scene.embedded("bees frighten Bob", room_id=scene.dm_of_bob.id, person_id=scene.bob.id)
        remember([secret])

    meanwhile(forget_and_confide)
    assert scene.recall("bees") == ()


def test_what_may_no_longer_surface_as_the_words_are_read_is_not_handed_out(
    scene: Any, meanwhile: Any
) -> None:
    remember([scene.embedded("bees are on the roof"), scene.embedded("bees make honey")])
    moved = Memory.objects.filter(text="bees are on the roof")
    meanwhile(lambda: moved.update(superseded_by=Memory.objects.get(text="bees make honey")))
    assert [hit.text for hit in scene.recall("bees")] == ["bees make honey"]


def test_no_number_is_given_twice(scene: Any) -> None:
    remember([scene.draft("one"), scene.draft("two")])
    ((last,),) = execute("/* sqlite */ SELECT max(row) FROM memory_searched")
    Memory.objects.all().delete()
    remember([scene.draft("three")])
    assert execute("/* sqlite */ SELECT row FROM memory_searched") > [(last,)]


def test_words_that_other_functions_indexed_go_with_their_text(
    scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    connection.connection.create_function("memory_words", 1, lambda text: f"{text} kettledrum")
    with monkeypatch.context() as earlier:
        earlier.setitem(TABLES, "memory_searched", TABLES["memory_searched"].replace(VERSION, "0"))
        ensure_search()
    remember([scene.draft("a teapot")])
    assert list(sqlite_rows.find_matching("kettledrum"))
    register_functions(connection.connection)
    ensure_search()
    Memory.objects.all().delete()
    assert not list(sqlite_rows.find_matching("kettledrum OR teapot"))


def test_functions_that_return_something_else_have_another_version() -> None:
    text = "The cat's 2 Ideas: 我家 ไทย ÄÖ_x naïve बिल्ली"
    made = words_of(text), size_of(text), (vector_of("[3,4]") or b"").hex()
    assert (VERSION, made) == (
        "1-b44ae8f77c35",
        ("The cat's 2 Ideas:  我  家   ไ  ท  ย  ÄÖ_x naïve बिल्ली", 12, "9a99193fcdcc4c3f"),
    ), "raise the functions' number, so that what the earlier ones indexed is made anew"
