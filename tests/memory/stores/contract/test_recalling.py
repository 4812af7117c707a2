"""What every store recalls: by words, by vectors, by both; dates, neighbours, languages; in an order that holds."""

from __future__ import annotations

import datetime as dt
from typing import Any, Literal
from unicodedata import normalize

import pytest

from memory.memories import remember
from memory.models import Memory
from memory.searches import find_near, find_recent
from memory.vectors import UnexpectedVectorSize
from tests.memory.test_languages import TALKS

Form = Literal["NFC", "NFD"]


def texts(hits: Any) -> list[str]:
    return [hit.text for hit in hits]


def here(scene: Any, **changes: Any) -> dict[str, Any]:
    return {"agent_id": scene.agent.id, "room_id": scene.group.id, "person_id": scene.ann.id, **changes}


def day(scene: Any, days: float) -> dt.datetime:
    return scene.draft().said_at - dt.timedelta(days=days)


@pytest.fixture
def spoken(scene: Any) -> Any:
    remember(
        [
            scene.embedded("my cat likes fish", speaker="Ann", said_at=day(scene, 1)),
            scene.embedded("the garden needs rain", speaker="Bob", said_at=day(scene, 40)),
            scene.draft("a cat without a vector", said_at=day(scene, 80)),
            scene.embedded("nothing of it", said_at=day(scene, 120)),
        ]
    )
    return scene


def test_words_find_by_their_stems_and_beginnings(spoken: Any) -> None:
    assert set(texts(spoken.recall_by_words("Are there cats?"))[:2]) == {
        "my cat likes fish",
        "a cat without a vector",
    }
    assert texts(spoken.recall_by_words("gardening"))[0] == "the garden needs rain"
    assert spoken.recall_by_words("zeppelin") == ()
    assert spoken.recall_by_words("the of and") == ()


def test_vectors_find_from_a_threshold_on_nearest_first(spoken: Any) -> None:
    (vector,) = spoken.embedder.embed(["my cat likes fish"])
    found = find_near(vector, threshold=0.9, limit=10, **here(spoken))
    assert [(hit.text, round(hit.score, 5)) for hit in found] == [("my cat likes fish", 1.0)]
    all_found = find_near(vector, threshold=-1.0, limit=10, **here(spoken))
    assert [hit.score for hit in all_found] == sorted((hit.score for hit in all_found), reverse=True)
    assert len(all_found) == 3, "what has no vector is not near any"
    assert len(find_near(vector, threshold=-1.0, limit=2, **here(spoken))) == 2
    assert find_near(vector, threshold=-1.0, limit=0, **here(spoken)) == []
    with pytest.raises(UnexpectedVectorSize):
        find_near([1.0], threshold=0.5, limit=10, **here(spoken))


def test_cosines_are_the_same_in_every_store(spoken: Any) -> None:
    (vector,) = spoken.embedder.embed(["rain in the garden"])
    (other,) = spoken.embedder.embed(["the garden needs rain"])
    (hit,) = find_near(vector, threshold=0.5, limit=1, **here(spoken))
    assert hit.score == pytest.approx(sum(a * b for a, b in zip(vector, other, strict=True)), abs=1e-5)
    # The length of a vector says nothing.
    Memory.objects.filter(pk=hit.id).update(embedding=[7.0 * number for number in other])
    (again,) = find_near(vector, threshold=0.5, limit=1, **here(spoken))
    assert again.score == pytest.approx(hit.score, abs=1e-5)


def test_both_together_rank_by_all_signals(spoken: Any) -> None:
    hits = spoken.recall("what does the cat like")
    assert texts(hits)[0] == "my cat likes fish"
    assert set(hits[0].scores) >= {"vector", "text", "recency"}
    assert hits[0].score == pytest.approx(sum(hits[0].scores.values()))
    assert "vector" not in spoken.recall_by_words("cat")[0].scores


def test_another_models_vector_is_never_compared(spoken: Any) -> None:
    Memory.objects.filter(text="my cat likes fish").update(embedding_model="another")
    (vector,) = spoken.embedder.embed(["my cat likes fish"])
    assert "my cat likes fish" not in texts(find_near(vector, threshold=-1.0, limit=9, **here(spoken)))
    assert "my cat likes fish" in texts(spoken.recall("cat"))


def test_the_most_recent_come_newest_first(spoken: Any) -> None:
    assert texts(find_recent(2, **here(spoken))) == ["my cat likes fish", "the garden needs rain"]
    assert find_recent(0, **here(spoken)) == []
    assert find_recent(5, kinds=("fact",), **here(spoken)) == []
    assert find_recent(5, **here(spoken, room_id=spoken.dm_of_bob.id)) == []


def test_a_limit_is_kept_whatever_it_is(spoken: Any) -> None:
    assert [len(spoken.recall("cat", limit=limit)) for limit in (-1, 0, 1, 3, 500)] == [0, 0, 1, 3, 4]


