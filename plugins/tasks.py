"""The Celery tasks of plugins. Wake-ups only: what is due stands in tables, and the dispatcher looks too."""

from __future__ import annotations

import threading
import time

import structlog
from celery import shared_task

from plugins import events, scheduler

log = structlog.get_logger(__name__)

SYNC_PERIOD_SECONDS = 3600.0


class _Hourly:
    """Lets one call through, and then none for an hour."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._next_at = 0.0

    def is_due(self) -> bool:
        with self._lock:
            if time.monotonic() < self._next_at:
                return False
            self._next_at = time.monotonic() + SYNC_PERIOD_SECONDS
            return True


_sync = _Hourly()


@shared_task(name="plugins.run_due_tasks")
def run_due_tasks() -> int:
    """Run what is due on the calendar; beat sends it, and the dispatcher calls it."""
    if _sync.is_due():
        try:
            scheduler.sync_tasks()
        # What stands on the calendar already is run all the same.
        except Exception:
            log.exception("tasks_not_synced")
    return scheduler.run_due()


@shared_task(name="plugins.handle_events")
def handle_events() -> int:
    """Handle the events that are due."""
    return events.handle_due_events()
