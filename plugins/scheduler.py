"""The scheduler: runs what is due on the calendar. `plugins.run_due_tasks` and the dispatcher call it.

A due task is claimed, its run inserted (unique on task and slot) and its next slot written in one short
transaction, so that two beats are harmless. Slots that were missed are caught up by one run. The run's
function works outside of any transaction, under a lease; what it returns is applied in the transaction that
ends the run, so those effects are done exactly once.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import F
from django.db.models.functions import Now

from agents import effects, metrics
from agents.facts import agent_facts
from agents.models import Agent
from plugins.api import Effect, TaskContext
from plugins.calendar import UnknownTask, check_task, database_now, schedule_task
from plugins.models import ScheduledTask, TaskRun
from plugins.permissions import check_effects
from plugins.registry import SERVICES, components_for, get_registry
from plugins.slots import ONCE, BadSchedule, check_schedule, next_slot
from plugins.time_limits import call_within

__all__ = [
    "BadSchedule",
    "UnknownTask",
    "check_schedule",
    "next_slot",
    "run_due",
    "schedule_task",
    "sync_tasks",
]

log = structlog.get_logger(__name__)

TASK_TIME_LIMIT_SECONDS = 60.0
LEASE_SECONDS = 90.0
MAX_ATTEMPTS = 3


@dataclass(frozen=True, kw_only=True)
class ClaimedRun:
    """A run in this process' hands; each claim raises the token, and what ends the run must name it."""

    id: UUID
    token: int
    slot: dt.datetime
    plugin: str
    task: str
    arguments: dict[str, Any]
    agent_id: UUID
    room_id: UUID | None


def run_due(limit: int = 20) -> int:
    """Run at most `limit` tasks that are due or were left behind by a crash, and return how many were run."""
    runs = 0
    while runs < limit:
        claimed = _claim_due() or _claim_left_behind()
        if claimed is None:
            break
        _run(claimed)
        runs += 1
    return runs


# Claiming ------------------------------------------------------------------------------------------------


def _claim_due() -> ClaimedRun | None:
    with transaction.atomic():
        task = (
            ScheduledTask.objects.select_for_update(skip_locked=True, of=("self",))
            .annotate(database_now=Now())
            .filter(is_enabled=True, next_run_at__lte=Now(), agent__status=Agent.Status.RUNNING)
            .order_by("next_run_at")
            .first()
        )
        if task is None or task.next_run_at is None:
            return None
        slot = task.next_run_at
        try:
            task.next_run_at = next_slot(task.schedule, task.database_now, since=slot)
        except BadSchedule as error:
            _refuse(task, slot, str(error))
            return None
        task.save(update_fields=["next_run_at"])
        run, is_new = TaskRun.objects.get_or_create(
            task=task,
            slot=slot,
            defaults={
                "attempts": 1,
                "lease_token": 1,
                "lease_until": Now() + dt.timedelta(seconds=LEASE_SECONDS),
                "started_at": Now(),
            },
        )
        if not is_new:
            log.info("task_slot_taken", task_id=str(task.id), slot=slot.isoformat())
            return None
    return _claimed(run, task, token=1)


def _refuse(task: ScheduledTask, slot: dt.datetime, error: str) -> None:
    """Take a task with an unreadable schedule off the calendar, with a failed run that says why."""
    task.next_run_at = None
    task.save(update_fields=["next_run_at"])
    TaskRun.objects.get_or_create(
        task=task, slot=slot, defaults={"state": TaskRun.State.FAILED, "error": error, "ended_at": Now()}
    )
    log.error("task_schedule_refused", task_id=str(task.id), error=error)


def _claim_left_behind() -> ClaimedRun | None:
    left = TaskRun.objects.filter(state=TaskRun.State.RUNNING, lease_until__lt=Now())
    with transaction.atomic():
        run = (
            left.select_for_update(skip_locked=True, of=("self",))
            .select_related("task")
            .filter(task__agent__status=Agent.Status.RUNNING)
            .order_by("lease_until")
            .first()
        )
        if run is None:
            return None
        if run.attempts >= MAX_ATTEMPTS:
            error = f"{MAX_ATTEMPTS} attempts began and none ended; the workers that ran it died"
            TaskRun.objects.filter(pk=run.pk).update(state=TaskRun.State.FAILED, error=error, ended_at=Now())
            log.error("task_run_given_up", run_id=str(run.id))
            return None
        TaskRun.objects.filter(pk=run.pk).update(
            attempts=F("attempts") + 1,
            lease_token=F("lease_token") + 1,
            lease_until=Now() + dt.timedelta(seconds=LEASE_SECONDS),
        )
    return _claimed(run, run.task, token=run.lease_token + 1)


