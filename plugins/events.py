"""Durable events: `message:received`, `memory:created`, `goal:completed`, … and their handling.

Whoever does what an event tells calls `emit` inside its own transaction. `plugins.handle_events` and the
dispatcher call `handle_due_events`. A handler is called at least once for each event: where one of several
handlers fails, or a worker dies, all of them are called again.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import structlog
from django.db import transaction
from django.db.models import F, Q, QuerySet
from django.db.models.functions import Now

from plugins.api import JSONObject
from plugins.models import Event
from plugins.registry import find_service, get_registry
from plugins.time_limits import call_within

log = structlog.get_logger(__name__)

MAX_ATTEMPTS = 5
HANDLER_TIME_LIMIT_SECONDS = 30.0
# Above the time limits of the handlers of one event, with room for the writes; renewed before each handler.
LEASE_SECONDS = 60.0
# Waits before the second, third, … attempt.
RETRY_SECONDS = (5.0, 30.0, 120.0, 600.0)
HANDLE_TASK = "plugins.handle_events"


@dataclass(frozen=True, kw_only=True)
class _Claim:
    """An event in this process' hands. `attempt` is its fencing token: each claim raises it by one."""

    id: UUID
    name: str
    payload: dict[str, Any]
    attempt: int


def emit(name: str, payload: JSONObject) -> bool:
    """Store the event in the caller's transaction if a plugin listens to it, and tell whether one does.

    Without a listener it costs a look into a dictionary, and no statement.
    """
    if not get_registry().handlers_of(name):
        return False
    Event.objects.create(name=name, payload=dict(payload))
    wakeups = find_service("wakeups")
    if wakeups is not None:
        wakeups.wake_after_commit(HANDLE_TASK)
    return True


def handle_due_events(limit: int = 100) -> int:
    """Handle at most `limit` due events that this process' plugins listen to, and return how many were tried.

    An event whose plugin is missing here is left for a process that has it.
    """
    heard = get_registry().heard_events
    tried = 0
    while heard and tried < limit:
        claim = _claim(heard)
        if claim is None:
            break
        _handle(claim)
        tried += 1
    return tried


def has_due_events() -> bool:
    """Tell whether an event is due that this process' plugins listen to; without listeners, unasked."""
    heard = get_registry().heard_events
    return bool(heard) and _due(heard).exists()


def _due(names: frozenset[str]) -> QuerySet[Event]:
    is_free = Q(lease_until__isnull=True) | Q(lease_until__lt=Now())
    return Event.objects.filter(is_free, name__in=names, handled_at__isnull=True, attempts__lt=MAX_ATTEMPTS)


def _claim(names: frozenset[str]) -> _Claim | None:
    with transaction.atomic():
        event = _due(names).select_for_update(skip_locked=True).order_by("id").first()
        if event is None:
            return None
        Event.objects.filter(pk=event.pk).update(
            attempts=F("attempts") + 1,
            lease_until=Now() + dt.timedelta(seconds=LEASE_SECONDS),
            # Stands until the attempt ends, so that a worker's death leaves its word too.
            error="an attempt began and did not end",
        )
    return _Claim(id=event.id, name=event.name, payload=event.payload, attempt=event.attempts + 1)


def _handle(claim: _Claim) -> None:
    failures: list[str] = []
    for handler in get_registry().handlers_of(claim.name):
        if not _write(claim, lease_until=Now() + dt.timedelta(seconds=LEASE_SECONDS)):
            log.warning("event_lease_lost", event_id=str(claim.id), attempt=claim.attempt)
            return
        try:
            call_within(HANDLER_TIME_LIMIT_SECONDS, handler.component.handle, claim.payload)
        except Exception as error:
            log.exception("event_handler_failed", event_id=str(claim.id), plugin=handler.plugin)
            failures.append(f"{handler.plugin}: {type(error).__name__}: {error}")
    if failures:
        wait = RETRY_SECONDS[min(claim.attempt, len(RETRY_SECONDS)) - 1]
        _write(claim, error="\n".join(failures), lease_until=Now() + dt.timedelta(seconds=wait))
    else:
        _write(claim, error="", lease_until=None, handled_at=Now())


def _write(claim: _Claim, **changes: Any) -> bool:
    """Change the event if this claim still holds it, and tell whether it does."""
    held = Event.objects.filter(pk=claim.id, attempts=claim.attempt, handled_at__isnull=True)
    return held.update(**changes) == 1
