"""A person's word on one action: asked for as its turn is parked, given once, used once.

A question is bound to the action's name and arguments, so that a word given for one thing never serves another.
What the chat says is no word: it is given in the admin or by the command `approve`. `agents.work` asks, the
pipeline finds and uses what was decided, the dispatcher lets go of what nobody decided in time.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection, transaction

from agents import audit, turns
from agents.cleaning import clean_json, clean_text
from agents.lanes import ClaimedTurn
from agents.models import Approval
from agents.wakeups import wake_after_commit


@dataclass(frozen=True, kw_only=True)
class Question:
    """What a person is asked: about which action, of which step of the turn."""

    position: int
    step: str
    plugin: str
    action: str
    kind: str
    arguments: Mapping[str, Any] = field(default_factory=dict)


class Parked(Exception):
    """The turn can't go on without a person's word."""

    def __init__(self, question: Question) -> None:
        super().__init__(f"{question.action} waits for a person.")
        self.question = question


@dataclass(frozen=True, kw_only=True)
class Decision:
    """What a person decided, or nobody in time. `is_same` tells whether it was about this very action."""

    id: int
    state: str
    decided_by: str
    reason: str
    is_same: bool


class CannotDecide(audit.NotDecided):
    """There is nothing to decide; the text says why."""


class NotGranted(Exception):
    """The word is not there, was used already, or was given for other arguments."""


HASH = (
    "encode(sha256(convert_to(%(action)s::text || chr(10) || (%(arguments)s::jsonb)::text, 'UTF8')), 'hex')"
)
"""Of the action's name and its arguments as PostgreSQL writes a jsonb: one text for equal values."""

ASK = f"""
INSERT INTO agents_approval (turn_id, position, step, plugin, action, arguments, argument_hash, kind, state,
                             requested_at, expires_at, decided_by, reason)
VALUES (%(turn)s, %(position)s, %(step)s, %(plugin)s, %(action)s::text, %(arguments)s::jsonb, {HASH}, %(kind)s,
        'pending', clock_timestamp(), clock_timestamp() + make_interval(secs => %(expires)s::float), '', '')
ON CONFLICT (turn_id, position) WHERE state = 'pending' DO NOTHING
"""

FIND = f"""
SELECT id, state, decided_by, reason, is_same FROM (
    SELECT id, state, decided_by, reason, used_at, argument_hash = {HASH} AS is_same
    FROM agents_approval WHERE turn_id = %(turn)s AND position = %(position)s ORDER BY id DESC LIMIT 1
) AS latest
WHERE state <> 'pending' AND used_at IS NULL
"""
"""What was decided last about a step and not used yet."""

USE = f"""
UPDATE agents_approval SET used_at = clock_timestamp()
WHERE id = %(id)s AND state = 'granted' AND used_at IS NULL AND argument_hash = {HASH}
"""

LOCK_LANE = """
UPDATE agents_lane AS lane SET woke_at = clock_timestamp()
FROM agents_approval AS approval JOIN agents_turn AS turn ON turn.id = approval.turn_id
WHERE approval.id = %(id)s AND lane.id = turn.lane_id
"""
"""Locked first, so that its holder doesn't let the lane go while the turn comes back to it."""

DECIDE = """
WITH decided AS (
    UPDATE agents_approval
    SET state = %(state)s, decided_by = %(by)s, reason = %(why)s, decided_at = clock_timestamp()
    WHERE id = %(id)s AND state = 'pending' AND (expires_at IS NULL OR expires_at > clock_timestamp())
      AND kind = ANY(%(kinds)s)
    RETURNING turn_id, action
), back AS (
    UPDATE agents_turn AS turn SET state = 'waiting' FROM decided
    WHERE turn.id = decided.turn_id AND turn.state = 'parked' RETURNING turn.lane_id
)
SELECT decided.turn_id, decided.action, back.lane_id FROM decided LEFT JOIN back ON true
"""
"""The turn has its old place still, so it stands at the head of its lane."""

EXPIRE_DUE = """
WITH due AS (
    SELECT id FROM agents_approval WHERE state = 'pending' AND expires_at < clock_timestamp()
    ORDER BY expires_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
), decided AS (
    UPDATE agents_approval AS approval SET state = 'expired', decided_at = clock_timestamp()
    FROM due WHERE approval.id = due.id RETURNING approval.turn_id
), back AS (
    UPDATE agents_turn AS turn SET state = 'waiting' FROM decided
    WHERE turn.id = decided.turn_id AND turn.state = 'parked' RETURNING turn.lane_id
)
SELECT DISTINCT lane_id FROM back
"""


