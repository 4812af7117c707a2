"""The ends of a turn, and the requests to end one early: a person's "stop", or a newer message.

Every verb of a holder asks for the lane's token; where it was lost, Fenced is raised and the caller's
transaction is rolled back. Called by the pipeline, `agents.tasks`, the inbox, the API and the admin.
"""

from __future__ import annotations

from functools import partial
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import Q
from django.db.models.functions import Now

from agents import metrics
from agents.cleaning import clean_text
from agents.kept import message_drafts
from agents.lanes import ClaimedTurn, Fenced, Lease
from agents.models import Turn
from agents.streams import StreamEvent, put_event
from agents.wakeups import wake_after_commit
from memory.conversations import hear
from memory.writes import wake_embedding

MAX_INTERRUPTS = 3
"""So many turns in a row may be superseded by newer messages; then one is answered whatever comes."""

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

PARK = """
UPDATE agents_turn SET state = 'parked'
WHERE id = %(turn)s AND state = 'running'
  AND lane_id = (SELECT id FROM agents_lane WHERE id = %(lane)s AND lease_token = %(token)s FOR UPDATE)
"""
"""Takes a turn out of its lane's way, if the lane is still held by the token."""

HAND_OVER = """
UPDATE agents_turn SET interrupt_count = %(count)s
WHERE id = (SELECT id FROM agents_turn
            WHERE lane_id = %(lane)s AND state = 'waiting' AND sequence > %(sequence)s
              AND room_id = %(room)s AND person_id IS NOT DISTINCT FROM %(person)s
            ORDER BY sequence LIMIT 1)
"""
"""Tells the person's next turn in the room how many before it were superseded. The caller holds the lane."""

STOP = """
UPDATE agents_turn AS turn
SET stop_requested_at = coalesce(turn.stop_requested_at, clock_timestamp()),
    state = CASE WHEN turn.state = 'waiting' THEN 'stopped' ELSE turn.state END,
    ended_at = CASE WHEN turn.state = 'waiting' THEN clock_timestamp() END
FROM agents_room AS room, transports_connection AS link
WHERE turn.id = %(turn)s AND turn.state IN ('waiting', 'running')
  AND room.id = turn.room_id AND link.id = turn.connection_id
RETURNING turn.state, turn.lane_id, turn.sequence, turn.message_id, turn.room_id, room.platform,
          link.supports_streaming
"""
"""Asks whoever works the turn to end it; one that nobody works ends here. The lane's row must be locked, so
that nobody claims it in the same moment.
"""

LET_LANE_GO_ON = """
UPDATE agents_lane SET next_run_at = least(next_run_at, clock_timestamp())
WHERE id = %(lane)s
  AND NOT EXISTS (SELECT 1 FROM agents_turn
                  WHERE lane_id = %(lane)s AND state IN ('waiting', 'running') AND sequence < %(sequence)s)
"""
"""The delay was for the turn that was stopped; what waits behind it need not sit it out."""

FIND_OPEN_BEFORE = """
SELECT id FROM agents_turn
WHERE lane_id = %(lane)s AND person_id = %(person)s AND state IN ('waiting', 'running')
  AND sequence < (SELECT sequence FROM agents_turn WHERE id = %(turn)s)
ORDER BY sequence LIMIT 1
"""
"""The turn that is being worked for a person, or is the next to be."""

INTERRUPT = """
UPDATE agents_turn AS older SET interrupt_requested_at = clock_timestamp()
FROM agents_turn AS newer
WHERE newer.id = %(turn)s AND older.lane_id = newer.lane_id AND older.state IN ('waiting', 'running')
  AND older.sequence < newer.sequence AND older.room_id = newer.room_id
  AND older.person_id = newer.person_id AND older.interrupt_requested_at IS NULL
"""
"""Asks to end the open turns of a newer message's person and room. Whether they do is for their worker to say,
under its lease.
"""


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
        error=clean_text(error),
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
        error=clean_text(error),
        errors=int(is_counted and not is_crash),
        crashes=int(is_counted and is_crash),
    )


def leave(turn_id: UUID, lease: Lease) -> None:
    """Put back, uncounted, a turn that another thread of this process works; that one is fenced by it.

    Raises: Fenced.
    """
    _execute_held(PUT_BACK, turn_id, lease, error="", errors=0, crashes=0)