def test_a_date_brings_what_was_said_then(spoken: Any) -> None:
    asked = day(spoken, 40).strftime("What happened on %d %B %Y?")
    assert texts(spoken.recall_by_words(asked))[0] == "the garden needs rain"
    # To the microsecond: the first moment of the day belongs to it, that of the next does not.
    midnight = day(spoken, 200).replace(hour=0, minute=0, second=0, microsecond=0)
    moments = {"before": -TICK, "first": 0 * DAY, "last": DAY - TICK, "after": DAY}
    remember([spoken.draft(text, said_at=midnight + at, kind="fact") for text, at in moments.items()])
    hits = spoken.recall_by_words(midnight.strftime("on %d %B %Y"), kinds=("fact",))
    assert set(texts(hits)) == {"first", "last"}


DAY, TICK = dt.timedelta(days=1), dt.timedelta(microseconds=1)


def test_the_two_messages_before_and_after_come_with_a_hit(scene: Any) -> None:
    said = ["zero", "one", "two", "the parrot speaks", "four", "five", "six"]
    remember(
        [scene.draft(text, said_at=day(scene, 9) + dt.timedelta(minutes=n)) for n, text in enumerate(said)]
    )
    hits = scene.recall_by_words("parrots")
    assert set(texts(hits)) == {"one", "two", "the parrot speaks", "four", "five"}
    assert scene.recall_by_words("parrots", kinds=("fact",)) == ()


def test_messages_of_one_instant_keep_their_order(scene: Any) -> None:
    remember([scene.draft(text) for text in ("one", "two", "parrot", "four", "five", "six")])
    assert set(texts(scene.recall_by_words("parrot"))) == {"one", "two", "parrot", "four", "five"}


def test_of_equal_scores_the_newer_comes_first(scene: Any) -> None:
    remember([scene.embedded(f"tea {n}", said_at=day(scene, 0), kind="fact") for n in range(3)])
    Memory.objects.update(text="tea")
    first = [hit.id for hit in scene.recall("tea")]
    assert [hit.id for hit in scene.recall("tea")] == first
    (vector,) = scene.embedder.embed(["tea"])
    near = [hit.id for hit in find_near(vector, threshold=0.1, limit=3, **here(scene))]
    assert near == sorted(near, reverse=True)
    for days, id in enumerate(first):
        Memory.objects.filter(pk=id).update(said_at=day(scene, 9 - days))
    assert [hit.id for hit in scene.recall("tea")] == first[::-1]


def test_what_the_prompt_shows_anyway_is_left_out(scene: Any) -> None:
    from uuid import uuid4

    shown, other = uuid4(), uuid4()
    remember(
        [
            scene.draft("tea at noon", source_messages=(shown,)),
            scene.draft("tea at five", source_messages=(other,)),
            scene.draft("Ann drinks tea", kind="fact", source_messages=(shown,)),
        ]
    )
    hits = scene.recall_by_words("tea", exclude_message_ids=frozenset({shown, uuid4()}))
    assert set(texts(hits)) == {"tea at five", "Ann drinks tea"}


@pytest.mark.parametrize("language", TALKS)
def test_other_languages_are_found_by_words_alone(scene: Any, language: str) -> None:
    said, asked = TALKS[language]
    remember([scene.draft(text, said_at=day(scene, 20 - place)) for place, text in enumerate(said)])
    hits = [texts(scene.recall_by_words(question, limit=3)) for question, _ in asked]
    assert all(said[place] in found for (_, place), found in zip(asked, hits, strict=True))
    assert sum(found[0] == said[place] for (_, place), found in zip(asked, hits, strict=True)) >= 7


def test_names_dates_and_signs_in_any_script_are_words(scene: Any) -> None:
    for text in (
        "Zoë Quill",
        "O'Neill",
        "3.5 litres",
        "joe@example.org",
        "火车",
        "สวัสดี",
        "Ångström",
    ):
        remember([scene.draft(f"{text} indeed", room_id=scene.dm_of_ann.id)])
        hits = scene.recall_by_words(f"what of {text}?", room_id=scene.dm_of_ann.id, limit=1)
        assert texts(hits) == [f"{text} indeed"]


@pytest.mark.parametrize("kept", ["NFC", "NFD"])
@pytest.mark.parametrize("asked", ["NFC", "NFD"])
@pytest.mark.parametrize("word", ["crème brûlée", "tiếng Việt", "김치찌개", "Йод"])
def test_a_word_is_found_however_its_accents_were_sent(
    scene: Any, kept: Form, asked: Form, word: str
) -> None:
    remember([scene.draft(normalize(kept, f"{word} indeed")), scene.draft("something else")])
    hits = scene.recall_by_words(normalize(asked, f"what of {word}?"))
    assert texts(hits)[:1] == [f"{word} indeed"]
