"""Goals: what an agent is after, and how far it has come. `SetGoal` effects and the goals provider call it.

A goal that becomes completed emits `goal:completed`, in the same transaction.
"""

from __future__ import annotations

import operator
from collections.abc import Sequence
from functools import reduce
from uuid import UUID

from django.db import connection, transaction
from django.db.models.functions import Now
from uuid_utils.compat import uuid7

from memory.memories import storable
from memory.models import Goal, Objective
from memory.stores import row_security
from memory.stores.postgres_goals import read_goals
from plugins.api import GoalView
from plugins.events import emit

NAME_MAX, DESCRIPTION_MAX = 255, 500

# The update changes nothing, but locks the row, so that two who work at one goal come one after the other.
_CLAIM = """
INSERT INTO memory_goal AS kept (id, agent_id, person_id, room_id, name, status, created_at)
VALUES (%s, %s, %s, %s, %s, 'active', now())
ON CONFLICT (agent_id, person_id, room_id, name) DO UPDATE SET name = kept.name
RETURNING id
"""


def set_goal(
    *,
    agent_id: UUID,
    name: str,
    person_id: UUID | None = None,
    room_id: UUID | None = None,
    status: str = Goal.Status.ACTIVE.value,
    objectives: Sequence[str] = (),
    completed_objectives: Sequence[str] = (),
) -> GoalView:
    """Create the goal of this name for this room and person, or change the one that stands.

    New objectives are added, none is taken away. An active goal whose last objective is done is completed.
    Raises: ValueError where the name is empty or too long, or the status is none.
    """
    name = storable(name)
    if not 0 < len(name) <= NAME_MAX:
        raise ValueError(f"A goal's name has 1 to {NAME_MAX} characters, not {name!r}.")
    if status not in Goal.Status.values:
        raise ValueError(f"A goal's status is one of {', '.join(Goal.Status.values)}, not {status!r}.")
    with transaction.atomic(savepoint=False):
        with connection.cursor() as cursor:
            cursor.execute(_CLAIM, (uuid7(), agent_id, person_id, room_id, name))
            (goal_id,) = cursor.fetchall()[0]
        goal = Goal.objects.get(id=goal_id)
        _add_objectives(goal, [*objectives, *completed_objectives])
        return _settle(goal, status, completed_objectives)


def advance(
    goal_id: UUID, *, completed_objectives: Sequence[str], shown_by_message: UUID | None = None
) -> GoalView:
    """Mark the objectives of these descriptions as done; with its last one the goal is completed.

    `shown_by_message` is the message that showed it.
    Raises: Goal.DoesNotExist.
    """
    with transaction.atomic(savepoint=False):
        goal = Goal.objects.select_for_update().get(id=goal_id)
        return _settle(goal, goal.status, completed_objectives, shown_by_message)


def find_active_goals(
    agent_id: UUID, room_id: UUID | None, person_id: UUID | None, *others: UUID
) -> list[GoalView]:
    """Find the goals that may be spoken of here, oldest first, with their objectives, in one statement.

    With `others`, those that may be spoken of with any of the people.
    """
    people = (person_id, *others)
    visible = reduce(
        operator.or_, (Goal.objects.visible_to(agent_id, room_id, one) for one in people)
    ).active()
    if row_security.stands():
        return read_goals(visible, agent_id=agent_id, room_id=room_id, people=people)
    rows = visible.order_by("created_at", "id", "objectives__position").values_list(
        "id", "name", "status", "objectives__description", "objectives__is_done"
    )
    goals: dict[UUID, GoalView] = {}
    for id, name, status, description, is_done in rows:
        known = goals.get(id)
        done = known.objectives if known else ()
        if description is not None:
            done = (*done, (description, is_done))
        goals[id] = GoalView(id=id, name=name, status=status, objectives=done)
    return list(goals.values())


def _add_objectives(goal: Goal, descriptions: Sequence[str]) -> None:
    known = set(goal.objectives.values_list("description", flat=True))
    wanted = [storable(text)[:DESCRIPTION_MAX] for text in descriptions]
    new = [text for text in dict.fromkeys(wanted) if text and text not in known]
    Objective.objects.bulk_create(
        [Objective(goal=goal, description=text, position=len(known) + i) for i, text in enumerate(new)]
    )


def _settle(
    goal: Goal, status: str, completed_objectives: Sequence[str], shown_by_message: UUID | None = None
) -> GoalView:
    """Mark what is done, and change the goal's status if that or the caller says so."""
    # One that was written in the admin is as it was written there.
    wanted = {text[:DESCRIPTION_MAX] for one in completed_objectives for text in (one, storable(one))}
    changed = 0
    if wanted:
        changed = goal.objectives.filter(description__in=wanted, is_done=False).update(
            is_done=True, done_at=Now(), shown_by_message=shown_by_message
        )
    objectives = tuple(goal.objectives.order_by("position").values_list("description", "is_done"))
    if status == Goal.Status.ACTIVE and changed and all(is_done for _, is_done in objectives):
        status = Goal.Status.COMPLETED.value
    if status != goal.status:
        _change_status(goal, status)
    return GoalView(id=goal.id, name=goal.name, status=status, objectives=objectives)


def _change_status(goal: Goal, status: str) -> None:
    is_completed = status == Goal.Status.COMPLETED
    Goal.objects.filter(id=goal.id).update(status=status, completed_at=Now() if is_completed else None)
    if is_completed:
        payload = {
            "goal": str(goal.id),
            "name": goal.name,
            "agent": str(goal.agent_id),
            "person": str(goal.person_id) if goal.person_id else None,
            "room": str(goal.room_id) if goal.room_id else None,
        }
        emit("goal:completed", payload)
