"""What becomes of memories when two people turn out to be one. `agents.people.merging` calls it.

What is kept of the one becomes the other's. What both have, once each is allowed, is joined: nothing that was kept
is lost, and nothing stands twice. How a person is forgotten stands in `memory.forgetting`.
"""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.db import connection

from memory.fact_rows import end_doubles
from memory.facts import about_of, key_of
from memory.models import Fact, Memory
from memory.relationships import EVIDENCE_MAX, FADED

_RELATIONSHIPS = """
WITH gone AS (
    DELETE FROM memory_relationship WHERE user_a_id = %(person)s OR user_b_id = %(person)s RETURNING *
)
INSERT INTO memory_relationship AS kept
    (id, agent_id, user_a_id, user_b_id, relationship_type, room_id, strength, tags, evidence, created_at,
     updated_at)
SELECT gen_random_uuid(), agent_id, CASE WHEN user_a_id = %(person)s THEN %(into)s::uuid ELSE user_a_id END,
       CASE WHEN user_b_id = %(person)s THEN %(into)s::uuid ELSE user_b_id END,
       relationship_type, room_id, strength, tags, evidence, created_at, updated_at
FROM gone
WHERE %(into)s::uuid NOT IN (user_a_id, user_b_id)
ON CONFLICT (agent_id, user_a_id, user_b_id, relationship_type, room_id) DO UPDATE SET
    strength = CASE WHEN {kept} >= {gone} THEN kept.strength ELSE excluded.strength END,
    updated_at = CASE WHEN {kept} >= {gone} THEN kept.updated_at ELSE excluded.updated_at END,
    tags = (SELECT coalesce(jsonb_agg(DISTINCT tag), '[]')
            FROM jsonb_array_elements(kept.tags || excluded.tags) AS tag),
    evidence = (
        SELECT coalesce(jsonb_agg(item ORDER BY place), '[]')
        FROM jsonb_array_elements(kept.evidence || excluded.evidence) WITH ORDINALITY AS listed (item, place)
        WHERE place > jsonb_array_length(kept.evidence || excluded.evidence) - %(most)s
    )
""".replace("{kept}", FADED.format(row="kept")).replace("{gone}", FADED.format(row="excluded"))
"""What stood between the two has nobody left on one of its ends, and vanishes."""

_EPISODES = (
    """
    UPDATE memory_conversation SET episode_people = array_replace(episode_people, %(person)s, %(into)s)
    WHERE %(person)s = ANY(episode_people)
    """,
    """
    UPDATE memory_episode SET participants = replace(participants::text, %(person)s::text, %(into)s::text)::jsonb
    WHERE participants ? %(person)s::text
    """,
)

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
    Fact.objects.filter(subject_id=person_id).update(subject_id=into_id)
    end_doubles(into_id)
    with connection.cursor() as cursor:
        for statement in (_RELATIONSHIPS, *_EPISODES, *_GOALS):
            cursor.execute(statement, names)


def _merge_facts(person_id: UUID, into_id: UUID) -> None:
    """Give the facts the keys that they would have got from the other person.

    A fact that both have is superseded by the other's: it surfaces once, and is there still.
    """
    rows = (
        Memory.objects.filter(
            person_id=person_id, kind=Memory.Kind.FACT, source_key__startswith="fact:", superseded_by=None
        )
        .order_by("pk")
        .values_list("pk", "agent_id", "text", "scope", "room_id", "source_key", "fact__subject_id")
    )
    for pk, agent_id, text, scope, room_id, source_key, subject_id in rows:
        # Of one that was kept before facts had rows of their own, nothing else is known than whose it is.
        about = "" if subject_id is None else about_of(person_id, subject_id)
        keys = [key_of(text, scope, one, room_id, about=about) for one in (person_id, into_id)]
        if source_key != keys[0]:
            continue
        same = Memory.objects.filter(agent_id=agent_id, source_key=keys[1]).values_list("pk", flat=True)
        known = same.first()
        if known is None:
            Memory.objects.filter(pk=pk).update(source_key=keys[1])
        else:
            Memory.objects.filter(pk=pk).update(superseded_by=known)
