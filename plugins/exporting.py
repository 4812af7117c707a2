"""What plugins keep and plan for a person, for an export: rows of plain JSON. `agents.exports` calls it."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import Any
from uuid import UUID

from django.db.models import Q

from plugins.models import PluginState, ScheduledTask

CHUNK = 500

Ids = Collection[UUID]
Row = dict[str, Any]


def states_of(person_ids: Ids, room_ids: Ids) -> Iterator[Row]:
    """Yield what plugins keep for these people, and for rooms that are theirs alone."""
    rows = PluginState.objects.filter(Q(person__in=person_ids) | Q(room__in=room_ids)).order_by("pk")
    for kept in rows.select_related("agent").iterator(chunk_size=CHUNK):
        yield {
            "plugin": kept.plugin,
            "agent": kept.agent.slug,
            "room": str(kept.room_id) if kept.room_id else None,
            "state": kept.state,
            "updated_at": kept.updated_at,
        }


def tasks_of(person_ids: Ids, room_ids: Ids) -> Iterator[Row]:
    """Yield what plugins are to do because of these people, or in rooms that are theirs alone, with their runs."""
    rows = ScheduledTask.objects.filter(Q(person__in=person_ids) | Q(room__in=room_ids)).order_by("pk")
    for task in rows.select_related("agent").prefetch_related("runs").iterator(chunk_size=CHUNK):
        yield {
            "plugin": task.plugin,
            "task": task.task,
            "agent": task.agent.slug,
            "room": str(task.room_id) if task.room_id else None,
            "schedule": task.schedule,
            "arguments": task.arguments,
            "is_enabled": task.is_enabled,
            "next_run_at": task.next_run_at,
            "created_at": task.created_at,
            "runs": [
                {"slot": run.slot, "state": run.state, "error": run.error, "ended_at": run.ended_at}
                for run in task.runs.all()
            ],
        }
