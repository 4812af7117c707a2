"""What becomes of memories when a person is forgotten: theirs go, and so do others' that hold their words.

`agents.forgetting` calls it, a batch at a time, each in a transaction of its own, with the rule by which a
person's words are known again (`Touches`, `Cut`). A memory is never rewritten: its vector might be of the old words.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from uuid import UUID

from django.db import IntegrityError, connection, transaction
from django.db.models import Q

from memory.models import Conversation, Goal, Memory, Objective, Relationship

BATCH = 500

Ids = Collection[UUID]
Touches = Callable[[str], bool]
Cut = Callable[[str], str]


def texts_about(person_ids: Ids) -> Iterator[str]:
    """Yield what was learnt of these people, in whose words it may be."""
    learnt = Memory.objects.filter(person_id__in=person_ids).exclude(kind=Memory.Kind.MESSAGE)
    yield from learnt.values_list("text", flat=True).iterator(chunk_size=BATCH)


def forget_people(person_ids: Ids, private_room_ids: Ids) -> dict[str, int]:
    """Delete a batch of what is kept of these people, and in rooms that are theirs alone; return how much went.

    Nothing, once nothing is left.
    """
    mine = Q(person__in=person_ids) | Q(room__in=private_room_ids)
    between = Q(user_a__in=person_ids) | Q(user_b__in=person_ids)
    return {
        "memories": _delete(Memory, mine | Q(fact__subject__in=person_ids)),
        "relationships": _delete(Relationship, between),
        "goals": _delete(Goal, mine),
        "conversations": _delete(Conversation, Q(room__in=private_room_ids)),
    }


def count_of(person_ids: Ids, private_room_ids: Ids) -> dict[str, int]:
    """Count what `forget_people` would delete."""
    mine = Q(person__in=person_ids) | Q(room__in=private_room_ids)
    return {
        "memories": Memory.objects.filter(mine | Q(fact__subject__in=person_ids)).count(),
        "relationships": Relationship.objects.filter(
            Q(user_a__in=person_ids) | Q(user_b__in=person_ids)
        ).count(),
        "goals": Goal.objects.filter(mine).count(),
        "conversations": Conversation.objects.filter(room__in=private_room_ids).count(),
    }


def _delete(model: type[Memory] | type[Relationship] | type[Goal] | type[Conversation], which: Q) -> int:
    ids = list(model._default_manager.filter(which).order_by().values_list("pk", flat=True)[:BATCH])
    if ids:
        model._default_manager.filter(pk__in=ids).delete()
    return len(ids)


LEARNT_FROM = """
SELECT memory.id FROM memory_memory AS memory
WHERE memory.agent_id = %(agent)s AND memory.kind <> 'message'
  AND (memory.room_id = %(room)s OR %(room)s::uuid IS NULL AND memory.scope = 'agent') AND (EXISTS (
    SELECT 1 FROM jsonb_array_elements_text(memory.source_messages) AS source
    JOIN agents_message AS message
      ON message.id = CASE WHEN source ~ '^[0-9a-f-]{36}$' THEN source::uuid END
    WHERE message.person_id = ANY(%(people)s::uuid[]) AND message.direction = 'in')
  OR EXISTS (
    SELECT 1 FROM memory_episode AS episode
    WHERE episode.memory_id = memory.id AND episode.participants ?| %(people)s::text[]))
LIMIT %(limit)s
"""

BEGIN_ANEW = """
UPDATE memory_conversation AS conversation
SET earlier = '', summary = '', outcome = '', error = '', last_message = NULL, in_hand = 0,
    episode_first = NULL, episode_began_at = NULL, episode_count = 0, episode_people = '{}',
    lease_until = NULL, lease_token = lease_token + 1,
    unseen = ARRAY(SELECT waiting.id FROM unnest(unseen) WITH ORDINALITY AS waiting (id, place)
                   WHERE NOT EXISTS (SELECT 1 FROM agents_message AS message
                                     WHERE message.id = waiting.id AND message.person_id = ANY(%(people)s::uuid[]))
                   ORDER BY waiting.place)
