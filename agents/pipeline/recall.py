"""The second step: embeds the message and recalls what the agent knows that bears on it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from django.conf import settings

from agents.scene import Scene
from agents.trace import Trace
from memory.documents.citations import cite
from memory.embeddings import get_embedder
from memory.embeddings.base import EmbeddingError
from memory.embeddings.batching import patience_seconds
from memory.retrieval import RecallQuery, Recollection, recall
from plugins.time_limits import TimeLimitExceeded, call_within


def recall_memories(scene: Scene, trace: Trace) -> Recollection:
    """Recall what is known; an embedder that is away costs the turn what only meaning finds, not its answer."""
    with trace.step("recall", query=scene.message.text[:500]) as step:
        found = recall(
            RecallQuery(
                agent_id=scene.turn.agent_id,
                room_id=scene.turn.room_id,
                person_id=scene.turn.person_id,
                text=scene.message.text,
                limit=settings.RECALL_LIMIT,
                now=scene.now,
                exclude_message_ids=frozenset(
                    {
                        scene.message.id,
                        *scene.collected_ids,
                        *(message.id for message in scene.state.recent_messages),
                    }
                ),
            ),
            embedder=_PatientEmbedder,
        )
        step.error = found.error
        found = replace(found, memories=tuple(cite(found.memories)))
        step.output = {
            "memories": [
                {
                    "id": str(memory.id),
                    "score": round(memory.score, 4),
                    "scores": {name: round(score, 4) for name, score in memory.scores.items()},
                }
                for memory in found.memories
            ]
        }
        return found


class _PatientEmbedder:
    """The embedder of the space in use, waited for on a thread, so that a turn which is to end can leave it."""

    def __init__(self) -> None:
        self._embedder = get_embedder()
        self.name = self._embedder.name
        self.dimensions = self._embedder.dimensions

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Embed the texts.

        Raises: EmbeddingError, also where it takes too long.
        """
        try:
            return call_within(patience_seconds(), self._embedder.embed, texts)
        except TimeLimitExceeded as error:
            raise EmbeddingError(str(error)) from error
