"""Vectors of short texts are made once, and are the same as if they were made again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
from django.core.cache import cache

from agents.circuits import cache_circuit
from memory.embeddings.base import EmbeddingError
from memory.embeddings.local import LocalEmbedder
from memory.embeddings.remembering import LONGEST_CHARACTERS, RememberingEmbedder


class Counting:
    """An embedder that notes what it was asked for."""

    name = "counting"
    dimensions = 3

    def __init__(self) -> None:
        self.asked: list[str] = []
        self.is_away = False

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        if self.is_away:
            raise EmbeddingError("away")
        self.asked += texts
        return [[1.0, 0.5, float(len(text))] for text in texts]


@pytest.fixture(autouse=True)
def _nothing_remembered() -> Iterator[None]:
    cache.clear()
    yield
    cache.clear()


def test_a_short_text_is_embedded_once() -> None:
    inner = Counting()
    front = RememberingEmbedder(inner)
    first = front.embed(["hello", "you", "hello"])
    assert inner.asked == ["hello", "you"]
    assert front.embed(["you", "there", "hello"]) == [first[1], [1.0, 0.5, 5.0], first[0]]
    assert inner.asked == ["hello", "you", "there"]


def test_it_is_remembered_in_other_processes() -> None:
    inner = Counting()
    RememberingEmbedder(inner).embed(["hello"])
    cache.levels.near.clear()  # type: ignore[attr-defined]
    RememberingEmbedder(inner).embed(["hello"])
    assert inner.asked == ["hello"]


def test_long_texts_are_passed_on_and_mixed_ones_keep_their_order() -> None:
    inner = Counting()
    front = RememberingEmbedder(inner)
    long = "x" * (LONGEST_CHARACTERS + 1)
    for _time in range(2):
        assert [vector[2] for vector in front.embed([long, "a", long, "bc"])] == [len(long), 1, len(long), 2]
    assert inner.asked == [long, "a", "bc", long]


def test_models_and_servers_are_apart() -> None:
    inner, other = Counting(), Counting()
    other.name = "other"
    RememberingEmbedder(inner, source="http://one").embed(["hello"])
    RememberingEmbedder(inner, source="http://two").embed(["hello"])
    RememberingEmbedder(other, source="http://one").embed(["hello"])
    assert (inner.asked, other.asked) == (["hello", "hello"], ["hello"])


def test_nobody_reads_the_text_from_its_key(settings: Any) -> None:
    front = RememberingEmbedder(Counting())
    key = front._key("hello")
    settings.SECRET_KEY = "another"
    assert front._key("hello") != key
    assert "hello" not in key
    front.embed(["lone \ud800"])


def test_what_is_no_vector_is_made_anew() -> None:
    inner = Counting()
    front = RememberingEmbedder(inner)
    for value in (b"", b"123", "text", [1.0, 2.0, 3.0], None):
        cache.set(front._key("hello"), value)
        assert front.embed(["hello"]) == [[1.0, 0.5, 5.0]]
    assert len(inner.asked) == 5


def test_without_a_cache_everything_is_embedded(settings: Any) -> None:
    inner = Counting()
    front = RememberingEmbedder(inner)
    cache_circuit().fail()
    assert front.embed(["hello"]) == [[1.0, 0.5, 5.0]]
    inner.is_away = True
    with pytest.raises(EmbeddingError):
        front.embed(["something else"])


def test_a_remembered_vector_is_the_model_s_own_to_the_last_bit() -> None:
    local = LocalEmbedder()
    front = RememberingEmbedder(local)
    made = front.embed(["hello there"])
    cache.levels.near.clear()  # type: ignore[attr-defined]
    assert front.embed(["hello there"]) == made == local.embed(["hello there"])
