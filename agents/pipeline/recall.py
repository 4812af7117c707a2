"""The second step: embeds the message and recalls what the agent knows that bears on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from django.conf import settings

from agents.databases import release_connection
from agents.scene import Scene
from agents.trace import Trace
from memory.citations import cite
from memory.embeddings import get_embedder
from memory.embeddings.base import EmbeddingError
from memory.retrieval import RecallQuery, recall
from plugins.api import RecalledMemory
from plugins.time_limits import TimeLimitExceeded, call_within

EMBEDDING_SECONDS = 150.0
"""More than an embedder takes by its own limits; on a thread, so that a turn which is to end can leave it."""


@dataclass(frozen=True, kw_only=True)
class Recalled:
    """What recall brought, and the message's own vector, which its memory is stored with.

    Shape: `embedding` has the embedder's dimensions; None where the embedder is away.
    """

    memories: tuple[RecalledMemory, ...] = ()
    embedding: Sequence[float] | None = None
    embedding_model: str = ""


def recall_memories(scene: Scene, trace: Trace) -> Recalled:
    """Recall what is known; an embedder that is away costs the turn its memories, not its answer."""
    with trace.step("recall", query=scene.message.text[:500]) as step:
        try:
            release_connection()
            embedder = get_embedder()
            embedding = call_within(EMBEDDING_SECONDS, embedder.embed, [scene.message.text])[0]
        except (EmbeddingError, TimeLimitExceeded) as error:
            step.error = str(error)
            return Recalled()
        memories = recall(
            RecallQuery(
                agent_id=scene.turn.agent_id,
                room_id=scene.turn.room_id,
                person_id=scene.turn.person_id,
                text=scene.message.text,
                embedding=embedding,
                embedding_model=embedder.name,
                limit=settings.RECALL_LIMIT,
                exclude_message_ids=frozenset(
                    {
                        scene.message.id,
                        *scene.collected_ids,
                        *(message.id for message in scene.state.recent_messages),
                    }
                ),
            )
        )
        memories = cite(memories)
        step.output = {
            "memories": [
                {"id": str(memory.id), "score": round(memory.score, 4), "scores": dict(memory.scores)}
                for memory in memories
            ]
        }
        return Recalled(memories=tuple(memories), embedding=embedding, embedding_model=embedder.name)
