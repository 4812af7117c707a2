"""A fact is kept once, with the messages that it came from; what is learnt merges, ends and never crosses places."""

from __future__ import annotations

import datetime as dt
import threading
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from memory.facts import NewFact, Place, find_known_facts, learn_facts, remember_fact
from memory.models import Fact, Memory
from tests.memory.conftest import NOW


def test_the_same_words_in_the_same_scope_are_the_same_fact(scene: Any) -> None:
    common = {"agent_id": scene.agent.id, "scope": "person", "said_at": scene.draft().said_at}
    message = uuid4()
    assert remember_fact(text="Ann likes tea.", person_id=scene.ann.id, source_messages=(message,), **common)
    assert not remember_fact(text="ann  likes TEA.", person_id=scene.ann.id, **common)
    assert remember_fact(text="Ann likes tea.", person_id=scene.bob.id, **common)
    fact = Memory.objects.get(person=scene.ann)
    assert (fact.kind, fact.source_messages) == ("fact", [str(message)])


def test_a_callers_own_key_decides(scene: Any) -> None:
    common = {"agent_id": scene.agent.id, "scope": "agent", "said_at": scene.draft().said_at}
    assert remember_fact(text="one", source_key="turn:1:0", **common)
    assert not remember_fact(text="two", source_key="turn:1:0", **common)


@pytest.fixture
def place(scene: Any) -> Place:
    return Place(agent_id=scene.agent.id, scope="person", room_id=scene.dm_of_ann.id, person_id=scene.ann.id)


@pytest.fixture
def learn(scene: Any, place: Place) -> Any:
    """Learn facts about Ann, each from a message of its own, with vectors."""

    def learn(*texts: str, at: int = 0, into: Place = place, **fields: Any) -> Any:
        made = [
            NewFact(
                text=text,
                said_at=NOW + dt.timedelta(minutes=at),
                embedding=scene.embedder.embed([text])[0],
                embedding_model=scene.embedder.name,
                **{"subject_id": scene.ann.id, "sources": (uuid4(),), **fields},
            )
            for text in texts
        ]
        return learn_facts(into, made)

    return learn


LIVES = {"attribute": "lives_in"}


def current() -> list[str]:
    return sorted(Memory.objects.filter(superseded_by=None).values_list("text", flat=True))


def test_a_fact_that_is_said_again_gets_surer_and_no_row(learn: Any) -> None:
    first, second = uuid4(), uuid4()
    learn("Ann likes tea.", sources=(first,), confidence=0.5)
    said = learn("ann likes tea", at=5, sources=(second,), confidence=0.5)
    assert (said.new, said.strengthened) == (0, 1)
    fact = Fact.objects.get()
    assert (fact.confidence, fact.seen_count, fact.last_seen_at) == (0.75, 2, NOW + dt.timedelta(minutes=5))
    assert fact.memory.source_messages == [str(first), str(second)]


def test_the_same_message_says_it_once(learn: Any) -> None:
    message = uuid4()
    for _time in range(3):
        learn("Ann likes tea.", sources=(message,), confidence=0.5)
    fact = Fact.objects.get()
    assert (fact.confidence, fact.seen_count, len(fact.memory.source_messages)) == (0.5, 1, 1)


def test_near_meaning_is_found_by_the_vectors(learn: Any) -> None:
    learn("Ann sold her house.")
    # For the hashed embedder, texts of the same words in another order are the same.
    assert learn("Her house, Ann sold.").strengthened == 1
    assert learn("Ann bought her house.").new == 1
    assert current() == ["Ann bought her house.", "Ann sold her house."]


