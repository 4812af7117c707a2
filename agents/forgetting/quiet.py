"""The fourth stage: waits for what had begun while the person's words were still told.

Others' turns in the shared rooms, what is learnt from them, and replies on their way have been read before the
words went, and may write them once more. They are waited for; what does not end is fenced and begins anew.
"""

from __future__ import annotations

import time

from django.db import connection

from agents.forgetting.holding import Hold
from agents.models import Forgetting
from agents.wakeups import wake_after_commit

LOOK_SECONDS = 0.5
PATIENCE_SECONDS = 120.0
"""More than a model may take to answer (MODEL_TIMEOUT_SECONDS)."""

AT_WORK = """
SELECT 'lane', lane.id::text, lane.lease_token, turn.id::text
FROM agents_turn AS turn JOIN agents_lane AS lane ON lane.id = turn.lane_id
WHERE turn.state IN ('waiting', 'running') AND turn.state = 'running'
  AND turn.room_id = ANY(%(rooms)s::uuid[]) AND lane.lease_until > clock_timestamp()
UNION ALL
SELECT 'evaluation', id::text, evaluation_token, '' FROM agents_turn
WHERE evaluation = 'due' AND evaluation_lease_until > clock_timestamp() AND room_id = ANY(%(rooms)s::uuid[])
UNION ALL
SELECT 'delivery', id::text, lease_token, '' FROM agents_delivery
WHERE state IN ('pending', 'sending') AND state = 'sending' AND lease_until > clock_timestamp()
  AND room_id = ANY(%(rooms)s::uuid[])
"""
"""What is worked in the rooms at this moment, by its token, and by the turn: a lane's next one has read nothing of
the person's. The doubled conditions are those of the indexes.
"""

LEASES_STAND = "SELECT clock_timestamp() < %(quiet_at)s::timestamptz"

FENCE_LANES = """
WITH fenced AS (
    UPDATE agents_lane AS lane SET lease_token = lane.lease_token + 1, lease_until = NULL, lease_owner = ''
    FROM unnest(%(ids)s::uuid[], %(tokens)s::bigint[]) AS held (id, token)
    WHERE lane.id = held.id AND lane.lease_token = held.token
    RETURNING lane.id
)
UPDATE agents_turn AS turn SET state = 'waiting' FROM fenced
WHERE turn.lane_id = fenced.id AND turn.state = 'running' AND turn.state IN ('waiting', 'running')
RETURNING turn.lane_id
"""
"""The holder can write nothing more; the turn goes back to the head of its lane, and counts no failure."""

FENCE_EVALUATIONS = """
UPDATE agents_turn AS turn
SET evaluation_token = turn.evaluation_token + 1, evaluation_lease_until = NULL,
    evaluation_attempts = greatest(turn.evaluation_attempts - 1, 0)
FROM unnest(%(ids)s::uuid[], %(tokens)s::bigint[]) AS held (id, token)
WHERE turn.id = held.id AND turn.evaluation_token = held.token AND turn.evaluation = 'due'
"""

Work = tuple[str, str, int, str]


def wait(forgetting: Forgetting, hold: Hold) -> None:
    """Wait until nothing is at work that may have read the person's words."""
    begun = _at_work(forgetting)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        begun &= _at_work(forgetting)
        if not begun and not _leases_stand(forgetting):
            return
        if begun and time.monotonic() > deadline:
            _fence(begun, hold)
            begun = {work for work in begun if work[0] == "delivery"}
        time.sleep(LOOK_SECONDS)
        hold.renew()


def _at_work(forgetting: Forgetting) -> set[Work]:
    with connection.cursor() as cursor:
        cursor.execute(AT_WORK, {"rooms": list(forgetting.shared_rooms)})
        return set(cursor.fetchall())


def _leases_stand(forgetting: Forgetting) -> bool:
    """Tell whether a lease is still running that was the person's as the forgetting began."""
    if forgetting.quiet_at is None:
        return False
    with connection.cursor() as cursor:
        cursor.execute(LEASES_STAND, {"quiet_at": forgetting.quiet_at})
        return bool(cursor.fetchall()[0][0])


def _fence(begun: set[Work], hold: Hold) -> None:
    with hold.batch(), connection.cursor() as cursor:
        for kind, statement in (("lane", FENCE_LANES), ("evaluation", FENCE_EVALUATIONS)):
            held = sorted((id, token) for which, id, token, _turn in begun if which == kind)
            ids, tokens = [id for id, _token in held], [token for _id, token in held]
            cursor.execute(statement, {"ids": ids, "tokens": tokens})
            if kind == "lane":
                for (lane_id,) in cursor.fetchall():
                    wake_after_commit("agents.drain_lane", lane_id=str(lane_id))
