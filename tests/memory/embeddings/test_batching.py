"""The front that joins concurrent calls: nobody waits alone, and all get their own."""

import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from memory.embeddings.base import EmbeddingError
from memory.embeddings.batching import MAX_WAIT_SECONDS, BatchingEmbedder, patience_seconds
from memory.embeddings.hashed import HashedEmbedder


class SlowEmbedder(HashedEmbedder):
    """Takes its time for each request, and keeps a ledger of their sizes."""

    def __init__(self, seconds: float = 0.02) -> None:
        super().__init__(dimensions=16)
        self.seconds = seconds
        self.sizes: list[int] = []

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        self.sizes.append(len(texts))
        time.sleep(self.seconds)
        if any(text == "poison" for text in texts):
            raise EmbeddingError("poisoned")
        return super().embed(texts)


def test_a_caller_alone_is_served_at_once() -> None:
    slow = SlowEmbedder(0.0)
    front = BatchingEmbedder(slow, max_batch=8)
    started = time.monotonic()
    for _ in range(20):
        front.embed(["alone"])
    assert time.monotonic() - started < 0.2
    assert slow.sizes == [1] * 20


def test_those_who_come_meanwhile_travel_together_and_get_their_own() -> None:
    slow = SlowEmbedder()
    front = BatchingEmbedder(slow, max_batch=32)
    texts = [[f"text {number}", f"more {number}"] for number in range(50)]
    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(front.embed, texts))
    plain = HashedEmbedder(dimensions=16)
    assert answers == [plain.embed(pair) for pair in texts]
    assert sum(slow.sizes) == 100
    assert max(slow.sizes) <= 32
    assert len(slow.sizes) < 12


def test_a_list_larger_than_a_batch_is_passed_on_whole() -> None:
    slow = SlowEmbedder(0.0)
    assert len(BatchingEmbedder(slow, max_batch=4).embed(["text"] * 10)) == 10
    assert slow.sizes == [10]


def test_an_error_reaches_each_of_its_batch_and_nobody_else() -> None:
    front = BatchingEmbedder(SlowEmbedder(), max_batch=1)
    with ThreadPoolExecutor(5) as pool:
        calls = [pool.submit(front.embed, [text]) for text in ("a", "poison", "b", "poison", "c")]
    assert [call.exception() is None for call in calls] == [True, False, True, False, True]
    assert front.embed(["after"])


def test_a_caller_gives_up_after_its_time_and_the_rest_goes_on() -> None:
    front = BatchingEmbedder(SlowEmbedder(0.3), max_batch=4, max_wait_seconds=0.05)
    first = threading.Thread(target=front.embed, args=(["first"],))
    first.start()
    time.sleep(0.05)
    with pytest.raises(EmbeddingError, match="was not free"):
        front.embed(["second"])
    first.join()
    assert front.embed(["third"])


def test_as_many_requests_run_at_once_as_are_allowed() -> None:
    slow = SlowEmbedder(0.1)
    front = BatchingEmbedder(slow, max_batch=1, concurrency=4)
    started = time.monotonic()
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(front.embed, [["text"]] * 8))
    assert 0.15 < time.monotonic() - started < 0.6


def test_a_turn_waits_longer_than_the_embedder_s_own_limits(settings: Any) -> None:
    settings.EMBEDDING_TIMEOUT_SECONDS = 400.0
    assert patience_seconds() == MAX_WAIT_SECONDS + 400