def ask(turn: ClaimedTurn, question: Question) -> None:
    """Park the turn with its question, in the caller's transaction; the lane's row stays locked until its end.

    A dangerous action's question expires; an uncertain one waits until somebody knows.
    Raises: Fenced.
    """
    turns.park(turn)
    expires = settings.APPROVAL_EXPIRES_AFTER_SECONDS if question.kind == Approval.Kind.DANGEROUS else None
    with connection.cursor() as cursor:
        cursor.execute(
            ASK,
            {
                "turn": turn.id,
                "position": question.position,
                "step": question.step,
                "plugin": question.plugin,
                "kind": question.kind,
                "expires": expires,
                **_bound_to(question.action, question.arguments),
            },
        )


def find_decision(turn_id: UUID, position: int, action: str, arguments: Mapping[str, Any]) -> Decision | None:
    """Return what was decided about the step and not used yet, or None."""
    with connection.cursor() as cursor:
        cursor.execute(FIND, {"turn": turn_id, "position": position, **_bound_to(action, arguments)})
        row = cursor.fetchone()
    if row is None:
        return None
    return Decision(id=row[0], state=row[1], decided_by=row[2], reason=row[3], is_same=row[4])


def use(decision: Decision, action: str, arguments: Mapping[str, Any]) -> None:
    """Use the word up, in the caller's transaction, which holds the lane.

    Raises: NotGranted.
    """
    with connection.cursor() as cursor:
        cursor.execute(USE, {"id": decision.id, **_bound_to(action, arguments)})
        if cursor.rowcount != 1:
            raise NotGranted(f"Approval {decision.id} does not serve {action}: it was used, or is another's.")


def grant(approval_id: int, *, by: str, why: str = "") -> None:
    """Let the action run, once, with these arguments.

    Raises: CannotDecide.
    """
    _decide("grant", approval_id, Approval.State.GRANTED, by=by, why=why)


def refuse(approval_id: int, *, by: str, why: str = "") -> None:
    """Let the turn go on without the action.

    Raises: CannotDecide.
    """
    _decide("refuse", approval_id, Approval.State.REFUSED, by=by, why=why)


def mark_done(approval_id: int, *, by: str, why: str = "") -> None:
    """Count an uncertain action as done, since somebody knows that it was; it does not run again.

    Raises: CannotDecide.
    """
    kinds = [Approval.Kind.UNCERTAIN.value]
    _decide("mark_done", approval_id, Approval.State.DONE, by=by, why=why, kinds=kinds)


def expire_due(limit: int) -> list[UUID]:
    """Let go of what nobody decided in time, and return the lanes that their turns came back to."""
    with connection.cursor() as cursor:
        cursor.execute(EXPIRE_DUE, {"limit": limit})
        return [row[0] for row in cursor.fetchall()]


def _decide(
    verb: str, approval_id: int, state: str, *, by: str, why: str, kinds: Sequence[str] = Approval.Kind.values
) -> None:
    with transaction.atomic():
        with connection.cursor() as cursor:
            cursor.execute(LOCK_LANE, {"id": approval_id})
            cursor.execute(
                DECIDE,
                {
                    "id": approval_id,
                    "state": state,
                    "by": clean_text(by)[:200],
                    "why": clean_text(why),
                    "kinds": list(kinds),
                },
            )
            row = cursor.fetchone()
        if row is None:
            raise CannotDecide(_why_not(approval_id, state))
        turn_id, action, lane_id = row
        details = {"turn": str(turn_id), "action": action}
        audit.record(by, verb, "approval", {approval_id: details}, why=why)
        if lane_id is not None:
            wake_after_commit("agents.drain_lane", lane_id=str(lane_id))


def _why_not(approval_id: int, state: str) -> str:
    approval = Approval.objects.filter(pk=approval_id).first()
    if approval is None:
        return f"There is no approval {approval_id}: `approve --list` shows those that are pending."
    if approval.state == Approval.State.PENDING and approval.kind == Approval.Kind.DANGEROUS:
        if state == Approval.State.DONE:
            return f"Approval {approval_id} is about an action that has not run: grant or refuse it."
        return f"Approval {approval_id} was not decided in time, and is refused."
    by = f" by {approval.decided_by}" if approval.decided_by else ""
    return f"Approval {approval_id} is decided already: {approval.get_state_display().lower()}{by}."


def _bound_to(action: str, arguments: Mapping[str, Any]) -> dict[str, str]:
    return {"action": action, "arguments": json.dumps(clean_json(dict(arguments)), default=str)}
