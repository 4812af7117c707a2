"""Plain questions about memories, beside recall: which are the most recent, and which lie near a vector.

For tasks, plugins' hosts and programs that know what they look for; within scope, as recall is.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Sequence
from uuid import UUID

from memory.embeddings.choice import get_embedder
from memory.models import Memory
from memory.stores import store
from memory.stores.base import NEAREST_STEPS, Sought, Wanted
from memory.vectors import check_size
from plugins.api import RecalledMemory

MOST_NEAR = NEAREST_STEPS[-1]


def find_recent(
    limit: int,
    *,
    agent_id: UUID,
    room_id: UUID | None,
    person_id: UUID | None,
    kinds: Sequence[str] | None = None,
) -> list[RecalledMemory]:
    """Find the memories that were said last and may surface here, newest first; `kinds` None means all of them."""
    visible = Memory.objects.visible_to(agent_id, room_id, person_id)
    if kinds is not None:
        visible = visible.filter(kind__in=kinds)
    rows = visible.order_by("-said_at", "-id").values_list(
        "id", "kind", "text", "said_at", "speaker", "source_messages"
    )
    return [
        RecalledMemory(
            id=id,
            kind=kind,
            text=text,
            said_at=said_at,
            score=0.0,
            speaker=speaker,
            source_message_ids=tuple(map(UUID, sources)),
        )
        for id, kind, text, said_at, speaker, sources in rows[: max(0, limit)]
    ]


def find_near(
    embedding: Sequence[float],
    *,
    threshold: float,
    limit: int,
    agent_id: UUID,
    room_id: UUID | None,
    person_id: UUID | None,
    kinds: tuple[str, ...] | None = None,
) -> list[RecalledMemory]:
    """Find the memories whose vectors lie near this one and may surface here, nearest first.

    `embedding` is the installation's embedder's own. At most MOST_NEAR are found. The score is the cosine.
    Unit: `threshold` is the least cosine, from -1 to 1.
    Raises: UnexpectedVectorSize where the vector is not of the size that the settings say.
    """
    model = get_embedder().name
    check_size(embedding, model)
    wanted = Wanted(
        agent_id=agent_id,
        room_id=room_id,
        person_id=person_id,
        limit=min(limit, MOST_NEAR),
        sought=Sought(),
        vector=embedding,
        embedding_model=model,
        kinds=kinds,
    )
    near = [
        candidate
        for candidate in (store().find_candidates(wanted) if limit > 0 else ())
        if candidate.nearness is not None and candidate.nearness >= threshold
    ]
    # Of two that are equal, the newer one comes first.
    near.sort(key=lambda candidate: (candidate.nearness, candidate.said_at, candidate.id), reverse=True)
    return [
        RecalledMemory(
            id=UUID(candidate.id),
            kind=candidate.kind,
            text=candidate.text,
            said_at=dt.datetime.fromtimestamp(candidate.said_at, dt.UTC),
            score=candidate.nearness or 0.0,
            speaker=candidate.speaker,
            scores={"vector": candidate.nearness or 0.0},
            source_message_ids=tuple(map(UUID, json.loads(candidate.source_messages))),
        )
        for candidate in near[: min(limit, MOST_NEAR)]
    ]
