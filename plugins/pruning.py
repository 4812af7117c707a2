"""Deletes what plugins' tables no longer need; `plugins.run_due_tasks` calls it once an hour."""

from __future__ import annotations

import datetime as dt
from typing import Any

from django.db.models import Exists, OuterRef, QuerySet
from django.db.models.functions import Now

from plugins.models import Event, TaskRun

KEEP_DAYS = 7
BATCH_ROWS = 1000
MAX_BATCHES = 200


def prune() -> int:
    """Delete handled events and ended runs of KEEP_DAYS ago and older, and return how many rows went.

    It is bounded: what is left over goes at the next call. Every task keeps its newest run.
    """
    border = Now() - dt.timedelta(days=KEEP_DAYS)
    newer = TaskRun.objects.filter(task=OuterRef("task"), slot__gt=OuterRef("slot"))
    return _delete(Event.objects.filter(handled_at__lt=border)) + _delete(
        TaskRun.objects.filter(Exists(newer), ended_at__lt=border)
    )


def _delete(rows: QuerySet[Any]) -> int:
    total = 0
    for _ in range(MAX_BATCHES):
        # Keys are ordered by time, so the primary key's index brings the oldest first; no other is needed.
        oldest = list(rows.order_by("id").values_list("id", flat=True)[:BATCH_ROWS])
        if oldest:
            total += rows.model._default_manager.filter(pk__in=oldest).delete()[0]
        if len(oldest) < BATCH_ROWS:
            break
    return total
