"""A front for any embedder that joins what concurrent threads ask for into one request.

`memory.embeddings.choice` puts it before the local model, `agents.llm.router` before a remote one.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field

from django.conf import settings

from memory.embeddings.base import Embedder, EmbeddingError

MAX_WAIT_SECONDS = 120.0
"""So long a caller waits to be taken along."""


@dataclass(eq=False)
class _Call:
    """One caller's texts on their way, and what came of them."""

    texts: Sequence[str]
    is_done: threading.Event = field(default_factory=threading.Event)
    vectors: list[list[float]] | None = None
    error: Exception | None = None
    leads: bool = False


def patience_seconds() -> float:
    """Return how long a turn waits for a vector: as long as an embedder may take by its own limits."""
    return MAX_WAIT_SECONDS + float(settings.EMBEDDING_TIMEOUT_SECONDS)


class BatchingEmbedder:
    """Lets one request run at a time; those who come meanwhile travel together in the next.

    A caller who comes alone is served at once. The first of those who wait leads the next request when the
    running one ends, so no thread is needed of its own, and nobody waits for a timer.
    Unit: `max_batch` in texts; a single caller's larger list is passed on whole.
    """

    def __init__(
        self,
        embedder: Embedder,
        *,
        max_batch: int = 64,
        max_wait_seconds: float = MAX_WAIT_SECONDS,
        concurrency: int = 1,
    ) -> None:
        self.name = embedder.name
        self.dimensions = embedder.dimensions
        self._embedder = embedder
        self._max_batch = max_batch
        self._max_wait_seconds = max_wait_seconds
        self._lock = threading.Lock()
        self._waiting: list[_Call] = []
        self._free = concurrency

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Embed the texts, in order, perhaps together with those of other threads.

        Shape: len(texts) lists of `dimensions` floats, of unit length.
        Raises: EmbeddingError.
        """
        if not texts:
            return []
        call = _Call(texts)
        with self._lock:
            if self._free:
                self._free -= 1
                batch = [call]
            else:
                self._waiting.append(call)
                batch = []
        if not batch:
            batch = self._wait(call)
        if batch:
            self._work(batch)
        if call.error is not None:
            # A new one for each caller: threads that raise one exception together mix up its traceback.
            quotes_others = getattr(call.error, "quotes_others", True)
            raise EmbeddingError(str(call.error), quotes_others=quotes_others) from call.error
        assert call.vectors is not None
        return call.vectors

    def _wait(self, call: _Call) -> list[_Call]:
        """Wait until the call was answered (return nothing) or has to lead (return its batch)."""
        call.is_done.wait(self._max_wait_seconds)
        with self._lock:
            if call.leads:
                return self._take_batch(call)
            if call in self._waiting:
                self._waiting.remove(call)
                call.error = EmbeddingError(f"{self.name} was not free within {self._max_wait_seconds:g} s.")
                return []
        # It is part of a running request, which keeps a time limit of its own.
        call.is_done.wait()
        return []

    def _take_batch(self, leader: _Call) -> list[_Call]:
        batch, count = [leader], len(leader.texts)
        while self._waiting and count + len(self._waiting[0].texts) <= self._max_batch:
            batch.append(self._waiting.pop(0))
            count += len(batch[-1].texts)
        return batch

    def _work(self, batch: list[_Call]) -> None:
        try:
            self._embed_together(batch)
        finally:
            with self._lock:
                if self._waiting:
                    leader = self._waiting.pop(0)
                    leader.leads = True
                    leader.is_done.set()
                else:
                    self._free += 1
            for call in batch[1:]:
                call.is_done.set()

    def _embed_together(self, batch: list[_Call]) -> None:
        try:
            vectors = self._embedder.embed([text for call in batch for text in call.texts])
        except BaseException as error:
            # Whatever it is, those who wait must hear of it; what is no Exception goes on in its own thread.
            for call in batch:
                call.error = (
                    error if isinstance(error, Exception) else EmbeddingError(repr(error), quotes_others=True)
                )
            if not isinstance(error, Exception):
                raise
            return
        start = 0
        for call in batch:
            call.vectors = vectors[start : start + len(call.texts)]
            start += len(call.texts)
