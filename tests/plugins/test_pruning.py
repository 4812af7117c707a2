from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from plugins import pruning
from plugins.models import Event, ScheduledTask, TaskRun

NOW = dt.datetime.now(dt.UTC)
OLD, RECENT = NOW - dt.timedelta(days=8), NOW - dt.timedelta(days=6)


@pytest.mark.django_db
def test_only_old_handled_events_go_and_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    for handled_at in (OLD, OLD, OLD, RECENT, None):
        Event.objects.create(name="x", handled_at=handled_at)
    monkeypatch.setattr(pruning, "BATCH_ROWS", 1)
    monkeypatch.setattr(pruning, "MAX_BATCHES", 2)
    assert pruning.prune() == 2
    assert pruning.prune() == 1
    assert pruning.prune() == 0
    assert Event.objects.count() == 2


@pytest.mark.django_db
def test_old_runs_go_but_for_each_tasks_newest_and_those_that_run(agent: Any) -> None:
    tasks = [
        ScheduledTask.objects.create(agent=agent, plugin="p", task=name, schedule="once") for name in "ab"
    ]
    for task in tasks:
        for hours in (1, 2, 3):
            TaskRun.objects.create(
                task=task, slot=OLD + dt.timedelta(hours=hours), state="done", ended_at=OLD
            )
    TaskRun.objects.create(task=tasks[1], slot=OLD, state="running", started_at=OLD)
    TaskRun.objects.create(task=tasks[1], slot=NOW, state="done", ended_at=NOW)
    assert pruning.prune() == 5
    assert list(TaskRun.objects.filter(task=tasks[0]).values_list("slot", flat=True)) == [
        OLD + dt.timedelta(hours=3)
    ]
    assert set(TaskRun.objects.filter(task=tasks[1]).values_list("slot", flat=True)) == {OLD, NOW}
