"""Lanes: who may work a person's messages, one after the other.

A lane is claimed by one conditional update that writes a lease and a new fencing token. Every write that
matters asks for that token again, so a holder that lost its lease can change nothing. Time is the database's.
Called by `agents.tasks`, the dispatcher and the pipeline.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Sequence
from uuid import UUID

from django.conf import settings
from django.db import connection

from agents.claims import SELECT_TAKEN as SELECT_TAKEN
from agents.claims import Claim as Claim
from agents.claims import ClaimedTurn as ClaimedTurn
from agents.claims import Fenced as Fenced
from agents.claims import Kept as Kept
from agents.claims import Lease as Lease
from agents.claims import kept_of as kept_of
from agents.claims import take_turn_by as take_turn_by


def owner() -> str:
    """Return who this process is, for the lease: host and process id."""
    return f"{socket.gethostname()}:{os.getpid()}"


_TAKE_HEAD = """
head AS (
    SELECT turn.id FROM agents_turn AS turn JOIN held ON turn.lane_id = held.id
    WHERE turn.state IN ('waiting', 'running')
    ORDER BY turn.sequence LIMIT 1
), taken AS (
    UPDATE agents_turn AS turn
    SET state = 'running',
        suspect_count = turn.suspect_count + CASE WHEN turn.state = 'running' THEN 1 ELSE 0 END,
        take_count = turn.take_count + 1,
        lease_token = held.lease_token,
        started_at = coalesce(turn.started_at, clock_timestamp())
    FROM held, head
    WHERE turn.id = head.id AND turn.state IN ('waiting', 'running')
    RETURNING turn.*
)
"""

CLAIM = (
    """
WITH held AS (
    UPDATE agents_lane AS lane
    SET lease_owner = %(owner)s, lease_token = lane.lease_token + 1,
        lease_until = clock_timestamp() + make_interval(secs => %(lease)s)
    FROM agents_agent AS agent
    WHERE lane.id = %(lane)s AND agent.id = lane.agent_id AND agent.status = 'running'
      AND (lane.lease_until IS NULL OR lane.lease_until < clock_timestamp())
      AND lane.next_run_at <= clock_timestamp()
      AND EXISTS (SELECT 1 FROM agents_turn AS turn
                  WHERE turn.lane_id = lane.id AND turn.state IN ('waiting', 'running'))
    RETURNING lane.id, lane.lease_token, lane.bucket_count
), """
    + _TAKE_HEAD
    + SELECT_TAKEN
)
"""Claims the lane if it is free, due and has an open turn, and takes its first one. A turn that is found
running was left by a crash: it becomes a suspect, for others may have been worked in the same process.
"""

TAKE_NEXT = (
    """
WITH held AS (
    UPDATE agents_lane AS lane
    SET lease_until = clock_timestamp() + make_interval(secs => %(lease)s)
    FROM agents_agent AS agent
    WHERE lane.id = %(lane)s AND lane.lease_token = %(token)s AND agent.id = lane.agent_id
      AND agent.status = 'running' AND lane.next_run_at <= clock_timestamp()
    RETURNING lane.id, lane.lease_token, lane.bucket_count
), """
    + _TAKE_HEAD
    + SELECT_TAKEN
)
"""Takes the next turn of a lane that is held, and renews its lease."""

READ_TAKEN = (
    """
WITH held AS (
    UPDATE agents_lane SET lease_until = clock_timestamp() + make_interval(secs => %(lease)s)
    WHERE id = %(lane)s AND lease_token = %(token)s
    RETURNING id, lease_token, bucket_count
), taken AS (
    SELECT turn.* FROM agents_turn AS turn JOIN held ON turn.lane_id = held.id
    WHERE turn.id = %(turn)s AND turn.state = 'running'
)
"""
    + SELECT_TAKEN
)
"""Reads a turn that was taken by the same token in another process, and renews the lease."""

RENEW = """
UPDATE agents_lane SET lease_until = clock_timestamp() + make_interval(secs => %(lease)s)
WHERE (id, lease_token) IN (SELECT * FROM unnest(%(lanes)s::uuid[], %(tokens)s::bigint[]))
  AND lease_until IS NOT NULL
RETURNING id, lease_token
"""
"""Renews leases, locks their lanes' rows, and says which are still held. One that was released in the same moment
is not taken again: nobody would work the lane until it ended.
"""

KEEP = """
WITH asked AS (
    SELECT * FROM unnest(%(lanes)s::uuid[], %(tokens)s::bigint[]) AS asked (id, token)
), free AS (
    SELECT lane.id FROM agents_lane AS lane
    JOIN asked ON asked.id = lane.id AND asked.token = lane.lease_token
    WHERE lane.lease_until IS NOT NULL
    FOR NO KEY UPDATE OF lane SKIP LOCKED
), renewed AS (
    UPDATE agents_lane AS lane SET lease_until = clock_timestamp() + make_interval(secs => %(lease)s)
    FROM free WHERE lane.id = free.id
    RETURNING lane.id, lane.lease_token
)
SELECT asked.id, asked.token, renewed.id IS NOT NULL, lane.lease_token IS NOT DISTINCT FROM asked.token
FROM asked
LEFT JOIN renewed ON renewed.id = asked.id AND renewed.lease_token = asked.token
LEFT JOIN agents_lane AS lane ON lane.id = asked.id
"""
"""Renews many leases at once without waiting: one lane's row that is locked must not cost all the others, and
many rows locked in no order would meet those who lock two in the order of their ids.
"""

RELEASE_IF_EMPTY = """
UPDATE agents_lane AS lane SET lease_until = NULL, lease_owner = ''
WHERE lane.id = %(lane)s AND lane.lease_token = %(token)s
  AND NOT EXISTS (SELECT 1 FROM agents_turn AS turn
                  WHERE turn.lane_id = lane.id AND turn.state IN ('waiting', 'running'))
