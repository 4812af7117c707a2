"""How much is going on, asked of the database; `/metrics` shows it."""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from uuid import UUID

from django.db import connection

ACTIVE_MINUTES = 15

READ = """
SELECT
    (SELECT count(DISTINCT person_id) FROM agents_message WHERE id >= %(since)s AND direction = 'in'),
    (SELECT count(*) FROM agents_lane
     WHERE id IN (SELECT lane_id FROM agents_turn WHERE state IN ('waiting', 'running'))
       AND (lease_until IS NULL OR lease_until < clock_timestamp())),
    (SELECT count(*) FROM agents_turn WHERE state = 'dead'),
    (SELECT count(*) FROM agents_approval WHERE state = 'pending')
"""
"""Each part goes by an index: the messages' keys are ordered by time, turns have partial ones."""


@dataclass(frozen=True, kw_only=True)
class Gauges:
    """What is going on at this moment."""

    active_users: int
    lanes_waiting: int
    dead_letters: int
    approvals_pending: int


def read_gauges() -> Gauges:
    """Count the people heard from lately, waiting lanes, dead letters, and what waits for a person."""
    since = dt.datetime.now(dt.UTC) - dt.timedelta(minutes=ACTIVE_MINUTES)
    with connection.cursor() as cursor:
        cursor.execute(READ, {"since": _first_key_of(since)})
        active, waiting, dead, pending = cursor.fetchone()
    return Gauges(active_users=active, lanes_waiting=waiting, dead_letters=dead, approvals_pending=pending)


def _first_key_of(moment: dt.datetime) -> UUID:
    """Return the least UUID v7 of this moment. Source: RFC 9562, section 5.7."""
    return UUID(int=int(moment.timestamp() * 1000) << 80)