def _claimed(run: TaskRun, task: ScheduledTask, *, token: int) -> ClaimedRun:
    return ClaimedRun(
        id=run.id,
        token=token,
        slot=run.slot,
        plugin=task.plugin,
        task=task.task,
        arguments=task.arguments,
        agent_id=task.agent_id,
        room_id=task.room_id,
    )


# Running -------------------------------------------------------------------------------------------------


def _run(claimed: ClaimedRun) -> None:
    bound = {"run_id": str(claimed.id), "plugin": claimed.plugin, "task": claimed.task}
    try:
        wanted = _executed(claimed)
        check_effects(claimed.plugin, wanted)
        with transaction.atomic():
            if not _end(claimed, state=TaskRun.State.DONE, error=""):
                log.warning("task_lease_lost", **bound)
                return
            effects.apply_effects(
                wanted,
                plugin=claimed.plugin,
                agent_id=claimed.agent_id,
                room_id=claimed.room_id,
                cause_id=claimed.id,
            )
    # A task is a stranger's code: whatever it raises costs this run only.
    except Exception as error:
        log.exception("task_failed", **bound)
        _end(claimed, state=TaskRun.State.FAILED, error=f"{type(error).__name__}: {error}")


def _executed(claimed: ClaimedRun) -> tuple[Effect, ...]:
    of_agent = Agent.objects.filter(pk=claimed.agent_id).values_list("revision", "character__version")
    facts = agent_facts(claimed.agent_id, *of_agent.get())
    found = facts.components.find_task(claimed.plugin, claimed.task)
    if found is None:
        check_task(claimed.plugin, claimed.task)
        raise UnknownTask(
            f"The plugin {claimed.plugin!r} is loaded, but not for {facts.view.name!r}. Add it to the"
            " character's `plugins`, or to ELIZA_PLUGINS."
        )
    context = TaskContext(
        run_id=claimed.id,
        agent=facts.view,
        slot=claimed.slot,
        services=SERVICES,
        arguments=claimed.arguments,
    )
    with metrics.counted(found.plugin, found.component.name):
        wanted: Sequence[Effect] | None = call_within(
            TASK_TIME_LIMIT_SECONDS, found.component.execute, context
        )
    return tuple(wanted or ())


def _end(claimed: ClaimedRun, *, state: TaskRun.State, error: str) -> bool:
    """End the run if this claim still holds it, and tell whether it does."""
    held = TaskRun.objects.filter(pk=claimed.id, lease_token=claimed.token, state=TaskRun.State.RUNNING)
    return held.update(state=state, error=error, ended_at=Now(), lease_until=None) == 1


# Putting declared tasks on the calendar ------------------------------------------------------------------


def sync_tasks() -> int:
    """Put the tasks that plugins declare on the calendars of running agents, and return how many changed.

    A task declared as `once` is left out: it runs when somebody schedules it. An operator's switch stands. No
    statement is made where no plugin declares a task.
    """
    if not any(loaded.plugin.tasks for loaded in get_registry().plugins):
        return 0
    agents = Agent.objects.filter(status=Agent.Status.RUNNING).select_related("character")
    return sum(_sync_agent(agent) for agent in agents)


def _sync_agent(agent: Agent) -> int:
    declared = {
        (task.plugin, task.component.name): task.component.schedule.strip()
        for task in components_for(tuple(agent.character.document.get("plugins") or ())).tasks
        if task.component.schedule.strip().lower() != ONCE
    }
    if not declared:
        return 0
    changed = 0
    with transaction.atomic():
        # Two processes would both find a task missing; the agent's row lets one look after the other.
        Agent.objects.select_for_update(no_key=True).only("pk").get(pk=agent.pk)
        standing = {
            (task.plugin, task.task): task
            for task in ScheduledTask.objects.filter(agent=agent, room=None, arguments={}).exclude(
                schedule=ONCE
            )
        }
        for (plugin, name), schedule in declared.items():
            task = standing.get((plugin, name))
            if task is None:
                schedule_task(agent_id=agent.id, plugin=plugin, task=name, schedule=schedule)
            elif task.schedule != schedule:
                task.schedule = schedule
                task.next_run_at = next_slot(schedule, database_now())
                task.save(update_fields=["schedule", "next_run_at"])
            else:
                continue
            changed += 1
    return changed
