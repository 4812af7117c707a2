"""What becomes of what plugins keep, plan and hear of when a person is forgotten. `agents.forgetting` calls it.

Each function works a batch in the caller's transaction, with the rule by which the person's words are known again.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Any
from uuid import UUID

from django.db.models import Q

from plugins.models import Event, PluginState, ScheduledTask, TaskRun

BATCH = 500

Ids = Collection[UUID]
Cut = Callable[[Any], Any]
"""Returns a JSON value, or a text, without the person's words."""


def forget_people(person_ids: Ids, private_room_ids: Ids) -> dict[str, int]:
    """Delete a batch of what plugins keep and plan for these people, and in rooms that are theirs alone.

    Nothing, once nothing is left.
    """
    mine = Q(person__in=person_ids) | Q(room__in=private_room_ids)
    gone: dict[str, int] = {}
    for kind, model in (("plugin_states", PluginState), ("scheduled_tasks", ScheduledTask)):
        rows: Any = model._default_manager
        ids = list(rows.filter(mine).order_by().values_list("pk", flat=True)[:BATCH])
        if ids:
            rows.filter(pk__in=ids).delete()
        gone[kind] = len(ids)
    return gone


def count_of(person_ids: Ids, private_room_ids: Ids) -> dict[str, int]:
    """Count what `forget_people` would delete."""
    mine = Q(person__in=person_ids) | Q(room__in=private_room_ids)
    return {
        "plugin_states": PluginState.objects.filter(mine).count(),
        "scheduled_tasks": ScheduledTask.objects.filter(mine).count(),
    }


def cut_kept(agent_id: UUID, room_id: UUID | None, cut: Cut) -> dict[str, int]:
    """Cut the words out of what plugins keep for the room, or for the agent itself, and drop planned tasks that
    hold them.
    """
    states = tasks = errors = 0
    for kept in PluginState.objects.filter(agent=agent_id, room=room_id, person=None):
        state = cut(kept.state)
        if state != kept.state:
            PluginState.objects.filter(pk=kept.pk).update(state=state)
            states += 1
    for task in ScheduledTask.objects.filter(agent=agent_id, room=room_id):
        if cut(task.arguments) != task.arguments:
            task.delete()
            tasks += 1
    runs = TaskRun.objects.filter(task__agent=agent_id, task__room=room_id).exclude(error="")
    for run in runs.only("error"):
        if cut(run.error) != run.error:
            TaskRun.objects.filter(pk=run.pk).update(error=cut(run.error))
            errors += 1
    return {"plugin_states_cut": states, "scheduled_tasks": tasks, "task_runs_cut": errors}


def cut_events(after: UUID | None, ids: frozenset[str], cut: Cut) -> tuple[UUID | None, dict[str, int]]:
    """Delete those of the next BATCH of events that name one of these ids, and cut the words out of the others.

    Return the last one's key, None at the end, and what was done.
    """
    rest = Event.objects.order_by("pk")
    page = list((rest.filter(pk__gt=after) if after else rest)[:BATCH])
    named = [event.pk for event in page if ids & _texts_in(event.payload)]
    Event.objects.filter(pk__in=named).delete()
    changed = 0
    for event in page:
        payload, error = cut(event.payload), cut(event.error)
        if event.pk not in named and (payload, error) != (event.payload, event.error):
            Event.objects.filter(pk=event.pk).update(payload=payload, error=error)
            changed += 1
    return (page[-1].pk if page else None), {"events": len(named), "events_cut": changed}


def _texts_in(value: Any) -> set[str]:
    if isinstance(value, str):
        return {value}
    if isinstance(value, dict):
        return set().union(*map(_texts_in, value.values()), map(str, value))
    if isinstance(value, list):
        return set().union(*map(_texts_in, value)) if value else set()
    return set()
