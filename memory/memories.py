"""What is kept: every message, and all that is learnt, becomes a memory here.

The pipeline calls `remember` inside its own transaction; `memory.facts` calls it for what was learnt.
"""

from __future__ import annotations

import datetime as dt
import json
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import connection
from uuid_utils.compat import uuid7

from memory.embeddings.spaces import Column
from memory.metrics import timed
from memory.models import Memory
from memory.querysets import PRIVATE_ROOM_TYPES
from memory.vectors import column_for, vector_text

SPEAKER_MAX, MODEL_MAX, SOURCE_KEY_MAX = 200, 100, 120
FORGET_BATCH = 1000

# Written by hand: bulk_create takes about three times the CPU for the same row.
_COLUMNS = (
    "id, agent_id, person_id, room_id, world_id, kind, scope, speaker, text, embedding, embedding_model,"
    " second_embedding, second_embedding_model, importance, source_messages, source_key, said_at, created_at"
)
_VALUES = "(%s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, %s, now())"


@dataclass(frozen=True, kw_only=True)
class MemoryDraft:
    """A memory that is to be kept. `source_key` says what it was made from: it is kept once for each agent.

    `source_messages` are the ids of the messages that it came from. Without an `embedding` it gets one in
    the background, and without an `id` one of its own. An `embedding` of a model that is neither in use nor beside it
    any more is left out.
    Unit: `importance` from 0 to 1.
    """

    agent_id: UUID
    kind: str
    scope: str
    text: str
    said_at: dt.datetime
    person_id: UUID | None = None
    room_id: UUID | None = None
    world_id: UUID | None = None
    speaker: str = ""
    importance: float = 0.5
    source_messages: Sequence[UUID | str] = ()
    source_key: str | None = None
    embedding: Sequence[float] | None = None
    embedding_model: str = ""
    id: UUID | None = None


def scope_for(room_type: str) -> str:
    """Return the scope of what is said in a room of this type: the person's in private, else the room's."""
    return Memory.Scope.PERSON.value if room_type in PRIVATE_ROOM_TYPES else Memory.Scope.ROOM.value


def remember(drafts: Sequence[MemoryDraft]) -> int:
    """Keep the drafts, in one statement, and return how many of them were new.

    Raises: ValueError where a draft's key is too long, or a vector comes without its model's name;
    UnexpectedVectorSize where a vector is not of the size that the settings say. Nothing was sent then, so
    the caller's transaction is whole.
    """
    if not drafts:
        return 0
    statement, parameters = insertion(drafts)
    with timed("remember"), connection.cursor() as cursor:
        cursor.execute(statement, parameters)
        return int(cursor.rowcount)


def insertion(drafts: Sequence[MemoryDraft]) -> tuple[str, list[Any]]:
    """Return the statement that keeps the drafts, without a RETURNING, and its parameters.

    Raises: as `remember`.
    """
    parameters: list[Any] = []
    for draft in drafts:
        parameters += _row(draft)
    rows = ", ".join([_VALUES] * len(drafts))
    statement = (
        f"INSERT INTO memory_memory ({_COLUMNS}) VALUES {rows}"  # noqa: S608
        " ON CONFLICT (agent_id, source_key) DO NOTHING"
    )
    return statement, parameters


def _row(draft: MemoryDraft) -> tuple[Any, ...]:
    if draft.source_key is not None and len(draft.source_key) > SOURCE_KEY_MAX:
        raise ValueError(f"The source key {draft.source_key!r} has more than {SOURCE_KEY_MAX} characters.")
    column = None
    vector = ""
    if draft.embedding is not None:
        if not draft.embedding_model or len(draft.embedding_model) > MODEL_MAX:
            raise ValueError(
                f"A vector needs its model's name, of at most {MODEL_MAX} characters, "
                f"not {draft.embedding_model!r}."
            )
        column = column_for(draft.embedding, draft.embedding_model)
        vector = vector_text(draft.embedding)
    first = (vector, draft.embedding_model) if column == Column.FIRST else (None, "")
    second = (vector, draft.embedding_model) if column == Column.SECOND else (None, None)
    return (
        draft.id or uuid7(),
        draft.agent_id,
        draft.person_id,
        draft.room_id,
        draft.world_id,
        draft.kind,
        draft.scope,
        storable(draft.speaker)[:SPEAKER_MAX],
        storable(draft.text),
        *first,
        *second,
        min(max(draft.importance, 0.0), 1.0),
        json.dumps([str(message) for message in draft.source_messages]),
        draft.source_key,
        draft.said_at,
    )


def forget_agent(agent_id: UUID) -> int:
    """Delete all that is kept for this agent, batch by batch, and return how many memories it was."""
    deleted = 0
    while True:
        ids = list(
            Memory.objects.filter(agent_id=agent_id).order_by().values_list("pk", flat=True)[:FORGET_BATCH]
        )
        if not ids:
            return deleted
        deleted += Memory.objects.filter(pk__in=ids).delete()[0]


def storable(text: str) -> str:
    """Return the text composed (NFC), as questions are, and without what PostgreSQL refuses: NUL, and lone
    surrogates, which a model may answer.
    """
    text = unicodedata.normalize("NFC", text.replace("\x00", ""))
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "replace").decode()
    return text
