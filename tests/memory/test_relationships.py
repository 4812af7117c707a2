"""Relationships grow within bounds, and the same evidence counts once."""

from __future__ import annotations

import datetime as dt
from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from memory.models import Relationship
from memory.relationships import GROWTH, HALF_LIFE_DAYS, faded, relate, relationships_of


def test_a_relationship_grows_and_wanes_within_bounds(scene: Any) -> None:
    pair = {"agent_id": scene.agent.id, "user_a_id": scene.ann.id, "user_b_id": scene.bob.id}
    with CaptureQueriesContext(connection) as queries:
        relate(**pair, relationship_type="friend", strength_change=0.4, tags=("work",))
    assert len(queries) == 1
    relate(**pair, relationship_type="friend", strength_change=0.9, tags=("chess", "work"))
    relate(**pair, relationship_type="rival", strength_change=-3.0)
    strongest, weakest = relationships_of(scene.bob.id, agent_id=scene.agent.id)
    assert (strongest.relationship_type, strongest.strength, strongest.tags) == (
        "friend",
        1.0,
        ("chess", "work"),
    )
    assert (weakest.relationship_type, weakest.strength) == ("rival", 0.0)
    assert relationships_of(scene.ann.id, agent_id=scene.make_agent().id) == []


def test_the_same_evidence_counts_once_and_old_evidence_is_dropped(scene: Any) -> None:
    pair = {"agent_id": scene.agent.id, "user_a_id": scene.ann.id, "user_b_id": scene.bob.id}
    first = uuid4()
    assert relate(**pair, relationship_type="friend", evidence=(first,))
    assert not relate(**pair, relationship_type="friend", evidence=(first,))
    assert Relationship.objects.get().strength == pytest.approx(0.1)
    last = [uuid4() for _ in range(60)]
    for message in last:
        assert relate(**pair, relationship_type="friend", evidence=(message,), strength_change=0.01)
    assert Relationship.objects.get().evidence == [str(message) for message in last[-50:]]


def test_a_relationship_needs_two_people_and_a_type(scene: Any) -> None:
    pair = {"agent_id": scene.agent.id, "user_a_id": scene.ann.id}
    with pytest.raises(ValueError, match="two people"):
        relate(**pair, user_b_id=scene.ann.id, relationship_type="self")
    with pytest.raises(ValueError, match="50 characters"):
        relate(**pair, user_b_id=scene.bob.id, relationship_type="")


def age(days: float) -> None:
    """Let all relationships have last grown so many days ago."""
    Relationship.objects.update(updated_at=timezone.now() - dt.timedelta(days=days, minutes=1))


def strengths(scene: Any) -> list[float]:
    return [round(row.strength, 4) for row in relationships_of(scene.ann.id, agent_id=scene.agent.id)]


def test_strength_halves_in_its_half_life_and_nothing_is_rewritten(scene: Any) -> None:
    pair = {"agent_id": scene.agent.id, "user_a_id": scene.ann.id, "user_b_id": scene.bob.id}
    relate(**pair, relationship_type="friend", strength_change=0.8)
    assert strengths(scene) == [0.8]
    age(HALF_LIFE_DAYS)
    assert strengths(scene) == [0.4]
    age(3 * HALF_LIFE_DAYS)
    assert strengths(scene) == [0.1]
    assert Relationship.objects.get().strength == 0.8
    row = Relationship.objects.get()
    assert faded(row.strength, row.updated_at, now=timezone.now()) == pytest.approx(0.1)


def test_the_strongest_now_stands_first_whatever_it_was(scene: Any) -> None:
    pair = {"agent_id": scene.agent.id, "user_a_id": scene.ann.id, "user_b_id": scene.bob.id}
    relate(**pair, relationship_type="friend", strength_change=0.9)
    age(2 * HALF_LIFE_DAYS)
    relate(**pair, relationship_type="colleague", strength_change=0.5)
    found = relationships_of(scene.ann.id, agent_id=scene.agent.id)
    assert [row.relationship_type for row in found] == ["colleague", "friend"]


def test_interactions_grow_by_a_part_of_what_is_missing_from_what_is_left(scene: Any) -> None:
    pair = {"agent_id": scene.agent.id, "user_a_id": scene.ann.id, "user_b_id": scene.bob.id}
    for count in (3, 5):
        relate(**pair, relationship_type="talks", strength_change=0.0, interactions=count)
    assert strengths(scene) == [round(1 - (1 - GROWTH) ** 8, 4)]
    age(HALF_LIFE_DAYS)
    relate(**pair, relationship_type="talks", strength_change=0.0, interactions=1)
    left = (1 - (1 - GROWTH) ** 8) / 2
    assert strengths(scene) == [round(1 - (1 - left) * (1 - GROWTH), 4)]
    relate(**pair, relationship_type="talks", strength_change=0.0, interactions=100_000)
    assert strengths(scene) == [1.0]


def test_a_relationship_of_one_room_stands_beside_that_of_another(scene: Any) -> None:
    pair = {"agent_id": scene.agent.id, "user_a_id": scene.ann.id, "user_b_id": scene.bob.id}
    for room in (scene.group.id, scene.dm_of_ann.id, None, None):
        relate(**pair, relationship_type="friend", room_id=room)
    assert strengths(scene) == [0.2, 0.1, 0.1]
