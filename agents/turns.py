"""The ends of a turn, and the person's word to stop it.

Every verb asks for the lane's token; where it was lost, Fenced is raised and the caller's transaction is
rolled back. Called by the pipeline, `agents.tasks`, the API and the admin.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db import connection
from django.db.models.functions import Now

from agents.lanes import ClaimedTurn, Fenced, Lease
from agents.models import Turn

END = """
UPDATE agents_turn
SET state = %(state)s, outcome = %(outcome)s, evaluation = %(evaluation)s, error = %(error)s,
    character_version_id = coalesce(%(version)s, character_version_id), ended_at = clock_timestamp()
WHERE id = %(turn)s AND state = 'running'
  AND lane_id = (SELECT id FROM agents_lane WHERE id = %(lane)s AND lease_token = %(token)s FOR UPDATE)
"""
"""Ends a turn if its lane is still held by the token, and keeps the lane's row locked until the commit."""

PUT_BACK = """
UPDATE agents_turn
SET state = 'waiting', error = %(error)s,
    error_count = error_count + %(errors)s, crash_count = crash_count + %(crashes)s
WHERE id = %(turn)s AND state = 'running'
  AND lane_id = (SELECT id FROM agents_lane WHERE id = %(lane)s AND lease_token = %(token)s FOR UPDATE)
"""
"""Puts a turn back to the head of its lane, if the lane is still held by the token."""


def end(
    turn: ClaimedTurn,
    *,
    state: str,
    outcome: str = Turn.Outcome.NONE,
    evaluation: str = Turn.Evaluation.NONE,
    error: str = "",
    character_version_id: UUID | None = None,
) -> None:
    """End the turn, and keep its lane's row locked until the transaction ends.

    Raises: Fenced.
    """
    _execute_held(
        END,
        turn.id,
        turn.lease,
        state=state,
        outcome=outcome,
        evaluation=evaluation,
        error=error,
        version=character_version_id,
    )


def put_back(turn: ClaimedTurn, *, error: str, is_counted: bool = True, is_crash: bool = False) -> None:
    """Put the turn back to the head of its lane for another attempt, counted as an error or a crash, or not.

    Raises: Fenced.
    """
    _execute_held(
        PUT_BACK,
        turn.id,
        turn.lease,
        error=error,
        errors=int(is_counted and not is_crash),
        crashes=int(is_counted and is_crash),
    )


def leave(turn_id: UUID, lease: Lease) -> None:
    """Put back, uncounted, a turn that another thread of this process works; that one is fenced by it.

    Raises: Fenced.
    """
    _execute_held(PUT_BACK, turn_id, lease, error="", errors=0, crashes=0)


def request_stop(turn_id: UUID) -> bool:
    """Ask the worker to end the turn; False where it has ended already.

    Unit: a running turn ends within about a second.
    """
    return bool(Turn.objects.filter(pk=turn_id, state__in=Turn.OPEN_STATES).update(stop_requested_at=Now()))


def find_stopped(turn_ids: list[UUID]) -> set[UUID]:
    """Return which of the turns a person wants stopped."""
    return set(
        Turn.objects.filter(pk__in=turn_ids, stop_requested_at__isnull=False).values_list("pk", flat=True)
    )


def _execute_held(statement: str, turn_id: UUID, lease: Lease, **parameters: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            statement, {"turn": turn_id, "lane": lease.lane_id, "token": lease.token, **parameters}
        )
        if cursor.rowcount != 1:
            raise Fenced(f"Turn {turn_id} is no longer held by token {lease.token}.")
