"""The calendar: puts plugins' tasks on it, and tells whether one is due.

`agents.effects`, the scheduler and the dispatcher call it.
"""

from __future__ import annotations

import datetime as dt
from uuid import UUID

from django.db import connection
from django.db.models.functions import Now

from plugins.api import JSONObject
from plugins.models import ScheduledTask, TaskRun
from plugins.registry import get_registry
from plugins.slots import ONCE, BadSchedule, next_slot


class UnknownTask(LookupError):
    """No loaded plugin brings that task."""


def schedule_task(
    *,
    agent_id: UUID,
    plugin: str,
    task: str,
    schedule: str = ONCE,
    at: dt.datetime | None = None,
    room_id: UUID | None = None,
    person_id: UUID | None = None,
    arguments: JSONObject | None = None,
    now: dt.datetime | None = None,
) -> ScheduledTask:
    """Put a plugin's task on an agent's calendar, first due at `at`, else at the schedule's next slot.

    `person_id` says whose words asked for it: the task is theirs, and is forgotten with them.
    Raises: UnknownTask; BadSchedule; ValueError where `at` has no time zone. All name the value and the cure.
    """
    check_task(plugin, task)
    if at is not None and at.tzinfo is None:
        raise ValueError(f"{at} has no time zone. Give an aware datetime.")
    first = next_slot(schedule, now or database_now())
    if first is None and at is None:
        raise BadSchedule(f"The task {plugin}.{task} is to run once, but not when. Give `at`.")
    return ScheduledTask.objects.create(
        agent_id=agent_id,
        room_id=room_id,
        person_id=person_id,
        plugin=plugin,
        task=task,
        schedule=schedule,
        arguments=dict(arguments or {}),
        next_run_at=at or first,
    )


def database_now() -> dt.datetime:
    """Return the time by the database's clock, which alone decides when something is due."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: dt.datetime = cursor.fetchall()[0][0]
        return now


def is_task_due() -> bool:
    """Tell whether a task is due, or a run of one was left behind by a crash."""
    return (
        ScheduledTask.objects.filter(is_enabled=True, next_run_at__lte=Now()).exists()
        or TaskRun.objects.filter(state=TaskRun.State.RUNNING, lease_until__lt=Now()).exists()
    )


def check_task(plugin: str, task: str) -> None:
    """Refuse the name of a task that no loaded plugin brings.

    Raises: UnknownTask, naming the value and the cure.
    """
    loaded = get_registry().find_plugin(plugin)
    names = [known.name for known in loaded.plugin.tasks] if loaded else []
    if task not in names:
        raise UnknownTask(
            f"The plugin {plugin!r} brings no task {task!r} (it brings: {', '.join(names) or 'none'})."
            " Correct the name, or load the plugin by ELIZA_PLUGINS."
        )
