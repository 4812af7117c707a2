"""Recall: by nearness, in one statement, through the index, and never beyond its scope."""

from __future__ import annotations

import random
import re
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from memory import retrieval
from memory.memories import remember
from memory.models import Memory
from memory.retrieval import RecallQuery, recall
from memory.stores.postgres import create_vector_index
from memory.vectors import UnexpectedVectorSize
from plugins.api import RecalledMemory

VOCABULARY = (
    "garden rain coffee train winter music bread river friend letter window night morning book city sea "
    "mountain dog cat dinner work office holiday sister brother teacher school phone ticket bicycle hospital"
)
WORDS = re.findall(r"\w+", VOCABULARY)


def test_the_nearest_comes_first_in_one_statement(scene: Any) -> None:
    source = uuid4()
    remember(
        [
            scene.embedded("my cat likes fish", source_messages=(source,), speaker="Ann"),
            scene.embedded("rain again"),
        ]
    )
    with CaptureQueriesContext(connection) as queries:
        hits = recall(scene.query("what does my cat like"))
    assert len(queries) == 1
    assert [hit.text for hit in hits] == ["my cat likes fish", "rain again"]
    assert hits[0].score == hits[0].scores["vector"] == pytest.approx(0.447, abs=0.2)
    assert hits[0].source_message_ids == (source,)
    assert (hits[0].kind, hits[0].speaker) == ("message", "Ann")
    assert hits[0].said_at == scene.draft().said_at


def test_messages_that_are_shown_already_are_left_out_but_not_what_was_learnt_from_them(scene: Any) -> None:
    shown, other = uuid4(), uuid4()
    remember(
        [
            scene.embedded("the message", source_messages=(shown,)),
            scene.embedded("the fact", kind="fact", source_messages=(shown, other)),
            scene.embedded("another message", source_messages=(other,)),
        ]
    )
    hits = recall(scene.query("message fact", exclude_message_ids=frozenset({shown, uuid4()})))
    assert {hit.text for hit in hits} == {"the fact", "another message"}
    assert [hit.kind for hit in recall(scene.query("message", kinds=("fact", "episode")))] == ["fact"]
    assert len(recall(scene.query("message", limit=2))) == 2


def test_what_was_superseded_or_has_another_models_vector_is_not_found(scene: Any) -> None:
    remember([scene.embedded("old words"), scene.embedded("new words"), scene.draft("no vector words")])
    new = Memory.objects.get(text="new words")
    Memory.objects.filter(text="old words").update(superseded_by=new)
    assert [hit.text for hit in recall(scene.query("words"))] == ["new words"]
    Memory.objects.filter(id=new.id).update(embedding_model="another")
    assert recall(scene.query("words")) == []


def test_a_vector_of_another_size_is_an_error_and_none_finds_nothing(scene: Any) -> None:
    with pytest.raises(UnexpectedVectorSize, match="EMBEDDING_DIMENSIONS"):
        recall(scene.query("x", embedding=[1.0, 0.0]))
    with CaptureQueriesContext(connection) as queries:
        assert recall(scene.query("x", embedding=None)) == []
        assert recall(scene.query("x", limit=0)) == []
    assert len(queries) == 0


def test_what_is_said_in_private_surfaces_in_that_persons_private_rooms_alone(scene: Any) -> None:
    remember([scene.embedded("my secret", scope="person", room_id=scene.dm_of_ann.id)])
    voice = scene.make_room("VOICE_DM", scene.ann)
    shared = scene.make_room("API", scene.ann, scene.bob)
    places = {
        (room.id, person and person.id): len(
            recall(scene.query("secret", room_id=room.id, person_id=person and person.id))
        )
        for room in (scene.dm_of_ann, scene.dm_of_bob, scene.group, voice, shared)
        for person in (scene.ann, scene.bob, None)
    }
    seen = {place for place, count in places.items() if count}
    assert seen == {(scene.dm_of_ann.id, scene.ann.id), (voice.id, scene.ann.id)}
    assert recall(scene.query("secret", room_id=None)) == []


def test_a_merged_persons_chat_is_still_theirs(scene: Any) -> None:
    remember([scene.embedded("my secret", scope="person", person_id=scene.bob.id)])
    scene.ann.merged_into = scene.bob
    scene.ann.save()
    assert len(recall(scene.query("secret", room_id=scene.dm_of_ann.id, person_id=scene.bob.id))) == 1


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
    # An index that is built at once takes a tenth of the time of one that grows by the row.
    _execute("DROP INDEX memory_embedding_384_hnsw")
    remember(drafts)
    _execute("SET CONSTRAINTS ALL IMMEDIATE")
    create_vector_index(384)
    _execute("ANALYZE memory_memory")
    return scene


