"""Relationships: how people stand to each other, as one agent sees it. `Relate` effects end here.

Strength grows with each interaction by GROWTH of what is missing to 1, and halves in HALF_LIFE_DAYS without
one. Fading is reckoned when a relationship is read or grows: no clock rewrites anything.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db import connection
from uuid_utils.compat import uuid7

EVIDENCE_MAX = 50
GROWTH = 0.02
"""The part of what is missing to full strength by which one interaction brings people nearer."""
HALF_LIFE_DAYS = 60.0
TALKS_WITH = "talks_with"
"""The type of what grows by every turn: a person and the agent's own person speak with each other."""

FADED = (
    "({row}.strength * power(0.5, floor(greatest(extract(epoch FROM clock_timestamp() - {row}.updated_at), 0) / 3600)"
    f" / {HALF_LIFE_DAYS * 24:.1f}))::float"
)
"""A row's strength at this moment, in SQL: it fades by whole hours. Unit: 0 to 1."""

# A step that runs twice brings the same evidence twice, and must not count twice. A relationship without
# evidence grows with every call.
_UPSERT = f"""
INSERT INTO memory_relationship AS kept
    (id, agent_id, user_a_id, user_b_id, relationship_type, room_id, strength, tags, evidence, created_at,
     updated_at)
VALUES (%s, %s, %s, %s, %s, %s::uuid, least(greatest(1 - %s::float + %s::float, 0.0), 1.0), %s::jsonb, %s::jsonb,
        now(), now())
ON CONFLICT (agent_id, user_a_id, user_b_id, relationship_type, room_id) DO UPDATE SET
    strength = least(greatest(1 - (1 - {FADED.format(row="kept")}) * %s::float + %s::float, 0.0), 1.0),
    tags = (
        SELECT coalesce(jsonb_agg(DISTINCT tag), '[]')
        FROM jsonb_array_elements(kept.tags || excluded.tags) AS tag
    ),
    evidence = (
        SELECT coalesce(jsonb_agg(item ORDER BY place), '[]')
        FROM jsonb_array_elements(kept.evidence || excluded.evidence) WITH ORDINALITY AS listed (item, place)
        WHERE place > jsonb_array_length(kept.evidence || excluded.evidence) - %s
    ),
    updated_at = now()
WHERE excluded.evidence = '[]' OR NOT kept.evidence @> excluded.evidence
"""  # noqa: S608

_OF_PERSON = f"""
SELECT user_a_id, user_b_id, relationship_type, {FADED.format(row="kept")} AS faded, tags::text
FROM memory_relationship AS kept
WHERE agent_id = %(agent)s AND (user_a_id = %(person)s OR user_b_id = %(person)s)
ORDER BY faded DESC, updated_at DESC LIMIT %(limit)s
"""  # noqa: S608

TOLD_MAX = 6
TOLD_FROM_STRENGTH = 0.05

TOLD = f"""
SELECT json_agg(told) FROM (
    SELECT kept.relationship_type AS type, round({FADED.format(row="kept")}::numeric, 2)::float AS strength,
           kept.tags, other.name AS with
    FROM (
        SELECT * FROM memory_relationship
        WHERE agent_id = {{agent}} AND user_a_id = {{person}} AND room_id IS NULL
        UNION ALL
        SELECT * FROM memory_relationship
        WHERE agent_id = {{agent}} AND room_id = {{room}} AND {{person}} IN (user_a_id, user_b_id)
    ) AS kept
    JOIN agents_person AS other
      ON other.id = CASE WHEN kept.user_a_id = {{person}} THEN kept.user_b_id ELSE kept.user_a_id END
    WHERE {FADED.format(row="kept")} >= {TOLD_FROM_STRENGTH}
    ORDER BY strength DESC LIMIT {TOLD_MAX}
) AS told
"""  # noqa: S608
"""What may be told of a person's relationships in a room, as JSON: a subquery of whoever claims a turn, so that it
costs no statement of its own. What was learnt in another room stays there. Two questions, as everybody stands to
the agent's own person, and an index on that one would be of no use.
"""


@dataclass(frozen=True, kw_only=True)
class RelationshipView:
    """A relationship as others see it. Unit: `strength` from 0 to 1, as it has faded by now."""

    user_a_id: UUID
    user_b_id: UUID
    relationship_type: str
    strength: float
    tags: tuple[str, ...] = ()


def faded(strength: float, updated_at: dt.datetime, *, now: dt.datetime) -> float:
    """Return what is left of a strength that was reached then, as `FADED` does.

    Unit: 0 to 1.
    """
    hours = max(0, (now - updated_at) // dt.timedelta(hours=1))
    return float(strength * 0.5 ** (hours / (HALF_LIFE_DAYS * 24)))


def relate(
    *,
    agent_id: UUID,
    user_a_id: UUID,
    user_b_id: UUID,
    relationship_type: str,
    strength_change: float = 0.1,
    interactions: int = 0,
    room_id: UUID | None = None,
    tags: Sequence[str] = (),
    evidence: Sequence[UUID | str] = (),
) -> bool:
    """Note the relationship, or let the one that stands grow or wane; tell whether anything changed.

    `evidence` are the ids of the messages that it came from; the same evidence counts once. `room_id` is the
    only room where it is spoken of. What stands fades first, then grows by the interactions, then changes.
    Unit: strength stays from 0 to 1 whatever the change.
    Raises: ValueError where both are the same person, or the type is empty or longer than 50 characters.
    """
    if user_a_id == user_b_id:
        raise ValueError(f"A relationship needs two people; both are {user_a_id}.")
    if not 0 < len(relationship_type) <= 50:
        raise ValueError(f"A relationship's type has 1 to 50 characters, not {relationship_type!r}.")
    names = (uuid7(), agent_id, user_a_id, user_b_id, relationship_type, room_id)
    lists = (
        json.dumps(sorted(set(tags))),
        json.dumps([str(message) for message in evidence][-EVIDENCE_MAX:]),
    )
    growth = ((1.0 - GROWTH) ** max(0, interactions), strength_change)
    with connection.cursor() as cursor:
        cursor.execute(_UPSERT, (*names, *growth, *lists, *growth, EVIDENCE_MAX))
        return bool(cursor.rowcount == 1)


def relationships_of(person_id: UUID, *, agent_id: UUID, limit: int = 50) -> list[RelationshipView]:
    """List how this person stands to others as the agent sees it, in either direction, strongest first."""
    with connection.cursor() as cursor:
        cursor.execute(_OF_PERSON, {"agent": agent_id, "person": person_id, "limit": limit})
        rows = cursor.fetchall()
    return [
        RelationshipView(
            user_a_id=user_a,
            user_b_id=user_b,
            relationship_type=kind,
            strength=strength,
            tags=tuple(json.loads(tags)),
        )
        for user_a, user_b, kind, strength, tags in rows
    ]