WHERE agent_id = %(agent)s AND room_id = %(room)s
"""
"""What is summed up of a room in which the person spoke may hold their words: it is begun anew, with what others said
and nobody has reflected on yet. Whoever looks at it in this moment can write nothing of it any more.
"""


def forget_learnt_from(person_ids: Ids, *, agent_id: UUID, room_id: UUID | None) -> int:
    """Delete a batch of what the agent learnt of others from these people's messages; without a room, of what it
    tells wherever it speaks. Their messages must still be there. What goes on in the room is begun anew.
    """
    with connection.cursor() as cursor:
        cursor.execute(
            LEARNT_FROM,
            {"agent": agent_id, "room": room_id, "people": list(person_ids), "limit": BATCH},
        )
        ids = [row[0] for row in cursor.fetchall()]
        if room_id is not None:
            cursor.execute(BEGIN_ANEW, {"agent": agent_id, "room": room_id, "people": list(person_ids)})
    if ids:
        Memory.objects.filter(pk__in=ids).delete()
    return len(ids)


def walk(agent_id: UUID, room_id: UUID | None) -> Iterator[list[Memory]]:
    """Yield the memories of the room, or those that go wherever the agent speaks, BATCH at a time.

    Documents are the operator's, and left out.
    """
    place = Q(room_id=room_id) if room_id is not None else Q(scope=Memory.Scope.AGENT)
    kept = Memory.objects.filter(place, agent_id=agent_id).exclude(kind=Memory.Kind.DOCUMENT)
    rest = kept.only("kind", "text", "speaker", "source_messages", "said_at")
    while page := list(rest.order_by("said_at", "pk")[:BATCH]):
        yield page
        last = page[-1]
        later = Q(said_at__gt=last.said_at) | Q(said_at=last.said_at, pk__gt=last.pk)
        rest = kept.filter(later, said_at__gte=last.said_at)
        rest = rest.only("kind", "text", "speaker", "source_messages", "said_at")


OTHERS_WORDS = """
SELECT memory.id FROM memory_memory AS memory
JOIN agents_message AS message
  ON message.id = CASE WHEN memory.source_messages->>0 ~ '^[0-9a-f-]{36}$'
                       THEN (memory.source_messages->>0)::uuid END
JOIN agents_person AS person ON person.id = message.person_id
WHERE memory.id = ANY(%(ids)s) AND memory.kind = 'message' AND message.direction = 'in' AND NOT person.is_bot
"""
"""The memories that are what another human said: those are theirs."""


def forget_touched(page: Sequence[Memory], touches: Touches) -> int:
    """Delete those memories of the page that hold the person's words, unless another human said them."""
    touched = [memory.pk for memory in page if touches(memory.text) or touches(memory.speaker)]
    if not touched:
        return 0
    with connection.cursor() as cursor:
        cursor.execute(OTHERS_WORDS, {"ids": touched})
        kept = {row[0] for row in cursor.fetchall()}
    gone = [id for id in touched if id not in kept]
    Memory.objects.filter(pk__in=gone).delete()
    return len(gone)


def cut_goals(agent_id: UUID, room_id: UUID | None, cut: Cut) -> int:
    """Cut the person's words out of the goals of a room, or of the agent's own; return how many rows changed."""
    changed = 0
    goals = Goal.objects.filter(agent=agent_id, room=room_id)
    if room_id is None:
        goals = goals.filter(person=None)
    for goal in goals.prefetch_related("objectives"):
        changed += _rename(goal, "name", cut)
        for objective in goal.objectives.all():
            changed += _rename(objective, "description", cut)
    return changed


def _rename(row: Goal | Objective, field: str, cut: Cut) -> bool:
    text = getattr(row, field)
    if cut(text) == text:
        return False
    setattr(row, field, cut(text)[:255])
    try:
        with transaction.atomic():
            row.save(update_fields=[field])
    except IntegrityError:
        # Without the person's words it is one that stands already.
        row.delete()
    return True


def cut_relationships(agent_id: UUID, cut: Cut) -> int:
    """Drop what holds the person's words from other people's relationships: tags, evidence, and the row where its
    type does; return how many rows changed.
    """
    changed = 0
    rows = Relationship.objects.filter(agent_id=agent_id)
    for row in rows.only("relationship_type", "tags", "evidence").iterator(chunk_size=BATCH):
        tags, evidence = (
            [item for item in found if cut(str(item)) == str(item)] for found in (row.tags, row.evidence)
        )
        same = Relationship.objects.filter(pk=row.pk)
        if cut(row.relationship_type) != row.relationship_type:
            same.delete()
        elif (tags, evidence) != (row.tags, row.evidence):
            same.update(tags=tags, evidence=evidence)
        else:
            continue
        changed += 1
    return changed
