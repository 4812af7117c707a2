"""The doctor's looks at the fleet: the broker, the workers, and whether the work gets done."""

from __future__ import annotations

import time

from django.conf import settings
from django.core.cache import cache
from django.db import connection

from agents.dispatcher import SEEN_AT_KEY
from agents.models import Delivery, Turn
from agents.processes.workers import BrokerAway, find_workers
from eliza_site import health
from eliza_site.doctor.findings import Finding, note, ok, wrong

LATE_AFTER_PERIODS = 3
GRACE_SECONDS = 10.0

OLDEST_LEFT_BEHIND = """
SELECT count(*),
       extract(epoch FROM clock_timestamp() - min(greatest(turn.received_at, lane.next_run_at)))::float
FROM agents_turn AS turn
JOIN agents_lane AS lane ON lane.id = turn.lane_id
JOIN agents_agent AS agent ON agent.id = turn.agent_id
WHERE turn.state IN ('waiting', 'running') AND agent.status = 'running'
  AND (lane.lease_until IS NULL OR lane.lease_until < clock_timestamp())
  AND lane.next_run_at <= clock_timestamp()
"""
"""The open turns that are due and that nobody works, and for how long the oldest has waited."""


def look_at_broker() -> list[Finding]:
    """Ask the broker for a connection."""
    try:
        name = health.ask_broker()
    except Exception as error:  # whatever kombu's transports raise
        cure = "Start the broker, or set CELERY_BROKER_URL; without it the dispatchers do the work, slowly."
        return [wrong(f"It does not answer: {type(error).__name__}: {error}", cure)]
    return [ok(f"{name} answers.")]


def look_at_workers() -> list[Finding]:
    """Ping the workers."""
    try:
        workers = find_workers()
    except BrokerAway as error:
        return [wrong(str(error), "Start the broker, or set CELERY_BROKER_URL.")]
    if not workers:
        cure = "Start one: `make run`, or the line `worker` of the Procfile."
        return [wrong("None answers, so no message is answered.", cure)]
    return [ok(f"{len(workers)} answer: {', '.join(workers)}.")]


def look_at_dispatcher() -> list[Finding]:
    """Look when a dispatcher last went its round."""
    cure = "Every worker runs one: start a worker, or `python manage.py dispatch`."
    seen_at = cache.get(SEEN_AT_KEY)
    if seen_at is None:
        return [wrong("None was seen in the last hour.", cure)]
    age = max(0.0, time.time() - float(seen_at))
    if age > _lateness():
        return [wrong(f"The last round was {age:.0f} seconds ago.", cure)]
    return [ok(f"The last round was {age:.0f} seconds ago.")]


def look_at_turns() -> list[Finding]:
    """Look for turns that nobody works though they are due, and for dead letters."""
    with connection.cursor() as cursor:
        cursor.execute(OLDEST_LEFT_BEHIND)
        count, age = cursor.fetchone()
    found = []
    if count and age > _lateness():
        cure = (
            "Start workers, or more of them; `doctor` says above whether one answers. One that does may serve another"
            " database: compare its DATABASE_URL."
        )
        found.append(
            wrong(f"{count} wait with nobody at work on them, the oldest for {age:.0f} seconds.", cure)
        )
    if dead := Turn.objects.filter(state=Turn.State.DEAD).count():
        cure = "`show_turn ID` tells why; retry or discard them in the admin, or with `retry_dead_letters`."
        found.append(note(f"{dead} are dead letters: no answer could be made.", cure))
    open_count = Turn.objects.filter(state__in=Turn.OPEN_STATES).count()
    return found or [ok(f"{open_count} are open, and none was left behind.")]


def look_at_deliveries() -> list[Finding]:
    """Look for replies that may or may not have arrived, and for failed ones."""
    found = []
    if uncertain := Delivery.objects.filter(state=Delivery.State.UNCERTAIN).count():
        cure = "Decide in the admin, under Deliveries: each may have arrived or not."
        found.append(note(f"{uncertain} are uncertain.", cure))
    if failed := Delivery.objects.filter(state__in=[Delivery.State.FAILED, Delivery.State.EXPIRED]).count():
        found.append(
            note(f"{failed} failed or came too late.", "Look at them in the admin, under Deliveries.")
        )
    return found or [ok("None is uncertain, and none has failed.")]


def _lateness() -> float:
    return float(settings.DISPATCH_PERIOD_SECONDS) * LATE_AFTER_PERIODS + GRACE_SECONDS