def test_a_new_value_ends_the_old_one_and_history_stays(scene: Any, learn: Any) -> None:
    moved = uuid4()
    learn("Ann lives in Paris.", value="Paris", **LIVES)
    assert learn("Ann lives in Lyon.", value="Lyon", at=9, sources=(moved,), **LIVES).ended == 1
    assert current() == ["Ann lives in Lyon."]
    old = Fact.objects.get(value="Paris")
    assert old.memory.superseded_by.text == "Ann lives in Lyon."
    assert (old.ended_at, old.ended_by_message) == (NOW + dt.timedelta(minutes=9), moved)
    found = scene.recall("Where does Ann live?", room_id=scene.dm_of_ann.id)
    assert [memory.text for memory in found] == ["Ann lives in Lyon."]


def test_what_was_true_once_may_come_true_again(learn: Any) -> None:
    for at, city in enumerate(("Paris", "Lyon", "Paris", "Lyon", "Paris")):
        learn(f"Ann lives in {city}.", value=city, at=at, **LIVES)
    assert current() == ["Ann lives in Paris."]
    assert Memory.objects.count() == 5
    assert Memory.objects.filter(superseded_by=None).get().supersedes.get().text == "Ann lives in Lyon."


def test_what_was_said_before_ends_nothing_that_was_said_since(learn: Any) -> None:
    learn("Ann lives in Lyon.", value="Lyon", at=9, **LIVES)
    learn("Ann lives in Paris.", value="Paris", at=1, **LIVES)
    assert current() == ["Ann lives in Lyon."]
    assert Fact.objects.get(value="Paris").memory.superseded_by.text == "Ann lives in Lyon."


def test_a_fact_that_replaces_ends_the_one_that_it_names(learn: Any) -> None:
    learn("Ann has a boat.", "Ann likes tea.")
    boat = Memory.objects.get(text="Ann has a boat.").pk
    learn("Ann has sold her boat.", at=1, replaces=boat)
    assert current() == ["Ann has sold her boat.", "Ann likes tea."]


def test_facts_of_one_look_merge_with_each_other(learn: Any) -> None:
    learnt = learn("Ann likes tea.", "ann likes tea", "Ann has a cat.")
    assert (learnt.new, learnt.strengthened) == (2, 1)
    learn("Ann lives in Paris.", "Ann lives in Lyon.", **LIVES)
    assert current() == ["Ann has a cat.", "Ann likes tea.", "Ann lives in Lyon."]


def test_nothing_that_was_said_elsewhere_ends_or_strengthens(scene: Any, learn: Any) -> None:
    group = Place(agent_id=scene.agent.id, scope="room", room_id=scene.group.id)
    other_agent = Place(agent_id=scene.make_agent().id, scope="room", room_id=scene.group.id)
    learn("Ann lives in Paris.", value="Paris", **LIVES)
    paris = Memory.objects.get().pk
    for elsewhere in (group, other_agent):
        learn(
            "Ann lives in Lyon.", value="Lyon", at=5, into=elsewhere, replaces=paris, same_as=paris, **LIVES
        )
    assert current() == ["Ann lives in Lyon.", "Ann lives in Lyon.", "Ann lives in Paris."]
    assert Fact.objects.get(value="Paris").seen_count == 1


def test_a_fact_of_one_group_ends_none_of_another(scene: Any, learn: Any) -> None:
    rooms = [scene.group, scene.make_room("GROUP", scene.ann)]
    for room, city in zip(rooms, ("Paris", "Lyon"), strict=True):
        place = Place(agent_id=scene.agent.id, scope="room", room_id=room.id)
        learn(f"Ann lives in {city}.", value=city, into=place, **LIVES)
    assert current() == ["Ann lives in Lyon.", "Ann lives in Paris."]


def test_one_persons_fact_ends_none_of_anothers(scene: Any, learn: Any) -> None:
    group = Place(agent_id=scene.agent.id, scope="room", room_id=scene.group.id)
    learn("She lives in Paris.", value="Paris", into=group, **LIVES)
    learn("She lives in Lyon.", value="Lyon", into=group, subject_id=scene.bob.id, **LIVES)
    learn("She lives in Rome.", value="Rome", into=group, subject_id=None, **LIVES)
    assert len(current()) == 3


