"""The Celery tasks of plugins. Wake-ups only: what is due stands in tables, and the dispatcher looks too."""

from __future__ import annotations

import threading
import time

import structlog
from celery import shared_task

from plugins import events, pruning, scheduler

log = structlog.get_logger(__name__)

HOUR_SECONDS = 3600.0


class _Hourly:
    """Lets one call through, and then none for an hour."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next_at = 0.0

    def is_due(self) -> bool:
        with self._lock:
            if time.monotonic() < self._next_at:
                return False
            self._next_at = time.monotonic() + HOUR_SECONDS
            return True


_housekeeping = _Hourly()


@shared_task(name="plugins.run_due_tasks")
def run_due_tasks() -> int:
    """Run what is due on the calendar; beat sends it, and the dispatcher calls it."""
    if _housekeeping.is_due():
        for chore in (scheduler.sync_tasks, pruning.prune):
            try:
                chore()
            # What stands on the calendar already is run all the same.
            except Exception:
                log.exception("chore_failed", chore=chore.__name__)
    return scheduler.run_due()


@shared_task(name="plugins.handle_events")
def handle_events() -> int:
    """Handle the events that are due."""
    return events.handle_due_events()
