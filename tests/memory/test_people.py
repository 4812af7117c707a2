"""What is kept of two people becomes one person's: nothing lost, nothing twice."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from django.utils import timezone

from agents.models import Person, Room
from memory.facts import NewFact, Place, learn_facts, remember_fact
from memory.goals import set_goal
from memory.models import Conversation, Episode, Fact, Goal, Memory, Relationship
from memory.people import merge_person
from memory.relationships import HALF_LIFE_DAYS, relate

pytestmark = pytest.mark.django_db


@pytest.fixture
def two() -> tuple[Any, Any]:
    return Person.objects.create(name="Ann"), Person.objects.create(name="Ann B.")


def learn(agent: Any, person: Any, text: str) -> bool:
    return remember_fact(
        agent_id=agent.pk, text=text, scope="person", said_at=timezone.now(), person_id=person.pk
    )


def test_a_fact_of_both_surfaces_once_and_is_not_learnt_again(agent: Any, two: tuple[Any, Any]) -> None:
    old, kept = two
    for person, text in ((old, "Has a cat."), (kept, "has a CAT."), (old, "Likes tea.")):
        assert learn(agent, person, text)
    merge_person(old.pk, kept.pk)
    assert not Memory.objects.filter(person=old).exists()
    current = Memory.objects.filter(person=kept, superseded_by=None)
    assert sorted(current.values_list("text", flat=True)) == ["Likes tea.", "has a CAT."]
    assert Memory.objects.count() == 3
    assert not learn(agent, kept, "Likes tea."), "its key is the other's by now"


def test_relationships_are_joined_and_none_is_left_between_the_two(agent: Any, two: tuple[Any, Any]) -> None:
    old, kept = two
    bob, eve = Person.objects.create(name="Bob"), Person.objects.create(name="Eve")

    def know(a: Any, b: Any, strength: float, **more: Any) -> None:
        relate(
            agent_id=agent.pk,
            user_a_id=a.pk,
            user_b_id=b.pk,
            relationship_type="friend",
            strength_change=strength,
            **more,
        )

    know(old, kept, 0.9)
    know(kept, old, 0.9)
    know(old, bob, 0.7, tags=["work"], evidence=["m1"])
    know(kept, bob, 0.3, tags=["school"], evidence=["m2"])
    know(eve, old, 0.2)
    merge_person(old.pk, kept.pk)
    rows = {(row.user_a, row.user_b): row for row in Relationship.objects.all()}
    assert set(rows) == {(kept, bob), (eve, kept)}
    joined = rows[kept, bob]
    assert (joined.strength, joined.tags, joined.evidence) == (0.7, ["school", "work"], ["m2", "m1"])


def test_a_goal_of_both_is_one_with_the_objectives_of_both(agent: Any, two: tuple[Any, Any]) -> None:
    old, kept = two
    for person, objectives, done in (
        (kept, ["find a book"], []),
        (old, ["find a teacher"], ["find a book"]),
    ):
        set_goal(
            agent_id=agent.pk,
            name="learn French",
            person_id=person.pk,
            objectives=objectives,
            completed_objectives=done,
        )
    set_goal(agent_id=agent.pk, name="sleep more", person_id=old.pk)
    merge_person(old.pk, kept.pk)
    assert set(Goal.objects.values_list("name", "person")) == {
        ("learn French", kept.pk),
        ("sleep more", kept.pk),
    }
    goal = Goal.objects.get(name="learn French")
    assert set(goal.objectives.values_list("description", "is_done")) == {
        ("find a book", True),
        ("find a teacher", False),
    }


def test_of_two_values_of_one_attribute_the_newer_holds(agent: Any, two: tuple[Any, Any]) -> None:
    old, kept = two
    now = timezone.now()
    for person, city, at in ((old, "Lyon", now), (kept, "Paris", now - timedelta(days=1))):
        place = Place(agent_id=agent.pk, scope="person", person_id=person.pk)
        fact = NewFact(
            text=f"Lives in {city}.",
            said_at=at,
            subject_id=person.pk,
            attribute="lives_in",
            value=city,
            sources=(uuid4(),),
        )
        learn_facts(place, [fact])
    merge_person(old.pk, kept.pk)
    (holding,) = Memory.objects.filter(person=kept, superseded_by=None)
    assert holding.text == "Lives in Lyon."
    assert set(Fact.objects.values_list("subject", "value", "ended_at")) == {
        (kept.pk, "Lyon", None),
        (kept.pk, "Paris", now),
    }


def test_a_relationship_that_has_faded_gives_way_to_a_fresh_one(agent: Any, two: tuple[Any, Any]) -> None:
    old, kept = two
    bob = Person.objects.create(name="Bob")
    for person, strength in ((kept, 0.8), (old, 0.5)):
        relate(
            agent_id=agent.pk,
            user_a_id=person.pk,
            user_b_id=bob.pk,
            relationship_type="friend",
            strength_change=strength,
        )
    long_ago = timezone.now() - timedelta(days=2 * HALF_LIFE_DAYS)
    Relationship.objects.filter(user_a=kept).update(updated_at=long_ago)
    merge_person(old.pk, kept.pk)
    row = Relationship.objects.get()
    assert (row.user_a, row.strength) == (kept, 0.5)
    assert row.updated_at > long_ago


def test_episodes_and_what_goes_on_name_who_stands_for_both(agent: Any, two: tuple[Any, Any]) -> None:
    old, kept = two
    room = Room.objects.create(platform="fake", external_id="r", type="GROUP")
    Conversation.objects.create(agent=agent, room=room, episode_people=[old.pk])
    memory = Memory.objects.create(
        agent=agent, room=room, kind="episode", scope="room", text="They met.", said_at=timezone.now()
    )
    Episode.objects.create(
        memory=memory,
        first_message=uuid4(),
        last_message=uuid4(),
        began_at=timezone.now(),
        ended_at=timezone.now(),
        participants=[str(old.pk)],
    )
    merge_person(old.pk, kept.pk)
    assert Conversation.objects.get().episode_people == [kept.pk]
    assert Episode.objects.get().participants == [str(kept.pk)]
