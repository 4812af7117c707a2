"""Relationships: how people stand to each other, as one agent sees it. `Relate` effects end here."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from uuid import UUID

from django.db import connection
from django.db.models import Q
from uuid_utils.compat import uuid7

from memory.models import Relationship

EVIDENCE_MAX = 50

# A step that runs twice brings the same evidence twice, and must not count twice. A relationship without
# evidence grows with every call.
_UPSERT = """
INSERT INTO memory_relationship AS kept
    (id, agent_id, user_a_id, user_b_id, relationship_type, strength, tags, evidence, created_at, updated_at)
VALUES (%s, %s, %s, %s, %s, least(greatest(%s, 0.0), 1.0), %s::jsonb, %s::jsonb, now(), now())
ON CONFLICT (agent_id, user_a_id, user_b_id, relationship_type) DO UPDATE SET
    strength = least(greatest(kept.strength + %s, 0.0), 1.0),
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
"""


@dataclass(frozen=True, kw_only=True)
class RelationshipView:
    """A relationship as others see it. Unit: `strength` from 0 to 1."""

    user_a_id: UUID
    user_b_id: UUID
    relationship_type: str
    strength: float
    tags: tuple[str, ...] = ()


def relate(
    *,
    agent_id: UUID,
    user_a_id: UUID,
    user_b_id: UUID,
    relationship_type: str,
    strength_change: float = 0.1,
    tags: Sequence[str] = (),
    evidence: Sequence[UUID | str] = (),
) -> bool:
    """Note the relationship, or let the one that stands grow or wane; tell whether anything changed.

    `evidence` are the ids of the messages that it came from; the same evidence counts once.
    Unit: strength stays from 0 to 1 whatever the change.
    Raises: ValueError where both are the same person, or the type is empty or longer than 50 characters.
    """
    if user_a_id == user_b_id:
        raise ValueError(f"A relationship needs two people; both are {user_a_id}.")
    if not 0 < len(relationship_type) <= 50:
        raise ValueError(f"A relationship's type has 1 to 50 characters, not {relationship_type!r}.")
    names = (uuid7(), agent_id, user_a_id, user_b_id, relationship_type, strength_change)
    lists = (json.dumps(sorted(set(tags))), json.dumps([str(message) for message in evidence]))
    with connection.cursor() as cursor:
        cursor.execute(_UPSERT, (*names, *lists, strength_change, EVIDENCE_MAX))
        return bool(cursor.rowcount == 1)


def relationships_of(person_id: UUID, *, agent_id: UUID, limit: int = 50) -> list[RelationshipView]:
    """List how this person stands to others as the agent sees it, in either direction, strongest first."""
    columns = ("user_a_id", "user_b_id", "relationship_type", "strength", "tags")
    rows = (
        Relationship.objects.filter(Q(user_a_id=person_id) | Q(user_b_id=person_id), agent_id=agent_id)
        .order_by("-strength", "-updated_at")
        .values_list(*columns)[:limit]
    )
    return [
        RelationshipView(
            user_a_id=user_a, user_b_id=user_b, relationship_type=kind, strength=strength, tags=tuple(tags)
        )
        for user_a, user_b, kind, strength, tags in rows
    ]
