"""What becomes of dead letters: a person has them tried again, or discards them.

The admin and `retry_dead_letters` call it. Lanes are locked in the order of their ids, so that two who decide
at once wait for each other and never for ever; what is dead no longer by then is left as it is.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Sequence
from typing import Literal
from uuid import UUID

from django.db import connection, transaction

from agents import audit
from agents.models import Agent, Turn
from agents.wakeups import wake_after_commit

Place = Literal["front", "end"]

LOCK_LANES = """
SELECT id FROM agents_lane
WHERE id IN (SELECT lane_id FROM agents_turn WHERE id = ANY(%(turns)s) AND state = 'dead')
ORDER BY id FOR UPDATE
"""

LOCK_DEAD = """
SELECT id, lane_id, error, error_count, crash_count FROM agents_turn
WHERE id = ANY(%(turns)s) AND state = 'dead' AND lane_id = ANY(%(lanes)s)
ORDER BY lane_id, sequence FOR UPDATE
"""

RETRY = """
UPDATE agents_turn AS turn
SET state = 'waiting', outcome = '', error_count = 0, crash_count = 0, ended_at = NULL, stop_requested_at = NULL,
    said_count = (SELECT coalesce(max(message.position) + 1, 0) FROM agents_message AS message
                  WHERE message.turn_id = turn.id)
WHERE id = ANY(%(turns)s)
"""
"""Makes the turns wait again. What a finished step recorded stays, and so does the suspicion: a turn that
killed processes is worked alone from the first.
"""

TO_THE_END = """
WITH placed AS (
    SELECT turn.id, turn.lane_id,
           lane.last_sequence + row_number() OVER (PARTITION BY turn.lane_id ORDER BY turn.sequence) AS sequence
    FROM agents_turn AS turn JOIN agents_lane AS lane ON lane.id = turn.lane_id
    WHERE turn.id = ANY(%(turns)s)
), counted AS (
    UPDATE agents_lane AS lane SET last_sequence = latest.sequence
    FROM (SELECT lane_id, max(sequence) AS sequence FROM placed GROUP BY lane_id) AS latest
    WHERE lane.id = latest.lane_id
)
UPDATE agents_turn AS turn SET sequence = placed.sequence FROM placed WHERE turn.id = placed.id
"""
"""Gives the turns the next numbers of their lanes, in their old order."""


def retry(turn_ids: Sequence[UUID], *, place: Place, by: str, why: str) -> list[UUID]:
    """Have dead letters worked again, before or after all that waits in their lanes; return which were dead.

    At the front a turn keeps its old number, which is lower than any that waits.
    """
    with transaction.atomic():
        dead = _lock(turn_ids, by=by, verb=f"retry_{place}", why=why)
        with connection.cursor() as cursor:
            cursor.execute(RETRY, {"turns": list(dead)})
            if place == "end":
                cursor.execute(TO_THE_END, {"turns": list(dead)})
        for lane_id in set(dead.values()):
            wake_after_commit("agents.drain_lane", lane_id=str(lane_id))
    return list(dead)


def discard(turn_ids: Sequence[UUID], *, by: str, why: str) -> list[UUID]:
    """Settle that dead letters are never answered; return which were dead."""
    with transaction.atomic():
        dead = _lock(turn_ids, by=by, verb="discard", why=why)
        Turn.objects.filter(pk__in=dead).update(state=Turn.State.DISCARDED)
    return list(dead)


def find(
    *, agent: Agent | None = None, since: dt.datetime | None = None, turn_ids: Sequence[UUID] = ()
) -> list[Turn]:
    """Return the dead letters that all of these fit, the oldest first."""
    dead = Turn.objects.filter(state=Turn.State.DEAD).select_related("agent", "person", "message")
    if agent is not None:
        dead = dead.filter(agent=agent)
    if since is not None:
        dead = dead.filter(ended_at__gte=since)
    if turn_ids:
        dead = dead.filter(pk__in=turn_ids)
    return list(dead.order_by("pk"))


def _lock(turn_ids: Sequence[UUID], *, by: str, verb: str, why: str) -> dict[UUID, UUID]:
    """Lock those of the turns that are dead, write down what is decided of them, and return their lanes."""
    with connection.cursor() as cursor:
        cursor.execute(LOCK_LANES, {"turns": list(turn_ids)})
        lane_ids = [row[0] for row in cursor.fetchall()]
        cursor.execute(LOCK_DEAD, {"turns": list(turn_ids), "lanes": lane_ids})
        rows = cursor.fetchall()
    details = {
        # The error's kind alone: its text may tell of a person, who can be forgotten.
        turn_id: {"error": error.split(":")[0][:80], "errors": errors, "crashes": crashes}
        for turn_id, _lane, error, errors, crashes in rows
    }
    audit.record(by, verb, "turn", details, why=why)
    return {row[0]: row[1] for row in rows}
