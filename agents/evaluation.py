"""Lets evaluators learn from ended turns, in the order of their lane, after the reply is on its way.

Only the first turn of a lane that is due can be claimed, so its lease is the lease of that order. A failure
here never repeats an answer. `agents.evaluate_turn` and the dispatcher call it.
"""

from __future__ import annotations

from uuid import UUID

import structlog
from django.db import connection, transaction

from agents import shutdown
from agents.lanes import SELECT_TAKEN, ClaimedTurn, take_turn_by
from agents.models import Turn
from agents.pipeline.evaluate import evaluate
from agents.trace import open_trace

log = structlog.get_logger(__name__)

LEASE_SECONDS = 180
MAX_ATTEMPTS = 3

CLAIM = (
    """
WITH held AS (
    SELECT id, lease_token, bucket_count FROM agents_lane WHERE id = %(lane)s
), head AS (
    SELECT id FROM agents_turn WHERE lane_id = %(lane)s AND evaluation = 'due'
    ORDER BY sequence LIMIT 1 FOR UPDATE
), taken AS (
    UPDATE agents_turn AS turn
    SET evaluation_token = turn.evaluation_token + 1, evaluation_attempts = turn.evaluation_attempts + 1,
        evaluation_lease_until = clock_timestamp() + make_interval(secs => %(lease)s)
    FROM head
    WHERE turn.id = head.id
      AND (turn.evaluation_lease_until IS NULL OR turn.evaluation_lease_until < clock_timestamp())
    RETURNING turn.*
)
"""
    + SELECT_TAKEN
)
"""Claims the first turn of the lane that evaluators have not seen, if nobody holds it."""

FIND_DUE = """
SELECT lane_id FROM (
    SELECT DISTINCT ON (lane_id) lane_id, ended_at, evaluation_lease_until FROM agents_turn
    WHERE evaluation = 'due' ORDER BY lane_id, sequence
) AS head
WHERE (evaluation_lease_until IS NULL AND ended_at < clock_timestamp() - make_interval(secs => 2))
   OR evaluation_lease_until < clock_timestamp()
LIMIT %(limit)s
"""
"""The lanes whose evaluations nobody works."""


def evaluate_lane(lane_id: UUID) -> int:
    """Evaluate the lane's ended turns until none is due, and return how many were."""
    count = 0
    while not shutdown.is_begun():
        claimed = take_turn_by(CLAIM, {"lane": lane_id, "lease": LEASE_SECONDS})
        turn = claimed[1] if claimed else None
        if turn is None:
            break
        _evaluate(turn)
        count += 1
    return count


def find_due(limit: int) -> list[UUID]:
    """Return lanes with evaluations that were left behind."""
    with connection.cursor() as cursor:
        cursor.execute(FIND_DUE, {"limit": limit})
        return [row[0] for row in cursor.fetchall()]


def _evaluate(turn: ClaimedTurn) -> None:
    with structlog.contextvars.bound_contextvars(turn=str(turn.id)):
        trace = open_trace(turn.id, is_second_attempt=True)
        state = Turn.Evaluation.DONE
        results = []
        if _attempts(turn) > MAX_ATTEMPTS:
            state = Turn.Evaluation.FAILED
            log.error("evaluation_given_up", attempts=MAX_ATTEMPTS)
        else:
            results = evaluate(turn, trace)
        with transaction.atomic():
            if not _end(turn, state):
                log.warning("evaluation_fenced")
                return
            for apply in results:
                apply()
            trace.save()


def _attempts(turn: ClaimedTurn) -> int:
    return Turn.objects.values_list("evaluation_attempts", flat=True).get(pk=turn.id)


def _end(turn: ClaimedTurn, state: Turn.Evaluation) -> bool:
    held = Turn.objects.filter(
        pk=turn.id, evaluation=Turn.Evaluation.DUE, evaluation_token=turn.evaluation_token
    )
    return held.update(evaluation=state, evaluation_lease_until=None) == 1
