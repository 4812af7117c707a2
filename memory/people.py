"""What becomes of memories when two people turn out to be one. `agents.people` calls it.

What is kept of the one becomes the other's. What both have, once each is allowed, is joined: nothing that was kept
is lost, and nothing stands twice. How a person is forgotten stands in `memory.forgetting`.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db import connection

from memory.facts import key_of
from memory.models import Memory
from memory.relationships import EVIDENCE_MAX

_RELATIONSHIPS = """
WITH gone AS (
    DELETE FROM memory_relationship WHERE user_a_id = %(person)s OR user_b_id = %(person)s RETURNING *
)
INSERT INTO memory_relationship AS kept
    (id, agent_id, user_a_id, user_b_id, relationship_type, strength, tags, evidence, created_at, updated_at)
SELECT gen_random_uuid(), agent_id, CASE WHEN user_a_id = %(person)s THEN %(into)s::uuid ELSE user_a_id END,
       CASE WHEN user_b_id = %(person)s THEN %(into)s::uuid ELSE user_b_id END,
       relationship_type, strength, tags, evidence, created_at, updated_at
FROM gone
WHERE %(into)s::uuid NOT IN (user_a_id, user_b_id)
ON CONFLICT (agent_id, user_a_id, user_b_id, relationship_type) DO UPDATE SET
    strength = greatest(kept.strength, excluded.strength),
    tags = (SELECT coalesce(jsonb_agg(DISTINCT tag), '[]')
            FROM jsonb_array_elements(kept.tags || excluded.tags) AS tag),
    evidence = (
        SELECT coalesce(jsonb_agg(item ORDER BY place), '[]')
        FROM jsonb_array_elements(kept.evidence || excluded.evidence) WITH ORDINALITY AS listed (item, place)
        WHERE place > jsonb_array_length(kept.evidence || excluded.evidence) - %(most)s
    ),
    updated_at = greatest(kept.updated_at, excluded.updated_at)
"""
"""What stood between the two has nobody left on one of its ends, and vanishes."""

_GOALS = (
    """
    UPDATE memory_goal AS goal SET person_id = %(into)s
    WHERE goal.person_id = %(person)s AND NOT EXISTS (
        SELECT 1 FROM memory_goal AS other
        WHERE other.person_id = %(into)s AND other.agent_id = goal.agent_id AND other.name = goal.name
          AND other.room_id IS NOT DISTINCT FROM goal.room_id)
    """,
    """
    INSERT INTO memory_objective AS kept (id, goal_id, position, description, is_done, done_at)
    SELECT gen_random_uuid(), other.id,
           part.position + (SELECT count(*) FROM memory_objective WHERE goal_id = other.id), part.description,
           part.is_done, part.done_at
    FROM memory_objective AS part
    JOIN memory_goal AS goal ON goal.id = part.goal_id AND goal.person_id = %(person)s
    JOIN memory_goal AS other ON other.person_id = %(into)s AND other.agent_id = goal.agent_id
     AND other.name = goal.name AND other.room_id IS NOT DISTINCT FROM goal.room_id
    ON CONFLICT (goal_id, description) DO UPDATE
    SET is_done = kept.is_done OR excluded.is_done, done_at = coalesce(kept.done_at, excluded.done_at)
    """,
    """
    DELETE FROM memory_objective USING memory_goal AS goal
    WHERE goal.id = memory_objective.goal_id AND goal.person_id = %(person)s
    """,
    "DELETE FROM memory_goal WHERE person_id = %(person)s",
)
"""A goal that both have keeps its status, and gets the other's objectives after its own."""


def merge_person(person_id: UUID, into_id: UUID) -> None:
    """Make the other person's what is kept of this one, in the caller's transaction."""
    names: dict[str, Any] = {"person": person_id, "into": into_id, "most": EVIDENCE_MAX}
    _merge_facts(person_id, into_id)
    Memory.objects.filter(person_id=person_id).update(person_id=into_id)
    with connection.cursor() as cursor:
        for statement in (_RELATIONSHIPS, *_GOALS):
            cursor.execute(statement, names)


def _merge_facts(person_id: UUID, into_id: UUID) -> None:
    """Give the facts the keys that they would have got from the other person.

    A fact that both have is superseded by the other's: it surfaces once, and is there still.
    """
    facts = Memory.objects.filter(
        person_id=person_id, kind=Memory.Kind.FACT, source_key__startswith="fact:"
    ).only("pk", "agent_id", "text", "scope", "room_id", "source_key")
    for fact in facts.order_by("pk"):
        if fact.source_key != key_of(fact.text, fact.scope, person_id, fact.room_id):
            continue
        key = key_of(fact.text, fact.scope, into_id, fact.room_id)
        same = Memory.objects.filter(agent_id=fact.agent_id, source_key=key).values_list("pk", flat=True)
        known = same.first()
        if known is None:
            Memory.objects.filter(pk=fact.pk).update(source_key=key)
        else:
            Memory.objects.filter(pk=fact.pk, superseded_by=None).update(superseded_by=known)
