"""Relationships grow within bounds, and the same evidence counts once."""

from __future__ import annotations

from typing import Any
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from memory.models import Relationship
from memory.relationships import relate, relationships_of


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
