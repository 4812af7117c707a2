"""Facts: what was learnt from what was said, merged with what is known. Evaluators' effects end here.

A fact holds in a place: a room, a person's private rooms, or wherever the agent speaks. It is merged with
facts of the same place alone: what was said elsewhere neither ends it nor strengthens it, so that nothing of
a private talk shows in another room. What it does to those that are known decides `memory.merging`.
"""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from uuid_utils.compat import uuid7

from memory.embeddings.spaces import used_column
from memory.fact_rows import Asked, FactRow, Near, Place, known_of, read_near, write_facts
from memory.memories import MemoryDraft, storable
from memory.merging import Claim, Decision, Fate, Known, decide, strengthened
from memory.models import Fact, Memory

__all__ = ["NewFact", "Place", "find_known_facts", "key_of", "learn_facts", "remember_fact"]

MAX_SOURCES = 50
TEXT_MAX, ATTRIBUTE_MAX, VALUE_MAX = 1000, 40, 200


@dataclass(frozen=True, kw_only=True)
class NewFact:
    """A fact to be learnt: the words, whom they are about, and the messages that say so.

    `subject_id` None is about nobody. `same_as` and `replaces` name known facts, by the model's word. `key`
    is a caller's own, under which the fact is kept once.
    Unit: `confidence` and `importance` from 0 to 1.
    """

    text: str
    said_at: dt.datetime
    subject_id: UUID | None = None
    type: str = Fact.Type.FACT.value
    attribute: str = ""
    value: str = ""
    confidence: float = 0.5
    importance: float = 0.5
    speaker: str = ""
    sources: Sequence[UUID | str] = ()
    same_as: UUID | None = None
    replaces: UUID | None = None
    embedding: Sequence[float] | None = None
    embedding_model: str = ""
    key: str | None = None


@dataclass(frozen=True, kw_only=True)
class Learnt:
    """What came of new facts, as numbers of them."""

    new: int = 0
    strengthened: int = 0
    ended: int = 0


def remember_fact(
    *,
    agent_id: UUID,
    text: str,
    scope: str,
    said_at: dt.datetime,
    person_id: UUID | None = None,
    room_id: UUID | None = None,
    speaker: str = "",
    importance: float = 0.5,
    source_messages: Sequence[UUID | str] = (),
    source_key: str | None = None,
) -> bool:
    """Keep a fact with the messages that it came from, or strengthen the one that is known; tell if it was new.

    Without a `source_key` of the caller's own, the same words in the same scope are the same fact.
    """
    fact = NewFact(
        text=text,
        said_at=said_at,
        subject_id=person_id,
        speaker=speaker,
        importance=importance,
        sources=source_messages,
        key=source_key,
    )
    place = Place(agent_id=agent_id, scope=scope, room_id=room_id, person_id=person_id)
    return learn_facts(place, [fact]).new == 1


def learn_facts(place: Place, facts: Sequence[NewFact]) -> Learnt:
    """Merge the facts into what is known in the place: in five statements at most, however many they are.

    Two that learn in one place come one after the other. A fact whose messages are known already changes
    nothing, so learning twice is learning once.
    """
    cleaned = [_cleaned(fact) for fact in facts if fact.text.strip()]
    if not cleaned:
        return Learnt()
    keys = [_key(place, fact) for fact in cleaned]
    asked = [
        Asked(
            subject_id=fact.subject_id,
            key=key,
            attribute=fact.attribute,
            named=tuple(id for id in (fact.same_as, fact.replaces) if id is not None),
            embedding=fact.embedding,
            embedding_model=fact.embedding_model,
        )
        for fact, key in zip(cleaned, keys, strict=True)
    ]
    with transaction.atomic(savepoint=False):
        with connection.cursor() as cursor:
            # Apart from what is read next: one statement would have read before it had the lock.
            cursor.execute("SELECT pg_advisory_xact_lock(hashtextextended(%s, 0))", [f"facts:{place.key}"])
        merge = _Merge(place)
        for fact, key, near in zip(cleaned, keys, read_near(place, asked), strict=True):
            merge.take(fact, key, near)
        return merge.write()


