"""What every store gives out of a person, and that nothing of a forgotten one is found by any way."""

from __future__ import annotations

from typing import Any

from memory import exporting, forgetting
from memory.facts import remember_fact
from memory.goals import set_goal
from memory.memories import forget_agent, remember
from memory.models import Goal, Memory, Relationship
from memory.relationships import relate
from memory.searches import find_near, find_recent
from tests.memory.conftest import NOW


def fill(scene: Any) -> None:
    """Let the agent know a message, a fact, a relationship and a goal of Ann, and a message of Bob."""
    remember(
        [
            scene.embedded("my zither is broken", person_id=scene.ann.id, speaker="Ann"),
            scene.embedded("so is my harp", person_id=scene.bob.id, speaker="Bob"),
        ]
    )
    common = {"agent_id": scene.agent.id, "person_id": scene.ann.id}
    remember_fact(text="Ann plays the zither.", scope="person", said_at=NOW, **common)
    set_goal(name="mend the zither", **common)
    relate(
        agent_id=scene.agent.id,
        user_a_id=scene.ann.id,
        user_b_id=scene.bob.id,
        relationship_type="friend",
    )


def test_an_export_has_all_that_is_kept_of_a_person_and_nothing_of_others(scene: Any) -> None:
    fill(scene)
    people, rooms = {scene.ann.id}, {scene.dm_of_ann.id}
    memories = list(exporting.memories_of(people, rooms, lambda ids: ids))
    facts = list(exporting.facts_of(people, rooms, lambda ids: ids))
    relationships = list(exporting.relationships_of(people, set(), lambda ids: ids))
    assert [row["text"] for row in memories] == ["my zither is broken"]
    assert [(row["text"], row["superseded_by"]) for row in facts] == [("Ann plays the zither.", None)]
    assert [(row["with"], row["relationship_type"]) for row in relationships] == [
        ("another person", "friend")
    ]
    assert [row["name"] for row in exporting.goals_of(people, rooms)] == ["mend the zither"]
    assert exporting.others_in_relationships(people) == {scene.bob.id}


def test_nothing_of_a_forgotten_person_is_found_by_any_way(scene: Any) -> None:
    fill(scene)
    people, rooms = {scene.ann.id}, {scene.dm_of_ann.id}
    counted = forgetting.count_of(people, rooms)
    assert counted == {"memories": 2, "relationships": 1, "goals": 1, "conversations": 0}
    assert forgetting.forget_people(people, rooms) == counted
    assert not any(forgetting.forget_people(people, rooms).values())
    here = {"agent_id": scene.agent.id, "room_id": scene.group.id, "person_id": scene.bob.id}
    (vector,) = scene.embedder.embed(["my zither is broken"])
    assert scene.recall_by_words("zither") == ()
    assert [hit.text for hit in find_near(vector, threshold=-1.0, limit=9, **here)] == ["so is my harp"]
    assert [hit.text for hit in find_recent(9, **here)] == ["so is my harp"]
    assert (Goal.objects.count(), Relationship.objects.count()) == (0, 0)


def test_an_agent_that_goes_takes_its_memories_along(scene: Any) -> None:
    other = scene.make_agent()
    remember([scene.draft(f"tea {n}") for n in range(30)] + [scene.draft("tea", agent_id=other.id)])
    assert forget_agent(scene.agent.id) == 30
    assert Memory.objects.get().agent_id == other.id
    assert len(scene.recall_by_words("tea", agent_id=other.id)) == 1
