"""Candidates: by the indexes where much is visible, one by one where little is, and never by reading all."""

from __future__ import annotations

import importlib
import math
import random
import re
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from memory.embeddings.spaces import forget_known_spaces, used_space
from memory.memories import remember
from memory.models import Memory, VectorSpace
from memory.retrieval import recall
from memory.scripts import SPACELESS
from memory.stores import candidates, postgres_recall, sizes
from memory.stores.base import nearest_for
from memory.stores.candidates import breadth_of, term_slots
from memory.stores.indexes import create_vector_index
from memory.stores.postgres_words import forget_common_words
from memory.stores.sizes import Size

VOCABULARY = (
    "garden rain coffee train winter music bread river friend letter window night morning book city sea "
    "mountain dog cat dinner work office holiday sister brother teacher school phone ticket bicycle hospital"
)
WORDS = re.findall(r"\w+", VOCABULARY)
QUESTION = "coffee and bread in the morning"


def execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


@pytest.fixture
def crowded(scene: Any) -> Any:
    """2,500 sentences, of which 1 in 50 was said in Ann's direct chat, and the others in the group."""
    source = random.Random(7)
    texts = [" ".join(source.choices(WORDS, k=9)) for _ in range(2500)]
    rooms = [scene.dm_of_ann.id if number % 50 == 0 else scene.group.id for number in range(len(texts))]
    drafts = [
        scene.draft(text, embedding=vector, embedding_model=scene.embedder.name, room_id=room)
        for text, vector, room in zip(texts, scene.embedder.embed(texts), rooms, strict=True)
    ]
    # What earlier tests took back still takes room, by which PostgreSQL would plan.
    execute("TRUNCATE memory_memory CASCADE")
    # An index that is built at once takes a tenth of the time of one that grows by the row.
    execute("DROP INDEX memory_embedding_half_384_hnsw")
    remember(drafts)
    execute("SET CONSTRAINTS ALL IMMEDIATE")
    create_vector_index(384)
    execute("ANALYZE memory_memory")
    forget_common_words()
    return scene


@pytest.fixture
def by_index(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sizes, "EXACT_STEPS", ((float("inf"), 0),))


def plan_of(scene: Any, text: str, **changes: Any) -> str:
    """Return how PostgreSQL counted what is visible and found candidates, with what it never did."""
    sizes._known.clear()
    with CaptureQueriesContext(connection) as queries:
        recall(scene.query(text, **changes))
    lines: list[str] = []
    with connection.cursor() as cursor:
        for query in queries.captured_queries[-2:]:
            cursor.execute("EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) " + query["sql"].replace("%", "%%"))
            lines += (row[0] for row in cursor.fetchall())
    return "\n".join(lines)


def lines_of(plan: str, words: str) -> Iterator[str]:
    return (line for line in plan.splitlines() if words in line)


def test_where_much_is_visible_the_indexes_are_asked_and_nothing_is_read_in_whole(crowded: Any) -> None:
    # A table as small as this one is read through for any join.
    for way in ("seqscan", "hashjoin", "mergejoin"):
        execute(f"SET LOCAL enable_{way} = off")
    plan = plan_of(crowded, QUESTION)
    (walked,) = lines_of(plan, "memory_embedding_half_384_hnsw")
    assert "never executed" not in walked
    read = [int(number) for number in re.findall(r"on memory_memory.*actual rows=(\d+)", plan)]
    assert max(read) <= 2001, "what may be visible is counted so far, and nothing else is read in whole"