class _Merge:
    """What is known in a place, while facts are merged into it one after the other."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._rows: dict[UUID, FactRow] = {}
        self._new: dict[UUID, tuple[MemoryDraft, NewFact]] = {}
        self._changed: set[UUID] = set()
        self._counts = {"new": 0, "strengthened": 0, "ended": 0}

    def take(self, fact: NewFact, key: str, near: Sequence[Near]) -> None:
        """Merge one fact with what holds of its subject: what was known, and what was learnt just before."""
        for one in near:
            self._rows.setdefault(one.row.id, one.row)
        cosines = {one.row.id: one.cosine for one in near}
        cosines |= {id: _cosine(fact, other) for id, (_draft, other) in self._new.items()}
        holding = [
            row
            for row in map(self._rows.__getitem__, cosines)
            if row.superseded_by is None and row.subject_id == fact.subject_id
        ]
        decision = self._decide(fact, key, holding, cosines)
        if decision.of is not None:
            self._strengthen(self._rows[decision.of], fact)
        else:
            self._add(fact, key, [self._rows[id] for id in decision.ends])

    def _decide(
        self, fact: NewFact, key: str, holding: list[FactRow], cosines: dict[UUID, float | None]
    ) -> Decision:
        exact = next((row.id for row in holding if row.key == key), None)
        if exact is not None:
            return Decision(fate=Fate.SAME, of=exact)
        claim = Claim(
            text=fact.text,
            attribute=fact.attribute,
            value=fact.value,
            same_as=fact.same_as,
            replaces=fact.replaces,
        )
        known = [
            Known(id=row.id, text=row.text, attribute=row.attribute, value=row.value, cosine=cosines[row.id])
            for row in holding
        ]
        return decide(claim, known)

    def _strengthen(self, row: FactRow, fact: NewFact) -> None:
        new_sources = [source for source in map(str, fact.sources) if source not in row.sources]
        if not new_sources:
            return
        self._change(
            row,
            sources=(*row.sources, *new_sources)[-MAX_SOURCES:],
            confidence=strengthened(row.confidence, fact.confidence),
            seen_count=row.seen_count + 1,
            last_seen_at=max(row.last_seen_at, fact.said_at),
            attribute=row.attribute or fact.attribute,
            value=row.value or fact.value,
        )
        self._counts["strengthened"] += 1

    def _add(self, fact: NewFact, key: str, ended: Sequence[FactRow]) -> None:
        row = _row_of(fact, key)
        self._rows[row.id] = row
        self._new[row.id] = (_draft_of(self._place, fact, row), fact)
        self._counts["new"] += 1
        # What was said before the fact that it would end is history already.
        newer = next((one for one in ended if one.last_seen_at > fact.said_at), None)
        if newer is not None:
            self._end(row, by=newer, at=newer.last_seen_at)
            return
        for one in ended:
            self._end(one, by=row, at=fact.said_at)
            self._counts["ended"] += 1

    def _end(self, row: FactRow, *, by: FactRow, at: dt.datetime) -> None:
        message = UUID(by.sources[-1]) if by.sources else None
        # Its words may come true again one day, and are learnt anew then: so it gives its key back.
        self._change(row, superseded_by=by.id, ended_at=at, ended_by=message, key=None)

    def _change(self, row: FactRow, **changes: Any) -> None:
        self._rows[row.id] = replace(row, **changes)
        if row.id not in self._new:
            self._changed.add(row.id)

    def write(self) -> Learnt:
        """Write what is new and what changed, and tell how much it was."""
        if self._new or self._changed:
            new = [(draft, self._rows[id]) for id, (draft, _fact) in self._new.items()]
            write_facts(new, [self._rows[id] for id in sorted(self._changed)])
        return Learnt(**self._counts)


def _cleaned(fact: NewFact) -> NewFact:
    return replace(
        fact,
        text=storable(" ".join(fact.text.split()))[:TEXT_MAX],
        attribute=storable(fact.attribute)[:ATTRIBUTE_MAX],
        value=storable(fact.value)[:VALUE_MAX],
        confidence=min(max(fact.confidence, 0.0), 1.0),
    )


def _row_of(fact: NewFact, key: str) -> FactRow:
    return FactRow(
        id=uuid7(),
        text=fact.text,
        type=fact.type if fact.type in Fact.Type.values else Fact.Type.FACT.value,
        subject_id=fact.subject_id,
        attribute=fact.attribute,
        value=fact.value,
        confidence=fact.confidence,
        seen_count=1,
        last_seen_at=fact.said_at,
        sources=tuple(str(source) for source in fact.sources)[-MAX_SOURCES:],
        key=key,
    )


def _draft_of(place: Place, fact: NewFact, row: FactRow) -> MemoryDraft:
    return MemoryDraft(
        id=row.id,
        agent_id=place.agent_id,
        kind=Memory.Kind.FACT.value,
        scope=place.scope,
        text=fact.text,
        said_at=fact.said_at,
        person_id=_person_of(place, fact),
        room_id=place.room_id,
        speaker=fact.speaker,
        importance=fact.importance,
        embedding=fact.embedding,
        embedding_model=fact.embedding_model,
    )


def _person_of(place: Place, fact: NewFact) -> UUID | None:
    """Return whose fact it is: in private the person's whom it was told by, elsewhere whom it is about."""
    return place.person_id if place.scope == Memory.Scope.PERSON else fact.subject_id