def test_the_agents_own_fact_of_the_same_words_is_another(scene: Any, learn: Any) -> None:
    learn("Likes tea.")
    learn("Likes tea.", subject_id=scene.bob.id)
    learn("Likes tea.", subject_id=None)
    assert Memory.objects.filter(person=scene.ann).count() == 3, "all told in private by Ann"


def test_a_fact_from_before_facts_had_rows_is_merged_with(scene: Any, learn: Any, place: Place) -> None:
    learn("Ann likes tea.")
    Fact.objects.all().delete()
    learn("Ann likes tea.", at=1)
    assert Memory.objects.count() == 1
    assert Fact.objects.get().seen_count == 2


def test_any_number_of_facts_costs_five_statements(learn: Any) -> None:
    learn("Ann lives in Paris.", value="Paris", **LIVES)
    learn("Ann likes tea.")
    with CaptureQueriesContext(connection) as queries:
        learn("Ann likes tea.", *(f"Ann knows song {number}." for number in range(30)), at=1)
        learn("Ann lives in Lyon.", value="Lyon", at=1, **LIVES)
    assert len(queries) <= 10
    with CaptureQueriesContext(connection) as queries:
        learn("  ")
    assert len(queries) == 0


def test_what_postgresql_or_the_columns_refuse_is_cleaned(learn: Any) -> None:
    learn(
        "a\x00b \ud83d " + "x" * 5000,
        attribute="y" * 100,
        value="z\x00" * 500,
        confidence=7.0,
        type="nonsense",
    )
    fact = Fact.objects.get()
    assert (fact.confidence, fact.type, len(fact.attribute), len(fact.value)) == (1.0, "fact", 40, 200)
    assert len(fact.memory.text) == 1000


def test_known_facts_are_found_where_they_hold_by_nearness(scene: Any, learn: Any, place: Place) -> None:
    learn("Ann lives in Paris.", **LIVES)
    learn("Ann likes green tea.", "Ann has a red boat.", at=1)
    learn("Bob is here.", subject_id=scene.bob.id, at=2)
    learn("The fair is on Friday.", subject_id=None, at=3)
    message = uuid4()
    from memory.memories import remember

    remember([scene.embedded("the red boat", source_key=f"message:{message}")])

    def find(limit: int, *subjects: UUID) -> list[str]:
        with CaptureQueriesContext(connection) as queries:
            found = find_known_facts(place, [message], subject_ids=subjects, limit=limit)
        assert len(queries) == 1
        return [fact.text for fact in found]

    assert find(2, scene.ann.id) == ["Ann lives in Paris.", "Ann has a red boat."]
    assert set(find(9, scene.ann.id)) == {
        "Ann lives in Paris.", "Ann has a red boat.", "Ann likes green tea.", "The fair is on Friday.",
    }  # fmt: skip
    group = Place(agent_id=scene.agent.id, scope="room", room_id=scene.group.id)
    assert find_known_facts(group, [message], subject_ids=[scene.ann.id], limit=9) == []


@pytest.mark.django_db(transaction=True)
def test_two_who_learn_in_one_place_at_once_come_one_after_the_other(scene: Any, place: Place) -> None:
    cities = [f"City{number}" for number in range(6)]

    def learn_one(city: str) -> None:
        try:
            fact = NewFact(
                text=f"Ann lives in {city}.",
                said_at=NOW,
                subject_id=scene.ann.id,
                attribute="lives_in",
                value=city,
                sources=(uuid4(),),
            )
            learn_facts(place, [fact])
            learn_facts(
                place,
                [NewFact(text="Ann likes tea.", said_at=NOW, subject_id=scene.ann.id, sources=(uuid4(),))],
            )
        finally:
            connection.close()

    threads = [threading.Thread(target=learn_one, args=(city,)) for city in cities]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert Fact.objects.filter(attribute="lives_in", memory__superseded_by=None).count() == 1
    assert Fact.objects.get(memory__text="Ann likes tea.").seen_count == 6
