"""What every embedder keeps, the local model and the hashed words alike, alone and behind a front."""

import math
from collections.abc import Callable

import pytest

from memory.embeddings.base import Embedder
from memory.embeddings.batching import BatchingEmbedder
from memory.embeddings.hashed import HashedEmbedder
from memory.embeddings.local import LocalEmbedder
from memory.embeddings.remembering import RememberingEmbedder

local = LocalEmbedder()
MAKERS: dict[str, Callable[[], Embedder]] = {
    "hashed": HashedEmbedder,
    "local": lambda: local,
    "joined": lambda: BatchingEmbedder(HashedEmbedder()),
    "remembered": lambda: RememberingEmbedder(local),
}


@pytest.fixture(params=MAKERS)
def embedder(request: pytest.FixtureRequest) -> Embedder:
    return MAKERS[request.param]()


def closeness(one: list[float], other: list[float]) -> float:
    return sum(a * b for a, b in zip(one, other, strict=True))


def test_vectors_have_unit_length_and_the_stated_size(embedder: Embedder) -> None:
    texts = ["Hello", "", "   ", "naïve 你好 👩‍👧", "x" * 5000, "word " * 900, "lone \ud800", "nul \x00 byte"]
    vectors = embedder.embed(texts)
    assert len(vectors) == len(texts)
    for vector in vectors:
        assert len(vector) == embedder.dimensions
        assert math.hypot(*vector) == pytest.approx(1.0, abs=1e-5)


def test_like_texts_lie_nearer_than_unlike_ones(embedder: Embedder) -> None:
    cat, kitten, market = embedder.embed(
        ["The cat sleeps on the sofa.", "A cat is asleep on the sofa.", "Shares fell sharply in Tokyo today."]
    )
    assert closeness(cat, kitten) > closeness(cat, market) + 0.2


def test_a_batch_gives_what_each_text_gives_alone(embedder: Embedder) -> None:
    texts = ["short", "a somewhat longer text about a dog and its bone", "word " * 120, "short again"] * 12
    together = embedder.embed(texts)
    for text, vector in zip(texts[:4], together, strict=False):
        assert vector == pytest.approx(embedder.embed([text])[0], abs=1e-5)


def test_nothing_gives_nothing(embedder: Embedder) -> None:
    assert embedder.embed([]) == []
