"""What every store keeps: single, in batches, once a source, with and without vectors, whatever the text."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest

from memory import writes
from memory.embeddings import get_embedder
from memory.memories import remember
from memory.models import Memory
from memory.searches import find_near
from memory.vector_spaces import pending
from memory.vectors import UnexpectedVectorSize


def test_one_and_many_are_kept_as_they_were(scene: Any) -> None:
    source = uuid4()
    assert remember([scene.embedded("one", speaker="Ann", importance=0.75, source_messages=(source,))]) == 1
    assert remember([scene.draft(f"text {number}") for number in range(250)]) == 250
    assert remember([]) == 0
    kept = Memory.objects.get(text="one")
    assert (kept.agent_id, kept.person_id, kept.room_id) == (scene.agent.id, scene.ann.id, scene.group.id)
    assert (kept.speaker, kept.importance, kept.source_messages) == ("Ann", 0.75, [str(source)])
    assert kept.said_at == scene.draft().said_at
    assert list(kept.embedding) == pytest.approx(scene.embedder.embed(["one"])[0], abs=1e-6)
    assert Memory.objects.count() == 251


def test_the_same_source_is_kept_once_for_each_agent(scene: Any) -> None:
    drafts = [scene.draft(text, source_key="message:1") for text in ("first", "second")]
    assert remember(drafts[:1]) == 1
    assert remember(drafts[1:]) == 0
    assert remember([scene.draft("third", source_key="message:1", agent_id=scene.make_agent().id)]) == 1
    assert remember([scene.draft("no source"), scene.draft("no source")]) == 2
    assert sorted(Memory.objects.values_list("text", flat=True)) == [
        "first",
        "no source",
        "no source",
        "third",
    ]


def test_a_vector_of_another_size_is_refused_and_nothing_is_kept(scene: Any) -> None:
    with pytest.raises(UnexpectedVectorSize, match="3 numbers"):
        remember([scene.draft("good"), scene.draft("bad", embedding=[1.0, 0.0, 0.0], embedding_model="x")])
    with pytest.raises(ValueError, match="model's name"):
        remember([scene.draft("bad", embedding=scene.embedder.embed(["bad"])[0])])
    assert not Memory.objects.exists()


@pytest.mark.parametrize(
    ("said", "kept"),
    [("a\x00b", "ab"), ("a\ud83db", "a?b"), ("", ""), ("100% {0} %s %(x)s 'q' \"", None), ("😀" * 30, None)],
)
def test_any_text_is_kept_and_found(scene: Any, said: str, kept: str | None) -> None:
    remember([scene.draft(f"marker {said}", speaker=said[:5])])
    assert Memory.objects.get().text == f"marker {said if kept is None else kept}"
    (hit,) = scene.recall_by_words(f"marker {said}")
    assert hit.text == Memory.objects.get().text


def test_a_very_long_text_is_kept_whole(scene: Any) -> None:
    text = "word " * 100_000 + "lastly"
    remember([scene.draft(text)])
    assert Memory.objects.get().text == text
    assert len(scene.recall_by_words("word")) == 1


def test_vectors_that_come_later_are_recalled_by(scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pending, "resting", pending.Resting())
    remember([scene.draft("the kettle sings"), scene.draft("")])
    vector = get_embedder().embed(["the kettle sings"])[0]
    here = {"agent_id": scene.agent.id, "room_id": scene.group.id, "person_id": scene.ann.id}
    assert find_near(vector, threshold=0.5, limit=5, **here) == []
    assert writes.embed_pending() == 1
    assert writes.embed_pending() == 0
    assert [hit.text for hit in find_near(vector, threshold=0.5, limit=5, **here)] == ["the kettle sings"]
    assert Memory.objects.get(text="the kettle sings").embedding_model == scene.embedder.name


def test_a_text_that_changed_is_found_by_its_new_words_alone(scene: Any) -> None:
    remember([scene.draft("an old kettle")])
    Memory.objects.update(text="a new teapot")
    assert scene.recall_by_words("kettle") == ()
    assert [hit.text for hit in scene.recall_by_words("teapots")] == ["a new teapot"]
    Memory.objects.all().delete()
    assert scene.recall_by_words("teapots") == ()