def test_a_space_in_the_other_column_is_asked_through_its_own_index(crowded: Any) -> None:
    by_first = [hit.id for hit in crowded.recall(QUESTION)]
    execute("UPDATE memory_memory SET second_embedding = embedding, second_embedding_model = embedding_model")
    execute("UPDATE memory_memory SET embedding = NULL, embedding_model = ''")
    VectorSpace.objects.create(
        column="second_embedding",
        name="hashed-384",
        model="hashed",
        dimensions=384,
        kind="hashed",
        state="used",
    )
    forget_known_spaces()
    create_vector_index(384, "second_embedding")
    execute("ANALYZE memory_memory")
    for way in ("seqscan", "hashjoin", "mergejoin"):
        execute(f"SET LOCAL enable_{way} = off")
    assert used_space().column == "second_embedding"
    plan = plan_of(crowded, QUESTION)
    (walked,) = lines_of(plan, "memory_second_embedding_half_384_hnsw")
    assert "never executed" not in walked
    assert list(lines_of(plan, "memory_embedding_half_384_hnsw")) == []
    assert len({hit.id for hit in crowded.recall(QUESTION)} & set(by_first)) >= 8


def test_where_little_is_visible_the_indexes_are_not_walked(crowded: Any) -> None:
    plan = plan_of(crowded, QUESTION, room_id=crowded.dm_of_ann.id)
    assert list(lines_of(plan, "memory_embedding_half_384_hnsw")) == []
    assert len(crowded.recall(QUESTION, room_id=crowded.dm_of_ann.id)) == 10


def test_what_a_person_said_in_private_costs_nothing_in_a_group(crowded: Any) -> None:
    group = Memory.objects.filter(room_id=crowded.group.id).order_by()
    said = group.filter(id__in=list(group.values_list("id", flat=True)[:2250]))
    said.update(scope="person", room_id=crowded.dm_of_ann.id)
    execute("ANALYZE memory_memory")
    plan = plan_of(crowded, QUESTION)
    assert len(crowded.recall(QUESTION)) == 10
    walked = [*lines_of(plan, "memory_embedding_half_384_hnsw"), *lines_of(plan, "memory_private")]
    assert [line for line in walked if "never executed" not in line] == [], (
        "the 200 that may surface are compared"
    )
    read = [int(number) for number in re.findall(r"on memory_memory.*actual rows=(\d+)", plan)]
    assert max(read) <= 250


