"""Recall: by vectors, words, speakers, dates and what was said around; never beyond its scope."""

from __future__ import annotations

import datetime as dt
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agents.models import Participant, Person
from memory.memories import remember
from memory.models import Memory
from memory.retrieval import recall
from memory.stores import postgres_recall, sizes
from memory.vectors import UnexpectedVectorSize
from plugins.api import RecalledMemory


def texts(hits: tuple[RecalledMemory, ...]) -> list[str]:
    return [hit.text for hit in hits]


def day(number: int, minute: float = 0) -> dt.datetime:
    """A day of April 2026, before the day on which the tests ask."""
    return dt.datetime(2026, 4, number, 12, tzinfo=dt.UTC) + dt.timedelta(minutes=minute)


def test_the_nearest_comes_first_with_all_that_is_known_of_it(scene: Any) -> None:
    source = uuid4()
    remember(
        [
            scene.embedded("my cat likes fish", source_messages=(source,), speaker="Ann"),
            scene.embedded("rain again", said_at=day(1)),
        ]
    )
    hits = scene.recall("what does the cat like")
    assert texts(hits) == ["my cat likes fish", "rain again"]
    assert hits[0].scores["vector"] > 0
    assert hits[0].scores["text"] > 0
    assert hits[0].score == pytest.approx(sum(hits[0].scores.values()))
    assert hits[0].source_message_ids == (source,)
    assert (hits[0].kind, hits[0].speaker) == ("message", "Ann")
    assert hits[0].said_at == scene.draft().said_at


def test_a_recall_costs_two_statements_however_much_there_is_and_a_third_the_first_time(scene: Any) -> None:
    def count() -> int:
        with CaptureQueriesContext(connection) as queries:
            scene.recall("what did Bob say of the cat on 2 April 2026?", limit=20)
        return len(queries)

    assert (count(), count()) == (3, 2), "how much may be visible there is counted once"
    remember([scene.embedded(f"cat {number}", said_at=day(2, number)) for number in range(60)])
    assert count() == 2


def test_the_message_is_embedded_as_it_was_said_and_asked_without_names(scene: Any) -> None:
    asked: list[list[str]] = []

    def embed(batch: Any) -> list[list[float]]:
        asked.append(list(batch))
        return scene.embedder.embed(batch)

    found = recall(scene.query("Where does Bob live?"), embed=embed)
    assert asked == [["Where does Bob live?", "Where does live?"]]
    assert found.embedding == scene.embedder.embed(["Where does Bob live?"])[0]
    assert (found.embedding_model, found.error) == (scene.embedder.name, "")
    recall(scene.query("Where is it?"), embed=embed)
    assert asked[1] == ["Where is it?"]


