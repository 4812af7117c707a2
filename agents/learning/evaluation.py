"""Lets evaluators learn from ended turns, in the order of their lane, after the reply is on its way.

Only the first turn of a lane that is due can be claimed, so its lease is the lease of that order. A failure
here never repeats an answer. `agents.evaluate_turn` and the dispatcher call it.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from uuid import UUID

import structlog
from django.conf import settings
from django.db import connection, transaction
from django.db.models import F, QuerySet

from agents.crashpoints import reach
from agents.lanes import SELECT_TAKEN, Claim, ClaimedTurn, Fenced, Kept, kept_of, take_turn_by
from agents.models import Turn
from agents.pipeline.evaluate import evaluate
from agents.processes import keeper, shutdown
from agents.processes.keeper import Stopped
from agents.trace import open_trace

log = structlog.get_logger(__name__)

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

KEEP = """
WITH asked AS (
    SELECT * FROM unnest(%(turns)s::uuid[], %(tokens)s::bigint[]) AS asked (id, token)
), free AS (
    SELECT turn.id FROM agents_turn AS turn
    JOIN asked ON asked.id = turn.id AND asked.token = turn.evaluation_token
    WHERE turn.evaluation = 'due' FOR NO KEY UPDATE OF turn SKIP LOCKED
), renewed AS (
    UPDATE agents_turn AS turn
    SET evaluation_lease_until = clock_timestamp() + make_interval(secs => %(lease)s)
    FROM free WHERE turn.id = free.id
    RETURNING turn.id, turn.evaluation_token
)
SELECT asked.id, asked.token, renewed.id IS NOT NULL,
       turn.evaluation_token IS NOT DISTINCT FROM asked.token AND turn.evaluation = 'due'
FROM asked
LEFT JOIN renewed ON renewed.id = asked.id AND renewed.evaluation_token = asked.token
LEFT JOIN agents_turn AS turn ON turn.id = asked.id
"""
"""Renews the leases of evaluations, as `lanes.KEEP` does those of lanes."""


class EvaluationWatch(keeper.Watch):
    """What the keeper knows of an evaluation; nobody stops one."""

    hears_stop = False

    def __init__(self, turn: ClaimedTurn) -> None:
        super().__init__(turn)
        self._token = turn.evaluation_token

    @property
    def claim(self) -> Claim:
        """What is held: the turn and the evaluation's own token."""
        return self.turn_id, self._token

    @classmethod
    def lease_seconds(cls) -> float:
        """Return how long an evaluation is held unless it is renewed."""
        return float(settings.EVALUATION_LEASE_SECONDS)

    @classmethod
    def keep(cls, claims: Sequence[Claim]) -> Kept:
        """Renew the leases of evaluations."""
        with connection.cursor() as cursor:
            cursor.execute(
                KEEP,
                {
                    "turns": [turn_id for turn_id, _token in claims],
                    "tokens": [token for _turn_id, token in claims],
                    "lease": settings.EVALUATION_LEASE_SECONDS,
                },
            )
            return kept_of(cursor.fetchall())


def evaluate_lane(lane_id: UUID) -> int:
    """Evaluate the lane's ended turns until none is due, and return how many were."""
    count = 0
    while not shutdown.is_begun():
        claimed = take_turn_by(CLAIM, {"lane": lane_id, "lease": settings.EVALUATION_LEASE_SECONDS})
        turn = claimed[1] if claimed else None
        if turn is None:
            break
        reach("evaluation.claimed")
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
        try:
            with keeper.watch_over(turn, EvaluationWatch) as watch:
                _evaluate_held(turn, watch)
        except Fenced as error:
            log.warning("evaluation_fenced", error=error)
        except Stopped:
            _give_back(turn)
            log.info("evaluation_given_back")


def _evaluate_held(turn: ClaimedTurn, watch: keeper.Watch) -> None:
    """Evaluate the turn and write what was learnt under its token.

    Raises: Fenced where the lease was lost; nothing is written then.
    """
    trace = open_trace(turn.id, is_second_attempt=True)
    state = Turn.Evaluation.DONE
    results = []
    if turn.evaluation_attempts > MAX_ATTEMPTS:
        state = Turn.Evaluation.FAILED
        log.error("evaluation_given_up", attempts=MAX_ATTEMPTS)
    else:
        results = evaluate(turn, trace, watch, partial(_guard, turn))
    with transaction.atomic():
        if not _end(turn, state):
            raise Fenced(f"The evaluation of {turn.id} is no longer held by {turn.evaluation_token}.")
        for apply in results:
            apply()
        trace.save()
        reach("evaluation.before_commit")
    reach("evaluation.after_commit")


def _end(turn: ClaimedTurn, state: Turn.Evaluation) -> bool:
    return _held(turn).update(evaluation=state, evaluation_lease_until=None) == 1


def _give_back(turn: ClaimedTurn) -> None:
    """Let another begin the evaluation again, uncounted, as this process is to end."""
    _held(turn).update(evaluation_lease_until=None, evaluation_attempts=F("evaluation_attempts") - 1)


def _guard(turn: ClaimedTurn) -> None:
    if not list(_held(turn).select_for_update(no_key=True).values_list("pk")):
        raise Fenced(f"The evaluation of {turn.id} is no longer held by {turn.evaluation_token}.")


def _held(turn: ClaimedTurn) -> QuerySet[Turn]:
    return Turn.objects.filter(
        pk=turn.id, evaluation=Turn.Evaluation.DUE, evaluation_token=turn.evaluation_token
    )