def _execute(sql: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(sql)


def _recall_and_explain(query: RecallQuery) -> tuple[list[RecalledMemory], str]:
    with CaptureQueriesContext(connection) as queries:
        hits = recall(query)
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN " + queries[0]["sql"])
        return hits, "\n".join(row[0] for row in cursor.fetchall())


def test_where_much_is_visible_recall_goes_through_the_index(crowded: Any) -> None:
    _, plan = _recall_and_explain(crowded.query("coffee and bread in the morning"))
    assert "memory_embedding_384_hnsw" in plan


def test_where_little_is_visible_recall_is_exact_and_the_index_is_not_walked(crowded: Any) -> None:
    rare = crowded.query("coffee and bread in the morning", room_id=crowded.dm_of_ann.id)
    hits, _ = _recall_and_explain(rare)
    assert len(hits) == 10
    with CaptureQueriesContext(connection) as queries:
        recall(rare)
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN ANALYZE " + queries[0]["sql"])
        lines = [row[0] for row in cursor.fetchall()]
    walked = next(line for line in lines if "memory_embedding_384_hnsw" in line)
    assert "never executed" in walked


def test_a_filter_of_one_in_fifty_still_finds_ten_through_the_index(
    crowded: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    rare = crowded.query("coffee and bread in the morning", room_id=crowded.dm_of_ann.id)
    exact = recall(rare)
    monkeypatch.setattr(retrieval, "EXACT_UP_TO", 0)
    retrieval._statement.cache_clear()
    try:
        _execute("SET LOCAL enable_seqscan = off; SET LOCAL enable_sort = off")
        hits, plan = _recall_and_explain(rare)
        assert "memory_embedding_384_hnsw" in plan
        assert len(hits) == 10
        assert len({hit.id for hit in hits} & {hit.id for hit in exact}) >= 8
        assert [hit.score for hit in hits] == sorted((hit.score for hit in hits), reverse=True)
        _execute("SET LOCAL hnsw.iterative_scan = off")
        assert len(recall(rare)) < 10, "without the setting it is too few: this test would notice its absence"
    finally:
        retrieval._statement.cache_clear()


MEMORIES = st.lists(
    st.tuples(
        st.integers(0, 1), st.integers(0, 4), st.integers(0, 1), st.sampled_from(["room", "person", "agent"])
    ),
    min_size=1,
    max_size=6,
)


@settings(
    max_examples=200,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(memories=MEMORIES, agent=st.integers(0, 1), room=st.integers(0, 4), person=st.integers(0, 1))
def test_no_memory_ever_leaves_its_scope(
    scene: Any, memories: list[tuple[int, int, int, str]], agent: int, room: int, person: int
) -> None:
    world = _world(scene)
    Memory.objects.all().delete()
    remember(
        [
            scene.draft(
                f"the marker {number}",
                agent_id=world["agents"][of_agent].id,
                room_id=world["rooms"][of_room][0].id,
                person_id=world["people"][of_person].id,
                scope=scope,
                embedding=world["vector"],
                embedding_model=scene.embedder.name,
            )
            for number, (of_agent, of_room, of_person, scope) in enumerate(memories)
        ]
    )
    asked_room, owner = world["rooms"][room]
    hits = recall(
        scene.query(
            "marker",
            agent_id=world["agents"][agent].id,
            room_id=asked_room.id,
            person_id=world["people"][person].id,
            embedding=world["vector"],
        )
    )
    allowed = {
        f"the marker {number}"
        for number, (of_agent, of_room, of_person, scope) in enumerate(memories)
        if of_agent == agent
        and (
            scope == "agent"
            or (scope == "room" and of_room == room)
            or (scope == "person" and of_person == person == owner)
        )
    }
    assert {hit.text for hit in hits} == allowed


_worlds: dict[Any, dict[str, Any]] = {}


def _world(scene: Any) -> dict[str, Any]:
    """Two agents, two people, five rooms; each room with the place of the person whose alone it is."""
    if scene.agent.id not in _worlds:
        _worlds.clear()
        _worlds[scene.agent.id] = {
            "agents": [scene.agent, scene.make_agent()],
            "people": [scene.ann, scene.bob],
            "rooms": [
                (scene.dm_of_ann, 0),
                (scene.dm_of_bob, 1),
                (scene.group, None),
                (scene.make_room("API", scene.ann), 0),
                (scene.make_room("THREAD", scene.ann), None),
            ],
            "vector": scene.embedder.embed(["the marker"])[0],
        }
    return _worlds[scene.agent.id]