def _cosine(fact: NewFact, other: NewFact) -> float | None:
    """Return the cosine of two facts' vectors, which have unit length."""
    if fact.embedding is None or other.embedding is None or fact.embedding_model != other.embedding_model:
        return None
    return sum(a * b for a, b in zip(fact.embedding, other.embedding, strict=True))


def _key(place: Place, fact: NewFact) -> str:
    if fact.key is not None:
        return fact.key
    person_id = _person_of(place, fact)
    return key_of(
        fact.text, place.scope, person_id, place.room_id, about=about_of(person_id, fact.subject_id)
    )


def key_of(text: str, scope: str, person_id: UUID | None, room_id: UUID | None, *, about: str = "") -> str:
    """Return the key under which the same words in the same scope are kept once."""
    # Whose fact it is belongs to it in every scope; the room only where the fact stays in the room.
    place = room_id if scope == Memory.Scope.ROOM else None
    words = " ".join(text.casefold().split())
    content = "\n".join([scope, str(person_id), str(place), words, *([about] if about else [])])
    return "fact:" + hashlib.sha256(content.encode("utf-8", "replace")).hexdigest()


def about_of(person_id: UUID | None, subject_id: UUID | None) -> str:
    """Return what a fact's key has of its subject: nothing where it is about the person whose fact it is."""
    return "" if subject_id == person_id else str(subject_id)


@dataclass(frozen=True, kw_only=True)
class FactView:
    """A fact that holds, as it is told to whoever learns more."""

    id: UUID
    text: str
    subject_id: UUID | None
    attribute: str


_FIND_KNOWN = """
WITH said AS MATERIALIZED (
    SELECT {column} AS embedding, {column}_model AS embedding_model FROM memory_memory
    WHERE agent_id = %(agent)s AND source_key = ANY(%(messages)s) AND {column} IS NOT NULL
), {known}
SELECT id, text, subject_id, attribute
FROM (
    SELECT known.*, (
        SELECT min(known.embedding <=> said.embedding) FROM said
        WHERE said.embedding_model = known.embedding_model) AS distance
    FROM known WHERE is_compared AND (subject_id IS NULL OR subject_id = ANY(%(subjects)s))
) AS near
ORDER BY attribute = '', distance NULLS LAST, last_seen_at DESC LIMIT %(limit)s
"""
"""What has an attribute stands first: it is what a new word may end. The others by their nearness to what was
said, as far as both have vectors.
"""


def find_known_facts(
    place: Place, message_ids: Sequence[UUID], *, subject_ids: Sequence[UUID], limit: int
) -> list[FactView]:
    """Find facts that hold in the place, of these subjects or nobody, and may bear on the messages.

    One statement.
    """
    messages = [f"message:{id}" for id in message_ids]
    names = {**place.names, "messages": messages, "subjects": list(subject_ids), "limit": limit}
    column = used_column()
    with connection.cursor() as cursor:
        cursor.execute(_FIND_KNOWN.format(known=known_of(place, column), column=column), names)
        return [
            FactView(id=id, text=text, subject_id=subject_id, attribute=attribute)
            for id, text, subject_id, attribute in cursor.fetchall()
        ]
