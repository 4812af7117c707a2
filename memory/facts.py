"""Facts: what was learnt from what was said. Evaluators' effects and the pipeline call it."""

from __future__ import annotations

import datetime as dt
import hashlib
from collections.abc import Sequence
from uuid import UUID

from memory.memories import MemoryDraft, remember
from memory.models import Memory


def remember_fact(
    *,
    agent_id: UUID,
    text: str,
    scope: str,
    said_at: dt.datetime,
    person_id: UUID | None = None,
    room_id: UUID | None = None,
    world_id: UUID | None = None,
    speaker: str = "",
    importance: float = 0.5,
    source_messages: Sequence[UUID | str] = (),
    source_key: str | None = None,
) -> bool:
    """Keep a fact with the messages that it came from, once; tell whether it was new.

    Without a `source_key` of the caller's own, the same words in the same scope are the same fact.
    """
    key = source_key or key_of(text, scope, person_id, room_id)
    draft = MemoryDraft(
        agent_id=agent_id,
        kind=Memory.Kind.FACT.value,
        scope=scope,
        text=text,
        said_at=said_at,
        person_id=person_id,
        room_id=room_id,
        world_id=world_id,
        speaker=speaker,
        importance=importance,
        source_messages=source_messages,
        source_key=key,
    )
    return remember([draft]) == 1


def key_of(text: str, scope: str, person_id: UUID | None, room_id: UUID | None) -> str:
    """Return the key under which the same words in the same scope are kept once."""
    # Whose fact it is belongs to it in every scope; the room only where the fact stays in the room.
    place = room_id if scope == Memory.Scope.ROOM else None
    words = " ".join(text.casefold().split())
    content = "\n".join([scope, str(person_id), str(place), words])
    return "fact:" + hashlib.sha256(content.encode("utf-8", "replace")).hexdigest()