def test_a_filter_of_one_in_fifty_still_finds_enough_through_the_index(
    crowded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rare = {"room_id": crowded.dm_of_ann.id, "limit": 20, "kinds": ("message",)}
    # Only the vectors' candidates, without what was said around them.
    monkeypatch.setattr(candidates, "_around", lambda _shape: "")
    monkeypatch.setattr("memory.stores.postgres_recall.query_of", lambda _term, _stems: "")
    candidates.candidates_statement.cache_clear()
    try:
        exact = {hit.id for hit in crowded.recall(QUESTION, **rare)}
        monkeypatch.setattr(sizes, "EXACT_STEPS", ((float("inf"), 0),))
        sizes._known.clear()
        found = {hit.id for hit in crowded.recall(QUESTION, **rare)}
        assert len(found) == 20
        assert len(found & exact) >= 16
        execute("SET LOCAL hnsw.iterative_scan = off")
        few = crowded.recall(QUESTION, **rare)
        assert len(few) < 20, "without the setting it is too few: this test would notice its absence"
    finally:
        candidates.candidates_statement.cache_clear()


@pytest.mark.parametrize(
    ("steps", "breadth"), [(((1e9, 7), (math.inf, 11)), 7), (((9, 7), (math.inf, 11)), 11)]
)
def test_the_more_memories_the_more_broadly_is_searched(
    crowded: Any, monkeypatch: pytest.MonkeyPatch, steps: Any, breadth: int
) -> None:
    monkeypatch.setattr(candidates, "BREADTHS", steps)
    monkeypatch.setattr(sizes, "EXACT_STEPS", ((float("inf"), 0),))
    monkeypatch.setattr(candidates, "_around", lambda _shape: "")
    monkeypatch.setattr("memory.stores.postgres_recall.query_of", lambda _term, _stems: "")
    candidates.candidates_statement.cache_clear()
    # Without going on, the index brings as many as it keeps in view.
    execute("SET LOCAL hnsw.iterative_scan = off")
    try:
        found = crowded.recall(QUESTION, limit=20, room_id=crowded.group.id)
    finally:
        candidates.candidates_statement.cache_clear()
    assert len(found) in range(breadth - 2, breadth + 1), "all but what was said in the direct chat"


def test_where_much_was_deleted_lately_the_index_brings_too_little_and_the_rest_is_compared(
    crowded: Any,
) -> None:
    place = crowded.agent.pk, crowded.dm_of_ann.pk, crowded.ann.pk
    rare = {"room_id": crowded.dm_of_ann.pk, "limit": 20, "kinds": ("message",)}
    exact = [hit.id for hit in crowded.recall("zebra", **rare)]
    assert len(exact) == 20
    # As it is kept where much may surface, until it is deleted; the index may walk past little.
    sizes._known[place] = Size(total=2500.0, is_little=False)
    execute("SET LOCAL hnsw.max_scan_tuples = 40")
    with CaptureQueriesContext(connection) as queries:
        assert [hit.id for hit in crowded.recall("zebra", **rare)] == exact
    assert len(queries) == 4, "words, the index, the count, and all that is visible"
    assert sizes._known[place].is_little


def test_common_words_bring_no_candidates_where_much_is_visible(
    crowded: Any, by_index: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    remember([crowded.draft("an accordion in the garden")])
    monkeypatch.setattr("memory.stores.postgres_recall.READ_UP_TO", 100)
    chosen: list[str | None] = []
    choose = postgres_recall._rare

    def record(known: Any, total: Any) -> str | None:
        chosen.append(choose(known, total))
        return chosen[-1]

    monkeypatch.setattr(postgres_recall, "_rare", record)
    hits = crowded.recall_by_words("the accordion and the garden")
    assert hits[0].text == "an accordion in the garden"
    assert chosen == ["('accordion' | 'accordi':*)"]
    # Where all of its words are common, those that have two of them.
    (both, *_) = crowded.recall_by_words("garden coffee")
    assert chosen[1] in ("('garden') & ('coffe')", "('coffe') & ('garden')"), "by their stems alone"
    assert {"garden", "coffee"} <= set(both.text.split())
    # Two forms of one word say no more than one of them.
    crowded.recall_by_words("garden gardens")
    assert chosen[2] is None


def test_neighbours_are_found_by_their_place_in_the_room(crowded: Any) -> None:
    plan = plan_of(crowded, QUESTION)
    beside = [line for line in lines_of(plan, "memory_said_in_room") if "Only" not in line]
    assert any("Backward" in line for line in beside)


def test_sizes_grow_by_steps() -> None:
    assert [term_slots(count) for count in (0, 1, 4, 5, 8, 40)] == [0, 4, 4, 8, 8, 8]
    assert [breadth_of(total) for total in (0, 200_000, 200_001, 5e5, 5e6)] == [100, 100, 200, 200, 300]
    assert [nearest_for(limit) for limit in (1, 10, 20, 21, 50, 500)] == [20, 20, 40, 100, 100, 300]


def test_the_column_of_words_is_made_by_the_database(scene: Any) -> None:
    remember([scene.draft("Paintings of the 火车")])
    with connection.cursor() as cursor:
        cursor.execute("SELECT search::text FROM memory_memory")
        assert cursor.fetchone() == ("'paint':1 '火':4 '车':5",)
        cursor.execute("UPDATE memory_memory SET text = %s", ["boats " * 100_000])
        cursor.execute("SELECT length(search) FROM memory_memory")
        assert cursor.fetchone() == (1,)


def test_the_column_and_the_questions_agree_on_the_scripts_without_spaces() -> None:
    migration = importlib.import_module("memory.migrations.0004_search")
    assert migration.SPACELESS == SPACELESS


def test_a_text_of_a_million_words_of_its_own_is_kept(scene: Any) -> None:
    text = " ".join(f"w{number:x}" for number in range(200_000))
    assert remember([scene.draft(text), scene.draft("火" * 300_000), scene.draft("x" * 3_000_000)]) == 3


def test_every_session_searches_on_and_compiles_nothing(db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('hnsw.iterative_scan'), current_setting('jit')")
        assert cursor.fetchone() == ("relaxed_order", "off")