"""
"""Releases a lane that has nothing more to do. The lane's row must be locked by an earlier statement of the
same transaction: in one statement the look at the turns would be older than the lock, and a message that was
stored in between would be left without anyone to wake.
"""

RELEASE = """
UPDATE agents_lane SET lease_until = NULL, lease_owner = '',
       next_run_at = clock_timestamp() + make_interval(secs => %(delay)s)
WHERE id = %(lane)s AND lease_token = %(token)s
"""
"""Releases a lane whatever waits in it, to be worked again after the delay."""


def claim(lane_id: UUID) -> tuple[Lease, ClaimedTurn | None] | None:
    """Claim the lane and take its first open turn; None where there is nothing to claim.

    The turn is None where another holder finished it in the same moment: `take_next` then looks afresh.
    """
    return take_turn_by(CLAIM, {"lane": lane_id, "owner": owner(), "lease": settings.LANE_LEASE_SECONDS})


def take_next(lease: Lease) -> ClaimedTurn | None:
    """Take the next open turn of a lane that is held; None where none is open, the agent rests, or it is lost."""
    found = take_turn_by(
        TAKE_NEXT,
        {"lane": lease.lane_id, "token": lease.token, "lease": settings.LANE_LEASE_SECONDS},
    )
    return found[1] if found else None


def read_taken(lease: Lease, turn_id: UUID) -> ClaimedTurn | None:
    """Return the turn that another process took by this lease; None where it is held no longer."""
    found = take_turn_by(
        READ_TAKEN,
        {
            "lane": lease.lane_id,
            "token": lease.token,
            "turn": turn_id,
            "lease": settings.LANE_LEASE_SECONDS,
        },
    )
    return found[1] if found else None


FIND_DUE = """
UPDATE agents_lane SET woke_at = clock_timestamp()
WHERE id IN (
    SELECT lane.id FROM agents_lane AS lane JOIN agents_agent AS agent ON agent.id = lane.agent_id
    WHERE lane.id IN (SELECT turn.lane_id FROM agents_turn AS turn
                      WHERE turn.state IN ('waiting', 'running')
                        AND turn.received_at < clock_timestamp() - make_interval(secs => %(patience)s))
      AND (lane.lease_until IS NULL OR lane.lease_until < clock_timestamp())
      AND lane.next_run_at <= clock_timestamp() AND agent.status = 'running'
      AND lane.woke_at < clock_timestamp() - make_interval(secs => %(patience)s)
    LIMIT %(limit)s FOR UPDATE OF lane SKIP LOCKED
)
RETURNING id
"""
"""Finds lanes with work that nobody holds and nobody was told of lately, and notes that they are told now. Who is
told of a message is told when it is stored, so the oldest message counts and a new one changes nothing: if each
marked its lane as told of, a person who goes on talking while the broker is away would never be heard.
"""


def find_due(*, limit: int, patience_seconds: float) -> list[UUID]:
    """Return lanes that were left behind, each to one caller at a time."""
    with connection.cursor() as cursor:
        cursor.execute(FIND_DUE, {"limit": limit, "patience": patience_seconds})
        return [row[0] for row in cursor.fetchall()]


def keep(claims: Sequence[Claim]) -> Kept:
    """Renew many leases at once, waiting for no lock, and tell which were renewed and which are lost."""
    with connection.cursor() as cursor:
        cursor.execute(
            KEEP,
            {
                "lanes": [lane_id for lane_id, _token in claims],
                "tokens": [token for _lane_id, token in claims],
                "lease": settings.LANE_LEASE_SECONDS,
            },
        )
        return kept_of(cursor.fetchall())


def renew(leases: list[Lease]) -> set[Lease]:
    """Renew the leases, keep their lanes' rows locked until the commit, and return those still held."""
    with connection.cursor() as cursor:
        cursor.execute(
            RENEW,
            {
                "lanes": [lease.lane_id for lease in leases],
                "tokens": [lease.token for lease in leases],
                "lease": settings.LANE_LEASE_SECONDS,
            },
        )
        return {Lease(lane_id=row[0], token=row[1]) for row in cursor.fetchall()}


def release_if_empty(lease: Lease) -> bool:
    """Release the lane if no turn is open in it, and tell so. The caller's transaction holds its row."""
    with connection.cursor() as cursor:
        cursor.execute(RELEASE_IF_EMPTY, {"lane": lease.lane_id, "token": lease.token})
        return bool(cursor.rowcount == 1)


def release(lease: Lease, *, delay_seconds: float = 0.0) -> None:
    """Release the lane with whatever waits in it; it is due again after the delay."""
    with connection.cursor() as cursor:
        cursor.execute(RELEASE, {"lane": lease.lane_id, "token": lease.token, "delay": delay_seconds})


def guard(lease: Lease) -> None:
    """Lock the lane's row and renew its lease, for the writes that follow in this transaction.

    Raises: Fenced where the lease was lost.
    """
    if lease not in renew([lease]):
        raise Fenced(f"Lane {lease.lane_id} is no longer held by token {lease.token}.")
