"""Vectors of two models side by side: begun, filled, switched to and back, removed; and each refusal."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from memory.embeddings import get_embedder
from memory.embeddings.base import EmbeddingError
from memory.embeddings.spaces import find_other_space, forget_known_spaces, known_spaces, used_space
from memory.facts import NewFact, Place, find_known_facts, learn_facts
from memory.memories import remember
from memory.models import Memory, VectorSpace
from memory.retrieval import recall
from memory.stores.indexes import has_vector_index, is_usable, waiting_index_name
from memory.stores.postgres import VectorTooLarge
from memory.vector_spaces import changes, pending
from memory.vector_spaces.changes import CannotChange
from memory.writes import embed_pending
from tests.doubles.spaces import begin, hashed, remove, states, switch, told, usual_indexes

TEXTS = ("the parrot sings", "the fish swims", "bread is baked in the morning")


pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _usual_store(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(pending, "resting", pending.Resting())
    forget_known_spaces()
    yield
    usual_indexes()


def columns() -> list[tuple[bool, str, bool, str | None]]:
    rows = Memory.objects.order_by("created_at", "id").values_list(
        "embedding", "embedding_model", "second_embedding", "second_embedding_model"
    )
    return [(first is not None, model, second is not None, other) for first, model, second, other in rows]


def by_vectors(scene: Any, text: str, **changes: Any) -> list[str]:
    hits = recall(scene.query(text, **changes)).memories
    return [hit.text for hit in hits if "vector" in hit.scores]


def test_before_another_model_is_begun_the_settings_speak_and_no_row_is_needed(scene: Any) -> None:
    assert known_spaces() == ()
    assert (used_space().column, used_space().choice) == ("embedding", hashed(384))
    assert find_other_space() is None
    with CaptureQueriesContext(connection) as queries:
        known_spaces()
    assert len(queries) == 0, "what the cache knows asks nothing of the database"


def test_another_model_is_filled_beside_the_one_in_use(scene: Any) -> None:
    remember([scene.embedded(text) for text in TEXTS])
    begin()
    assert states() == {
        "hashed-384": ("embedding", "used"),
        "hashed-64": ("second_embedding", "filling"),
    }
    assert by_vectors(scene, "parrot") == by_vectors(scene, "parrot", limit=10) != []
    assert embed_pending() == 3
    assert columns() == [(True, "hashed-384", True, "hashed-64")] * 3
    # Nothing waits any more: the next run finds that, and has the index built.
    embed_pending()
    assert VectorSpace.objects.get(name="hashed-64").filled_at is not None
    assert has_vector_index(64, "second_embedding")
    assert {len(vector) for vector in Memory.objects.values_list("second_embedding", flat=True)} == {64}


def test_after_a_switch_recall_and_new_memories_use_the_other_column(scene: Any) -> None:
    remember([scene.embedded(text) for text in TEXTS])
    begin()
    embed_pending()
    embed_pending()
    recall(scene.query("the parrot sings"))
    assert switch().name == "hashed-64"
    embedder = get_embedder()
    assert (embedder.name, used_space().column) == ("hashed-64", "second_embedding")
    with CaptureQueriesContext(connection) as queries:
        found = recall(scene.query("the parrot sings"))
    assert len(queries) == 2, "a recall takes as many statements as before"
    assert found.embedding_model == "hashed-64"
    assert found.memories[0].text == "the parrot sings"
    assert ".second_embedding <=>" in queries[1]["sql"]
    assert ".embedding <=>" not in queries[1]["sql"]
    vector = embedder.embed(["a new one"])[0]
    remember([scene.draft("a new one", embedding=vector, embedding_model=embedder.name)])
    assert columns()[-1] == (False, "", True, "hashed-64")
    # The former space is kept whole, so that undoing takes nothing away.
    assert embed_pending() == 1
    assert columns()[-1] == (True, "hashed-384", True, "hashed-64")


def test_a_switch_is_undone_the_same_way_and_may_be_done_again(scene: Any) -> None:
    remember([scene.embedded(text) for text in TEXTS])
    begin()
    embed_pending()
    embed_pending()
    switch()
    assert switch(back=True).name == "hashed-384"
    assert states() == {"hashed-384": ("embedding", "used"), "hashed-64": ("second_embedding", "kept")}
    assert get_embedder().name == "hashed-384"
    assert "the fish swims" in by_vectors(scene, "fish")
    assert switch().name == "hashed-64"


def test_finishing_removes_the_former_vectors_and_the_other_column_can_be_begun(scene: Any) -> None:
    remember([scene.embedded(text) for text in TEXTS])
    begin()
    embed_pending()
    embed_pending()
    switch()
    assert remove() == 3
    assert columns() == [(False, "", True, "hashed-64")] * 3
    assert not has_vector_index(384)
    assert states() == {"hashed-64": ("second_embedding", "used")}
    assert VectorSpace.objects.get(name="hashed-384").state == "removed"
    assert "the fish swims" in by_vectors(scene, "fish")
    # Both columns can be the one in use.
    assert begin(32).column == "embedding"
    assert embed_pending() == 3
    embed_pending()
    assert columns() == [(True, "hashed-32", True, "hashed-64")] * 3
    switch()
    assert "the fish swims" in by_vectors(scene, "fish")
    assert remove() == 3
    assert states() == {"hashed-32": ("embedding", "used")}
    assert is_usable(waiting_index_name("second_embedding")) is None


def test_what_was_cut_off_while_it_was_removed_is_gone_on_with(scene: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(pending, "CLEAR_BATCH", 2)
    remember([scene.embedded(f"text {number}") for number in range(5)])
    begin()
    embed_pending()
    switch()
    space = told(changes.begin_removal)
    assert next(changes.remove(space)) == 2
    assert states()["hashed-384"] == ("embedding", "removing")
    with pytest.raises(CannotChange, match="--finish goes on"):
        told(changes.switch)
    assert remove() == 3
    assert states() == {"hashed-64": ("second_embedding", "used")}


def test_a_model_that_was_begun_can_be_given_up(scene: Any) -> None:
    remember([scene.embedded(text) for text in TEXTS])
    begin()
    embed_pending()
    with pytest.raises(CannotChange, match=r"still being filled.*--cancel"):
        told(changes.begin_removal)
    assert remove(gives_up=True) == 3
    assert columns() == [(True, "hashed-384", False, None)] * 3
    begin(32)
    embed_pending()
    switch()
    with pytest.raises(CannotChange, match=r"was in use before.*--finish"):
        told(changes.begin_removal, gives_up=True)


def test_at_most_two_stand_side_by_side(scene: Any) -> None:
    begin()
    assert begin().name == "hashed-64", "to begin again what is being filled changes nothing"
    with pytest.raises(CannotChange, match="two already, hashed-384 and hashed-64: --switch to hashed-64"):
        begin(32)
    assert VectorSpace.objects.count() == 2
    switch()
    with pytest.raises(CannotChange, match="remove hashed-384 with --finish first"):
        begin(32)


def test_what_cannot_be_begun_is_refused(scene: Any) -> None:
    with pytest.raises(CannotChange, match=r"hashed-384 is in use already.*EMBEDDING_BASE_URL"):
        begin(384)
    with pytest.raises(VectorTooLarge, match="4001"):
        begin(4001)
    with pytest.raises(CannotChange, match="1 to 100 characters"):
        told(changes.begin, hashed(64), name="x" * 101, sealed_key="", sealed_used_key="")
    remember([scene.embedded("text")])
    Memory.objects.update(embedding_model="another")
    with pytest.raises(CannotChange, match="have vectors of another"):
        begin()
    assert VectorSpace.objects.count() == 0


def test_who_switches_or_undoes_twice_changes_nothing_more(scene: Any) -> None:
    begin()
    embed_pending()
    switch()
    with pytest.raises(CannotChange, match="hashed-64 is in use already; --undo goes back to hashed-384"):
        switch()
    switch(back=True)
    with pytest.raises(CannotChange, match="Nothing was switched: hashed-384 is in use"):
        switch(back=True)
    assert switch().name == "hashed-64"


def test_a_switch_is_refused_while_vectors_are_missing(scene: Any) -> None:
    with pytest.raises(CannotChange, match="no other space: begin one with --model"):
        changes.await_vectors()
    with pytest.raises(CannotChange, match="nothing to go back to"):
        changes.await_vectors(back=True)
    remember([scene.embedded(text) for text in TEXTS])
    begin()
    with pytest.raises(CannotChange, match=r"3 memories have no vector of hashed-64 yet.*--now"):
        changes.await_vectors(patience_seconds=0)
    with pytest.raises(CannotChange, match="Nothing was switched"):
        changes.await_vectors(back=True)
    Memory.objects.update(second_embedding=[0.0] * 64, second_embedding_model="hashed-64")
    with pytest.raises(CannotChange, match="index is not built yet"):
        changes.await_vectors(patience_seconds=0)
    embed_pending()
    changes.await_vectors(patience_seconds=0)


def test_an_undo_is_refused_while_the_former_space_lacks_what_was_said_since(scene: Any) -> None:
    begin()
    embed_pending()
    switch()
    remember([scene.draft("said since")])
    with pytest.raises(CannotChange, match="1 memory has no vector of hashed-384 yet"):
        changes.await_vectors(back=True, patience_seconds=0)
    assert embed_pending() == 2
    changes.await_vectors(back=True, patience_seconds=0)


def test_a_process_that_knows_the_state_of_before_a_switch_does_no_harm(scene: Any, monkeypatch: Any) -> None:
    from memory.embeddings import spaces

    remember([scene.embedded(text) for text in TEXTS])
    begin()
    embed_pending()
    embed_pending()
    before = known_spaces()
    switch()
    monkeypatch.setattr(spaces, "known_spaces", lambda: before)
    assert get_embedder().name == "hashed-384"
    assert "the fish swims" in by_vectors(scene, "fish")
    (vector,) = get_embedder().embed(["late"])
    remember([scene.draft("late", embedding=vector, embedding_model="hashed-384")])
    assert columns()[-1] == (True, "hashed-384", False, None)
    monkeypatch.undo()
    assert get_embedder().name == "hashed-64"
    assert embed_pending() == 1
    assert columns()[-1] == (True, "hashed-384", True, "hashed-64")


def test_a_vector_of_a_model_that_has_no_column_any_more_is_left_out(scene: Any) -> None:
    begin()
    embed_pending()
    switch()
    remove()
    remember([scene.embedded("of before")])
    assert columns() == [(False, "", False, None)]
    assert embed_pending() == 1
    assert columns() == [(False, "", True, "hashed-64")]


def test_strays_of_another_model_are_cleared_before_a_space_counts_as_filled(scene: Any) -> None:
    remember([scene.embedded(text) for text in TEXTS])
    begin()
    Memory.objects.filter(text=TEXTS[0]).update(
        second_embedding=[0.5] * 64, second_embedding_model="long gone"
    )
    embed_pending()
    assert VectorSpace.objects.get(name="hashed-64").filled_at is None
    embed_pending()
    embed_pending()
    assert {row[3] for row in columns()} == {"hashed-64"}
    assert VectorSpace.objects.get(name="hashed-64").filled_at is not None


def test_facts_are_compared_in_the_space_in_use(scene: Any) -> None:
    remember([scene.embedded(text, source_key=f"message:{scene.ann.id}") for text in TEXTS[:1]])
    begin()
    embed_pending()
    switch()
    place = Place(agent_id=scene.agent.id, scope="room", room_id=scene.group.id)

    def learn(text: str) -> Any:
        (vector,) = get_embedder().embed([text])
        fact = NewFact(
            text=text,
            said_at=scene.query("x").now,
            subject_id=scene.ann.id,
            sources=(text,),
            embedding=vector,
            embedding_model=get_embedder().name,
        )
        return learn_facts(place, [fact])

    assert learn("Ann likes green tea").new == 1
    # For the hashed embedder these are the same, so that their vectors were compared.
    assert learn("green tea Ann likes").strengthened == 1
    assert Memory.objects.get(kind="fact").second_embedding_model == "hashed-64"
    (known,) = find_known_facts(place, [scene.ann.id], subject_ids=[scene.ann.id], limit=3)
    assert known.text == "Ann likes green tea"


def test_the_settings_say_where_a_model_is_that_they_choose_themselves(scene: Any, settings: Any) -> None:
    from memory.embeddings.choice import EmbeddingChoice
    from memory.embeddings.spaces import choice_of

    settings.EMBEDDING_BASE_URL, settings.EMBEDDING_MODEL = "http://old:1/v1", "m"
    settings.EMBEDDING_DIMENSIONS = 64
    VectorSpace.objects.create(
        column="embedding",
        name="m",
        model="m",
        dimensions=64,
        kind="remote",
        base_url="http://row:1/v1",
        state="used",
    )
    forget_known_spaces()
    assert choice_of(used_space()).base_url == "http://old:1/v1"
    settings.EMBEDDING_MODEL = "another"
    assert choice_of(used_space()) == EmbeddingChoice(
        kind="remote", model="m", dimensions=64, base_url="http://row:1/v1"
    )
    settings.EMBEDDING_BASE_URL, settings.EMBEDDING_DIMENSIONS = "", 7
    assert choice_of(used_space()).base_url == "http://row:1/v1", (
        "settings that contradict each other choose none"
    )


def test_while_the_cache_is_away_the_spaces_are_read_from_the_database(scene: Any, monkeypatch: Any) -> None:
    from eliza_site.cache.far import FarAway, FarLevel

    begin()
    embed_pending()
    switch()

    def away(*_given: Any, **_named: Any) -> Any:
        raise FarAway

    for name in ("read", "lease", "settle", "delete", "write"):
        monkeypatch.setattr(FarLevel, name, away)
    forget_known_spaces()
    assert get_embedder().name == "hashed-64"
    remember([scene.draft("a turn goes on")])
    assert scene.recall("turn goes") != ()


def test_without_an_embedder_words_are_recalled_whatever_the_space(scene: Any) -> None:
    remember([scene.embedded(text) for text in TEXTS])
    begin()
    switch()

    def away() -> Any:
        raise EmbeddingError("away")

    found = recall(scene.query("fish"), embedder=away)
    assert (found.error, found.memories[0].text) == ("away", "the fish swims")


def test_a_forgotten_agents_and_an_exported_persons_memories_know_both_columns(scene: Any) -> None:
    from memory.exporting import memories_of

    remember([scene.embedded("mine")])
    begin()
    embed_pending()
    assert [row["embedding_model"] for row in memories_of([scene.ann.id], [], set)] == ["hashed-384"]
    switch()
    (row,) = memories_of([scene.ann.id], [], set)
    assert row["embedding_model"] == "hashed-64"
    assert "second_embedding" not in row
