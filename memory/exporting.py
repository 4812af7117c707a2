"""What memory knows of a person, for an export: rows of plain JSON, one after the other. `agents.exports` calls it.

Rows are read as they are asked for, so the caller has a transaction open. What of a row is not the person's is left
out: messages of others that it came from, and who else a relationship is about.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from itertools import groupby
from typing import Any
from uuid import UUID

from django.db.models import Model, Q, QuerySet

from memory.embeddings.spaces import used_column
from memory.models import Goal, Memory, Relationship

CHUNK = 500

Row = dict[str, Any]
Ids = Collection[UUID]
Own = Callable[[set[str]], set[str]]
"""Returns which of these are ids of the person's own messages."""


def memories_of(person_ids: Ids, room_ids: Ids, own: Own) -> Iterator[Row]:
    """Yield what is kept of these people, and in rooms that are theirs alone; facts come from `facts_of`."""
    rows = Memory.objects.filter(Q(person__in=person_ids) | Q(room__in=room_ids)).exclude(
        kind=Memory.Kind.FACT
    )
    for memory, sources in _with_sources(rows, "source_messages", own):
        yield _memory(memory, sources)


def facts_of(person_ids: Ids, room_ids: Ids, own: Own) -> Iterator[Row]:
    """Yield the facts, current and past; a past one names what took its place."""
    rows = Memory.objects.filter(Q(person__in=person_ids) | Q(room__in=room_ids), kind=Memory.Kind.FACT)
    for memory, sources in _with_sources(rows, "source_messages", own):
        yield {**_memory(memory, sources), "superseded_by": _id(memory.superseded_by_id)}


def _memory(memory: Memory, sources: list[str]) -> Row:
    return {
        "id": str(memory.pk),
        "agent": memory.agent.slug,
        "kind": memory.kind,
        "scope": memory.scope,
        "room": _id(memory.room_id),
        "speaker": memory.speaker,
        "text": memory.text,
        "importance": memory.importance,
        "source_messages": sources,
        "embedding_model": getattr(memory, f"{used_column()}_model") or "",
        "said_at": memory.said_at,
        "created_at": memory.created_at,
    }


def relationships_of(person_ids: Ids, agents_own: Ids, own: Own) -> Iterator[Row]:
    """Yield how these people stand to others; of the others only whether they are an agent (`agents_own`)."""
    rows = Relationship.objects.filter(Q(user_a__in=person_ids) | Q(user_b__in=person_ids))
    for row, evidence in _with_sources(rows, "evidence", own):
        is_from = row.user_a_id in person_ids
        other = row.user_b_id if is_from else row.user_a_id
        yield {
            "agent": row.agent.slug,
            "with": "an agent" if other in agents_own else "another person",
            "direction": "from the person" if is_from else "to the person",
            "relationship_type": row.relationship_type,
            "strength": row.strength,
            "tags": row.tags,
            "evidence": evidence,
            "created_at": row.created_at,
            "updated_at": row.updated_at,
        }


def others_in_relationships(person_ids: Ids) -> set[UUID]:
    """Return who stands on the other end of these people's relationships."""
    between = Relationship.objects.filter(Q(user_a__in=person_ids) | Q(user_b__in=person_ids))
    pairs = between.order_by().values_list("user_a", "user_b").distinct()
    return {id for pair in pairs for id in pair} - set(person_ids)


def goals_of(person_ids: Ids, room_ids: Ids) -> Iterator[Row]:
    """Yield what agents are after for these people, or in rooms that are theirs alone."""
    goals = Goal.objects.filter(Q(person__in=person_ids) | Q(room__in=room_ids)).order_by("pk")
    columns = ("agent__slug", "room", "name", "status", "created_at", "completed_at", "pk")
    parts = ("objectives__description", "objectives__is_done", "objectives__done_at")
    # A row for each objective, in one statement.
    rows = goals.order_by("pk", "objectives__position").values_list(*columns, *parts)
    for key, group in groupby(rows.iterator(chunk_size=CHUNK), key=lambda row: row[: len(columns)]):
        agent, room_id, name, status, created_at, completed_at, _pk = key
        yield {
            "agent": agent,
            "room": _id(room_id),
            "name": name,
            "status": status,
            "created_at": created_at,
            "completed_at": completed_at,
            "objectives": [
                {"description": description, "is_done": is_done, "done_at": done_at}
                for description, is_done, done_at in (row[len(columns) :] for row in group)
                if description is not None
            ],
        }


def _with_sources(rows: QuerySet[Any], field: str, own: Own) -> Iterator[tuple[Any, list[str]]]:
    """Yield each row with those of its messages that are the person's own; one question for CHUNK rows."""
    rows = rows.order_by("pk").select_related("agent")
    page: list[Model] = []
    deferred = ["embedding", "second_embedding"] if rows.model is Memory else []
    for row in rows.defer(*deferred).iterator(chunk_size=CHUNK):
        page.append(row)
        if len(page) == CHUNK:
            yield from _filtered(page, field, own)
            page = []
    yield from _filtered(page, field, own)


def _filtered(page: list[Any], field: str, own: Own) -> Iterator[tuple[Any, list[str]]]:
    mine = own({str(source) for row in page for source in getattr(row, field)}) if page else set()
    for row in page:
        yield row, [str(source) for source in getattr(row, field) if str(source) in mine]


def _id(value: UUID | None) -> str | None:
    return str(value) if value else None
