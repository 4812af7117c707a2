"""The embedding client against a real server on loopback."""

import math
from typing import Any

import pytest

from agents.llm.openai_embeddings import OpenAIEmbedder
from memory.embeddings.base import EmbeddingError
from tests.doubles.openai_server import DIMENSIONS, OpenAIServer


def make(server: OpenAIServer, model: str = "stub", **changes: Any) -> OpenAIEmbedder:
    values = {"dimensions": DIMENSIONS, "api_key": "", **changes}
    return OpenAIEmbedder(base_url=server.base_url, model=model, **values)


def test_vectors_are_of_unit_length_and_in_order(server: OpenAIServer) -> None:
    first, second, again = make(server).embed(["a cat sat", "the market fell", "a cat sat"])
    assert math.hypot(*first) == pytest.approx(1.0, abs=1e-5)
    assert first == again != second
    assert len(first) == DIMENSIONS
    assert all(type(number) is float for number in first)


def test_long_lists_go_in_batches_of_128(server: OpenAIServer) -> None:
    assert len(make(server).embed([f"text {number}" for number in range(300)])) == 300
    assert [len(entry["request"]["input"]) for entry in server.ledger] == [128, 128, 44]


def test_nothing_asks_nothing(server: OpenAIServer) -> None:
    assert make(server).embed([]) == []
    assert server.request_count == 0


def test_empty_and_broken_text_is_embedded_too(server: OpenAIServer) -> None:
    assert len(make(server).embed(["", "lone \ud800 surrogate", "nul \x00"])) == 3


def test_a_server_without_base64_is_read_as_numbers(server: OpenAIServer) -> None:
    packed, plain = make(server).embed(["a cat"]), make(server, "fail:no-base64").embed(["a cat"])
    assert plain[0] == pytest.approx(packed[0], abs=1e-6)


def test_a_server_that_refuses_base64_is_asked_for_numbers(server: OpenAIServer) -> None:
    embedder = make(server, "fail:refuses-base64")
    for count in (2, 3):
        assert len(embedder.embed(["a cat"])[0]) == DIMENSIONS
        assert server.request_count == count


def test_fewer_numbers_are_asked_for_where_the_model_can(server: OpenAIServer) -> None:
    embedder = make(server, "text-embedding-3-small")
    embedder.embed(["a cat"])
    assert server.ledger[-1]["request"]["dimensions"] == DIMENSIONS
    assert embedder.name == "text-embedding-3-small-384"
    assert make(server, "text-embedding-3-small", dimensions=1536).name == "text-embedding-3-small"


def test_a_change_of_dimensions_is_an_error_with_its_cure(server: OpenAIServer) -> None:
    with pytest.raises(EmbeddingError, match=r"100 numbers.*reembed_memories.*EMBEDDING_DIMENSIONS=100"):
        make(server, "fail:dimensions").embed(["a cat"])


@pytest.mark.parametrize(
    ("fault", "words"),
    [
        ("401", "OPENAI_API_KEY"),
        ("404", "EMBEDDING_MODEL"),
        ("500", "500"),
        ("garbage", "something else"),
        ("types", "something else"),
        ("not-finite", "not finite"),
        ("hang", "within its time"),
    ],
)
def test_each_fault_is_an_embedding_error(server: OpenAIServer, fault: str, words: str) -> None:
    with pytest.raises(EmbeddingError, match=words):
        make(server, f"fail:{fault}", timeout_seconds=0.4).embed(["a cat"])
