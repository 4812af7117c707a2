"""Times how memories are written, for `memories.py`: singly, in batches, and by bare COPY into the same table."""

from __future__ import annotations

import datetime as dt
import time
from collections.abc import Iterator, Sequence
from typing import Any
from uuid import UUID, uuid4

import numpy as np
from django.db import connection
from filling import MODEL, copying, execute, make_agent
from pgvector import Vector
from psycopg.types.json import Jsonb
from uuid_utils.compat import uuid7

from memory.memories import MemoryDraft, remember

BATCHED, SINGLY, BATCH = 10_000, 2000, 100
NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)


def measure(texts: Sequence[str], vectors: np.ndarray[Any, Any]) -> dict[str, tuple[int, float]]:
    """Return for each way how many memories were written and in how many seconds; each begins with an empty table."""
    agent = make_agent("Writer").pk
    drafts = list(_drafts(agent, texts, vectors))
    rows = [
        (uuid7(), agent, None, None, "message", "agent", "Ann", draft.text, Vector(vectors[number]), MODEL, 0.5,
         Jsonb([str(uuid4())]), draft.source_key, NOW, NOW)
        for number, draft in enumerate(drafts)
    ]  # fmt: skip
    ways = {
        "remember, one at a time": (SINGLY, lambda: [remember([draft]) for draft in drafts[:SINGLY]]),
        f"remember, {BATCH} at a time": (
            BATCHED,
            lambda: [remember(drafts[start : start + BATCH]) for start in range(0, BATCHED, BATCH)],
        ),
        "bare COPY": (BATCHED, lambda: _copy(rows)),
    }
    figures = {}
    for name, (count, write) in ways.items():
        execute("TRUNCATE memory_memory CASCADE")
        remember(drafts[:1])
        execute("TRUNCATE memory_memory CASCADE")
        started = time.perf_counter()
        write()
        figures[name] = (count, time.perf_counter() - started)
        with connection.cursor() as cursor:
            cursor.execute("SELECT count(embedding) FROM memory_memory")
            assert cursor.fetchone() == (count,)
    return figures


def _drafts(agent: UUID, texts: Sequence[str], vectors: np.ndarray[Any, Any]) -> Iterator[MemoryDraft]:
    for number in range(BATCHED):
        yield MemoryDraft(
            agent_id=agent,
            kind="message",
            scope="agent",
            speaker="Ann",
            text=texts[number],
            said_at=NOW,
            source_messages=(uuid4(),),
            source_key=f"bench:{number}",
            embedding=vectors[number].tolist(),
            embedding_model=MODEL,
        )


def _copy(rows: Sequence[Any]) -> None:
    with copying() as copy:
        for row in rows:
            copy.write_row(row)