def test_no_connection_is_held_while_the_embedder_works(scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    order: list[str] = []
    monkeypatch.setattr("memory.retrieval.release_connection", lambda: order.append("released"))

    def embed(batch: Any) -> list[list[float]]:
        order.append("embedded")
        return scene.embedder.embed(batch)

    recall(scene.query("cat"), embed=embed)
    assert order == ["released", "embedded"]


def test_while_the_embedder_is_away_words_find_what_they_can(scene: Any) -> None:
    remember([scene.embedded("my cat likes fish"), scene.draft("rain again", said_at=day(1))])
    found = recall(scene.query("fish"), embed=_away)
    assert found.memories[0].text == "my cat likes fish"
    assert "vector" not in found.memories[0].scores
    assert (found.embedding, found.error) == (None, "The embedder is away.")


def _away(_texts: Any) -> list[list[float]]:
    from memory.embeddings.base import EmbeddingError

    raise EmbeddingError("The embedder is away.")


def test_what_waits_for_its_vector_or_has_another_models_is_found_by_words(scene: Any) -> None:
    remember([scene.draft("the parrot speaks"), scene.embedded("rain"), scene.embedded("the parrot sings")])
    Memory.objects.filter(text="the parrot sings").update(embedding_model="another")
    assert set(texts(scene.recall("parrots"))[:2]) == {"the parrot speaks", "the parrot sings"}


def test_any_of_the_words_will_do_and_more_are_better(scene: Any) -> None:
    remember(
        [
            scene.draft("a red bicycle"),
            scene.draft("a red kite over the sea"),
            scene.draft("nothing of it", said_at=day(1)),
            scene.draft("the painted boats", said_at=day(1)),
        ]
    )
    hits = scene.recall_by_words("the red bicycles of the painter?")
    assert texts(hits)[0] == "a red bicycle"
    assert set(texts(hits)[:3]) == {"a red bicycle", "a red kite over the sea", "the painted boats"}
    assert scene.recall_by_words("zeppelin the of") == ()


def test_what_the_named_one_said_comes_before_what_was_said_to_them(scene: Any) -> None:
    remember(
        [
            scene.embedded("Hey Bob! What do you paint?", speaker="Ann"),
            scene.embedded("I paint the sunrise at the lake", speaker="Bob"),
            scene.embedded("I paint the sunset at the lake", speaker="Ann"),
        ]
    )
    hits = scene.recall("What does Bob paint?")
    assert hits[0].speaker == "Bob"
    assert hits[0].scores["speaker"] == 4.0
    assert scene.recall("What does ann paint?")[0].speaker == "Ann"
    assert scene.recall("What do I paint?")[0].speaker == "Ann"


def test_names_are_those_of_the_room_and_the_agent(scene: Any) -> None:
    Participant.objects.create(room=scene.group, person=Person.objects.create(name="Zoë Quill"))
    remember([scene.embedded("tea", speaker="Zoë Quill"), scene.embedded("tea", speaker="Eliza")])
    assert scene.recall("Which tea does Zoë like?")[0].speaker == "Zoë Quill"
    assert scene.recall("Which tea does Eliza like?")[0].speaker == "Eliza"
    # She takes no part in Ann's own chat: there her name is a word like any other.
    (hit,) = scene.recall("Zoë", room_id=scene.dm_of_ann.id, kinds=("message",))[:1] or (None,)
    assert hit is None


@pytest.mark.parametrize(
    ("question", "expected"),
    [
        ("What happened on 7 May 2023?", "we flew"),
        ("What happened last May?", "we moved"),
        ("What happened in 2024?", "we married"),
        ("What happened two days ago?", "we rested"),
    ],
)
def test_a_date_finds_what_was_said_then_without_any_word(scene: Any, question: str, expected: str) -> None:
    told = {
        "we flew": dt.datetime(2023, 5, 7, 9, tzinfo=dt.UTC),
        "we moved": dt.datetime(2025, 5, 20, tzinfo=dt.UTC),
        "we married": dt.datetime(2024, 8, 1, tzinfo=dt.UTC),
        "we rested": dt.datetime(2026, 4, 29, 9, tzinfo=dt.UTC),
    }
    remember([scene.draft(text, said_at=said_at) for text, said_at in told.items()])
    hits = scene.recall_by_words(question)
    assert hits[0].text == expected
    assert hits[0].scores["date"] == pytest.approx(4.0)


def test_who_asks_when_gets_what_tells_when(scene: Any) -> None:
    remember([scene.embedded("we painted it"), scene.embedded("we painted it yesterday")])
    assert scene.recall("When did they paint it?")[0].text == "we painted it yesterday"


def test_what_was_said_next_to_a_hit_comes_with_it(scene: Any) -> None:
    talk = ["Have you a hobby?", "Pottery, since my childhood.", "Lovely!", "Yes.", "Bye."]
    remember(
        [scene.draft(text, said_at=day(2, minute), scope="room") for minute, text in enumerate(talk)]
        + [scene.draft("Hello.", said_at=day(9))]
    )
    hits = scene.recall_by_words("hobby")
    assert texts(hits) == ["Have you a hobby?", "Pottery, since my childhood.", "Lovely!"]
    assert hits[1].scores["text"] > hits[2].scores["text"]


def test_messages_of_one_instant_are_neighbours_too(scene: Any) -> None:
    remember([scene.draft(text, said_at=day(2)) for text in ("hobby", "pottery", "clay")])
    assert set(texts(scene.recall_by_words("hobby"))) == {"hobby", "pottery", "clay"}


def test_a_session_goes_on_until_a_silence(scene: Any) -> None:
    remember(
        [scene.embedded(f"we speak of number {n}", said_at=day(2, n)) for n in range(8)]
        + [scene.embedded("a lighthouse keeper", said_at=day(2, 8))]
        + [scene.embedded("we speak of number 9", said_at=day(2, 90))]
    )
    by_text = {hit.text: hit.scores.get("session", 0.0) for hit in scene.recall("lighthouse keeper number")}
    assert by_text["we speak of number 1"] == by_text["a lighthouse keeper"]
    assert by_text["we speak of number 1"] > by_text["we speak of number 9"]


def test_messages_that_are_shown_already_are_left_out_but_not_what_was_learnt_from_them(scene: Any) -> None:
    shown, other = uuid4(), uuid4()
    remember(
        [
            scene.embedded("the message", source_messages=(shown,)),
            scene.embedded("the fact", kind="fact", source_messages=(shown, other)),
            scene.embedded("another message", source_messages=(other,)),
        ]
    )
    hits = scene.recall("message fact", exclude_message_ids=frozenset({shown, uuid4()}))
    assert set(texts(hits)) == {"the fact", "another message"}
    assert [hit.kind for hit in scene.recall("message", kinds=("fact", "episode"))] == ["fact"]
    assert len(scene.recall("message", limit=2)) == 2


def test_what_was_superseded_never_comes_by_any_way(scene: Any) -> None:
    at = day(2)
    remember([scene.embedded("old words", said_at=at), scene.embedded("new words", said_at=at)])
    new = Memory.objects.get(text="new words")
    Memory.objects.filter(text="old words").update(superseded_by=new)
    for found in (scene.recall("words on 2 April 2026"), scene.recall_by_words("words on 2 April 2026")):
        assert texts(found) == ["new words"]


def test_a_text_without_a_word_brings_nothing_and_costs_nothing(scene: Any) -> None:
    remember([scene.embedded("words")])
    with CaptureQueriesContext(connection) as queries:
        assert recall(scene.query("  \n")).memories == ()
    assert len(queries) == 0
    found = recall(scene.query("words", limit=0))
    assert (found.memories, found.embedding) == ((), scene.embedder.embed(["words"])[0])
    assert len(scene.recall("🙂 ??")) == 1


def test_a_vector_of_another_size_is_an_error(scene: Any) -> None:
    with pytest.raises(UnexpectedVectorSize, match="EMBEDDING_DIMENSIONS"):
        recall(scene.query("x"), embed=lambda batch: [[1.0, 0.0] for _ in batch])


@pytest.mark.parametrize(
    "text", ["a' | b & !c:* <-> \\ 'd", "100% {0} %s %(x)s", "\ud83d", "x" * 5000, "😀" * 90]
)
def test_no_text_breaks_the_statements(scene: Any, text: str) -> None:
    remember([scene.embedded("plain words")])
    assert len(scene.recall(text + " plain")) == 1
    assert len(scene.recall_by_words(f"plain {text}")) <= 1


def test_what_is_said_in_private_surfaces_in_that_persons_private_rooms_alone(scene: Any) -> None:
    remember([scene.embedded("my secret", scope="person", room_id=scene.dm_of_ann.id)])
    voice = scene.make_room("VOICE_DM", scene.ann)
    shared = scene.make_room("API", scene.ann, scene.bob)
    for ask in (scene.recall, scene.recall_by_words):
        places = {
            (room.id, person and person.id): len(
                ask("secret", room_id=room.id, person_id=person and person.id)
            )
            for room in (scene.dm_of_ann, scene.dm_of_bob, scene.group, voice, shared)
            for person in (scene.ann, scene.bob, None)
        }
        seen = {place for place, count in places.items() if count}
        assert seen == {(scene.dm_of_ann.id, scene.ann.id), (voice.id, scene.ann.id)}
        assert ask("secret", room_id=None) == ()


def test_a_merged_persons_chat_is_still_theirs(scene: Any) -> None:
    remember([scene.embedded("my secret", scope="person", person_id=scene.bob.id)])
    scene.ann.merged_into = scene.bob
    scene.ann.save()
    assert len(scene.recall("secret", room_id=scene.dm_of_ann.id, person_id=scene.bob.id)) == 1


def test_neighbours_are_only_those_that_may_surface(scene: Any) -> None:
    other = scene.make_agent()
    beside = {
        "another agent's": {"agent_id": other.id},
        "Bob's own": {"scope": "person", "person_id": scene.bob.id},
        "replaced": {},
        "seen": {},
    }
    remember(
        [scene.draft("hobby", said_at=day(2))]
        + [
            scene.draft(text, said_at=day(2, minute), **changes)
            for minute, (text, changes) in enumerate(beside.items(), start=1)
        ]
    )
    Memory.objects.filter(text="replaced").update(superseded_by=Memory.objects.get(text="hobby"))
    assert texts(scene.recall_by_words("hobby")) == ["hobby", "seen"]


WAYS = ["exact", "indexes", "words alone", "words alone by the index"]


@pytest.fixture(params=WAYS)
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Each of the ways by which candidates come."""
    if "index" in request.param:
        monkeypatch.setattr(sizes, "EXACT_STEPS", ((float("inf"), 0),))
    return request.param


def test_a_word_that_every_memory_has_finds_them_all(scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    remember([scene.embedded(f"the marker {number}") for number in range(3)])
    monkeypatch.setattr(postgres_recall, "share_of", lambda *_: 1.0)
    assert len(scene.recall_by_words("marker")) == 3


MEMORIES = st.lists(
    st.tuples(
        st.integers(0, 1), st.integers(0, 4), st.integers(0, 1), st.sampled_from(["room", "person", "agent"])
    ),
    min_size=1,
    max_size=6,
)


@settings(
    max_examples=100,
    deadline=None,
    database=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(memories=MEMORIES, agent=st.integers(0, 1), room=st.integers(0, 4), person=st.integers(0, 1))
def test_no_memory_ever_leaves_its_scope(
    scene: Any, way: str, memories: list[tuple[int, int, int, str]], agent: int, room: int, person: int
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
    ask = scene.recall_by_words if "alone" in way else scene.recall
    hits = ask(
        # The date brings what was said then, by a way of its own.
        "marker on 1 May 2026",
        agent_id=world["agents"][agent].id,
        room_id=asked_room.id,
        person_id=world["people"][person].id,
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