def park(turn: ClaimedTurn) -> None:
    """Take the turn out of its lane's way until a person has decided, and keep the lane's row locked.

    Raises: Fenced.
    """
    _execute_held(PARK, turn.id, turn.lease)


def supersede(turn: ClaimedTurn) -> bool:
    """End the turn in favour of the person's next message; False where that is gone, and the turn is put back.

    Raises: Fenced.
    """
    end(turn, state=Turn.State.STOPPED, outcome=Turn.Outcome.SUPERSEDED)
    with connection.cursor() as cursor:
        cursor.execute(
            HAND_OVER,
            {
                "lane": turn.lease.lane_id,
                "sequence": turn.sequence,
                "room": turn.room_id,
                "person": turn.person_id,
                "count": turn.interrupt_count + 1,
            },
        )
        if cursor.rowcount:
            return True
    Turn.objects.filter(pk=turn.id).update(
        state=Turn.State.WAITING, outcome=Turn.Outcome.NONE, ended_at=None, interrupt_requested_at=None
    )
    return False


def request_stop(turn_id: UUID) -> bool:
    """Ask for the turn to end, and end it here if nobody works it; False where it has ended already.

    Unit: a running turn ends within two seconds.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM agents_lane WHERE id = (SELECT lane_id FROM agents_turn WHERE id = %s) FOR UPDATE",
            [turn_id],
        )
        cursor.execute(STOP, {"turn": turn_id})
        row = cursor.fetchone()
        if row is None:
            return False
        state, lane_id, sequence, message_id, room_id, platform, supports_streaming = row
        if state == Turn.State.STOPPED:
            cursor.execute(LET_LANE_GO_ON, {"lane": lane_id, "sequence": sequence})
            hear(message_drafts([message_id]), from_people=[message_id])
            metrics.MESSAGES_PROCESSED.labels(platform=platform, outcome="stopped").inc()
            transaction.on_commit(wake_embedding)
            wake_after_commit("agents.drain_lane", lane_id=str(lane_id))
            if supports_streaming:
                transaction.on_commit(partial(_tell_done, room_id, turn_id, message_id))
    return True


def obey_stop(turn_id: UUID, *, lane_id: UUID, person_id: UUID, is_control: bool) -> bool:
    """Let a person's "stop", whose turn this is, end the turn that is worked for them, and tell whether it did.

    It is answered by nobody then; one that finds nothing to end is a message like any other, unless it
    `is_control`: the network's own. The caller's transaction holds the lane's row.
    """
    with connection.cursor() as cursor:
        cursor.execute(FIND_OPEN_BEFORE, {"lane": lane_id, "person": person_id, "turn": turn_id})
        row = cursor.fetchone()
    if row is not None:
        request_stop(row[0])
    elif not is_control:
        return False
    Turn.objects.filter(pk=turn_id).update(
        state=Turn.State.DONE, outcome=Turn.Outcome.CONTROL, ended_at=Now()
    )
    return True


def request_interrupt(newer_turn_id: UUID) -> None:
    """Ask for the person's older turns in the room to end in favour of this one."""
    with connection.cursor() as cursor:
        cursor.execute(INTERRUPT, {"turn": newer_turn_id})


def find_requests(turn_ids: list[UUID]) -> tuple[set[UUID], set[UUID]]:
    """Return which of the turns a person wants stopped, and which a newer message wants interrupted."""
    rows = Turn.objects.filter(
        Q(stop_requested_at__isnull=False) | Q(interrupt_requested_at__isnull=False), pk__in=turn_ids
    ).values_list("pk", "stop_requested_at", "interrupt_requested_at")
    stopped = {turn_id for turn_id, stop, _interrupt in rows if stop}
    return stopped, {turn_id for turn_id, _stop, interrupt in rows if interrupt}


def _tell_done(room_id: UUID, turn_id: UUID, message_id: UUID) -> None:
    put_event(room_id, StreamEvent.DONE, {"state": "stopped"}, turn_id=turn_id, message_id=message_id)


def _execute_held(statement: str, turn_id: UUID, lease: Lease, **parameters: Any) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            statement, {"turn": turn_id, "lane": lease.lane_id, "token": lease.token, **parameters}
        )
        if cursor.rowcount != 1:
            raise Fenced(f"Turn {turn_id} is no longer held by token {lease.token}.")
