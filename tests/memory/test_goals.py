"""Goals and their objectives: set, advanced, completed once, and spoken of only where they belong."""

from __future__ import annotations

from typing import Any
from unicodedata import normalize
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from memory import goals
from memory.goals import advance, find_active_goals, set_goal
from memory.models import Goal, Objective


@pytest.fixture
def emitted(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, Any]]:
    events: list[tuple[str, Any]] = []
    monkeypatch.setattr(goals, "emit", lambda name, payload: events.append((name, payload)))
    return events


def test_a_goal_is_made_once_and_gains_objectives(scene: Any, emitted: list[Any]) -> None:
    set_goal(agent_id=scene.agent.id, name="learn", objectives=("a", "b"))
    view = set_goal(agent_id=scene.agent.id, name="learn", objectives=("b", "c", "c"))
    assert Goal.objects.count() == 1
    assert view.objectives == (("a", False), ("b", False), ("c", False))
    assert emitted == []


def test_the_last_objective_completes_the_goal_and_says_so_once(scene: Any, emitted: list[Any]) -> None:
    view = set_goal(agent_id=scene.agent.id, name="learn", objectives=("a", "b"), person_id=scene.ann.id)
    assert advance(view.id, completed_objectives=["a"]).status == "active"
    done = advance(view.id, completed_objectives=["b", "unknown"])
    assert (done.status, done.objectives) == ("completed", (("a", True), ("b", True)))
    advance(view.id, completed_objectives=["a", "b"])
    set_goal(agent_id=scene.agent.id, name="learn", person_id=scene.ann.id, status="completed")
    ((name, payload),) = emitted
    assert name == "goal:completed"
    assert payload["goal"] == str(view.id)
    assert payload["person"] == str(scene.ann.id)
    assert Goal.objects.get().completed_at is not None


def test_an_objective_keeps_the_message_that_showed_it_to_be_done(scene: Any, emitted: list[Any]) -> None:
    message = uuid4()
    view = set_goal(agent_id=scene.agent.id, name="learn", objectives=("a", "b"))
    advance(view.id, completed_objectives=["a"], shown_by_message=message)
    advance(view.id, completed_objectives=["a", "b"])
    parts = Objective.objects.order_by("position").values_list("is_done", "shown_by_message")
    assert list(parts) == [(True, message), (True, None)]
    assert len(emitted) == 1


def test_a_goal_is_one_in_whichever_form_its_accents_are_written(scene: Any, emitted: list[Any]) -> None:
    apart = normalize("NFD", "café")
    for text in ("café", apart):
        view = set_goal(agent_id=scene.agent.id, name=text, objectives=(text, "b"))
    assert (view.name, view.objectives) == ("café", (("café", False), ("b", False)))
    assert advance(view.id, completed_objectives=[apart]).objectives == (("café", True), ("b", False))

    Objective.objects.filter(description="b").update(description=f"{apart} again")
    assert advance(view.id, completed_objectives=[f"{apart} again"]).status == "completed"


def test_goals_of_several_people_are_found_in_one_statement(scene: Any) -> None:
    agent, ann, bob = scene.agent.id, scene.ann.id, scene.bob.id
    for name, person in (("of ann", ann), ("of bob", bob)):
        set_goal(agent_id=agent, name=name, room_id=scene.group.id, person_id=person)
    set_goal(agent_id=agent, name="in the group", room_id=scene.group.id)
    set_goal(agent_id=agent, name="elsewhere", room_id=scene.dm_of_ann.id)
    with CaptureQueriesContext(connection) as queries:
        found = find_active_goals(agent, scene.group.id, ann, bob)
    assert [goal.name for goal in found] == ["of ann", "of bob", "in the group"]
    assert len(queries) == 1


def test_a_goal_may_be_completed_or_given_up_by_its_status(scene: Any, emitted: list[Any]) -> None:
    set_goal(agent_id=scene.agent.id, name="one", status="completed")
    set_goal(agent_id=scene.agent.id, name="two", status="cancelled")
    assert [payload["name"] for _, payload in emitted] == ["one"]
    assert find_active_goals(scene.agent.id, None, None) == []
    set_goal(agent_id=scene.agent.id, name="one", status="active")
    assert Goal.objects.get(name="one").completed_at is None
    with pytest.raises(ValueError, match="done"):
        set_goal(agent_id=scene.agent.id, name="one", status="done")
    with pytest.raises(ValueError, match="255"):
        set_goal(agent_id=scene.agent.id, name="")


def test_active_goals_are_found_in_one_statement_where_they_belong(scene: Any) -> None:
    agent, ann, bob = scene.agent.id, scene.ann.id, scene.bob.id
    set_goal(agent_id=agent, name="everywhere", objectives=("x", "y"), completed_objectives=("x",))
    set_goal(agent_id=agent, name="for ann", person_id=ann)
    set_goal(agent_id=agent, name="in the group", room_id=scene.group.id)
    set_goal(agent_id=agent, name="for bob in the group", room_id=scene.group.id, person_id=bob)
    set_goal(agent_id=scene.make_agent().id, name="another agent's")

    def names(room: Any, person: Any) -> set[str]:
        with CaptureQueriesContext(connection) as queries:
            found = find_active_goals(agent, room and room.id, person)
        assert len(queries) == 1
        return {goal.name for goal in found}

    assert names(scene.dm_of_ann, ann) == {"everywhere", "for ann"}
    assert names(scene.dm_of_bob, bob) == {"everywhere"}
    assert names(scene.group, ann) == {"everywhere", "in the group"}
    assert names(scene.group, bob) == {"everywhere", "in the group", "for bob in the group"}
    assert names(None, None) == {"everywhere"}
    (goal,) = find_active_goals(agent, None, None)
    assert goal.objectives == (("x", True), ("y", False))


def test_a_listener_gets_the_event_in_the_same_transaction(scene: Any) -> None:
    # No loaded plugin listens here, so nothing is written; the real `emit` is what was called.
    from plugins.models import Event

    set_goal(agent_id=scene.agent.id, name="one", status="completed")
    assert not Event.objects.filter(name="goal:completed").exists()
