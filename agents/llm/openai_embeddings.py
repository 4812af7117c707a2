"""Vectors from any OpenAI-compatible server; `agents.llm.router` makes this embedder where one is set."""

from __future__ import annotations

import base64
import binascii
import json
import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import openai

from agents.llm.deadlines import watch
from agents.llm.failures import CLIENT_ERRORS, OF_VECTORS, translate, words_of
from agents.llm.servers import Server, connection_of, get_server
from memory.embeddings.base import EmbeddingError

BATCH_SIZE = 128
MAX_BODY_BYTES = 64_000_000
NATIVE_DIMENSIONS = {"text-embedding-3-small": 1536, "text-embedding-3-large": 3072}


class OpenAIEmbedder:
    """The embeddings of one model of one server. Threads may share it.

    With `dimensions` 0, vectors of any size are taken: so a model is asked which it makes.
    """

    def __init__(
        self,
        *,
        base_url: str,
        api_key: str,
        model: str,
        dimensions: int,
        timeout_seconds: float = 30.0,
        connect_timeout_seconds: float = 5.0,
    ) -> None:
        # Only these models can be asked for fewer numbers; the name says so, as such vectors don't mix.
        self._is_shortened = dimensions > 0 and NATIVE_DIMENSIONS.get(model, dimensions) != dimensions
        self.name = f"{model}-{dimensions}" if self._is_shortened else model
        self.dimensions = dimensions
        self.base_url = base_url
        self._model = model
        self._api_key = api_key
        self._timeout_seconds = timeout_seconds
        self._connect_timeout_seconds = connect_timeout_seconds

    def embed(self, texts: Sequence[str]) -> list[list[float]]:
        """Embed the texts, in order, at most 128 a request.

        Shape: len(texts) lists of `dimensions` floats, of unit length.
        Raises: EmbeddingError.
        """
        vectors: list[list[float]] = []
        for start in range(0, len(texts), BATCH_SIZE):
            vectors += self._embed_batch(texts[start : start + BATCH_SIZE])
        return vectors

    def _embed_batch(self, texts: Sequence[str]) -> list[list[float]]:
        deadline = time.monotonic() + self._timeout_seconds
        server = get_server(self.base_url, self._api_key)
        try:
            body = self._ask(server, texts, deadline)
        except CLIENT_ERRORS as error:
            reason = translate(error, base_url=self.base_url, model=self._model, set_by=OF_VECTORS)
            raise EmbeddingError(str(reason), quotes_others=reason.quotes_others) from error
        rows = self._rows_of(body, len(texts))
        if self.dimensions and rows.shape[1] != self.dimensions:
            raise EmbeddingError(
                f"{self._model} makes vectors of {rows.shape[1]} numbers, not {self.dimensions} as expected: set "
                "EMBEDDING_MODEL back to the model that made the vectors which are kept, and begin another with "
                "`manage.py reembed_memories`; where nothing is kept yet, set "
                f"EMBEDDING_DIMENSIONS={rows.shape[1]}."
            )
        lengths = np.linalg.norm(rows, axis=1, keepdims=True)
        if not np.isfinite(rows).all() or not (lengths > 0).all():
            raise self._no_vectors("numbers that are not finite, or all zero")
        result: list[list[float]] = (rows / lengths).tolist()
        return result

    def _ask(self, server: Server, texts: Sequence[str], deadline: float) -> bytes:
        body: dict[str, Any] = {
            "model": self._model,
            # Servers refuse an empty text, where nothing stands for nothing just as well.
            "input": [text.encode("utf-8", "replace").decode() or " " for text in texts],
        }
        if not server.refuses(self._model, "encoding_format"):
            # A third of the bytes of a list of numbers, and no parsing of each.
            body["encoding_format"] = "base64"
        if self._is_shortened:
            body["dimensions"] = self.dimensions
        try:
            return self._post(server, body, deadline)
        except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
            if "encoding_format" not in body or "encoding_format" not in words_of(error):
                raise
            server.note_refusal(self._model, "encoding_format")
        del body["encoding_format"]
        return self._post(server, body, deadline)

    def _post(self, server: Server, body: dict[str, Any], deadline: float) -> bytes:
        seconds = deadline - time.monotonic()
        response = server.post(
            "/embeddings", body, seconds=seconds, connect_seconds=self._connect_timeout_seconds
        )
        read = bytearray()
        try:
            with watch.over(connection_of(response), deadline=deadline):
                for data in response.iter_bytes():
                    read += data
                    if len(read) > MAX_BODY_BYTES:
                        raise self._no_vectors(f"an answer longer than {MAX_BODY_BYTES} bytes")
        finally:
            response.close()
        return bytes(read)

    def _rows_of(self, body: bytes, count: int) -> np.ndarray:
        """Read the vectors, put into the order of their texts.

        Shape: (count, numbers a vector).
        """
        try:
            entries = sorted(json.loads(body)["data"], key=lambda entry: entry["index"])
            rows = [_numbers_of(entry["embedding"]) for entry in entries]
            if len(rows) != count:
                raise self._no_vectors(f"{len(rows)} vectors for {count} texts")
            table = np.stack(rows)
        except (ValueError, TypeError, KeyError, RecursionError) as error:
            raise self._no_vectors(f"something else ({type(error).__name__}: {body[:80]!r})") from error
        return table

    def _no_vectors(self, what: str) -> EmbeddingError:
        return EmbeddingError(
            f"{self.base_url} was asked for vectors of {self._model} and sent {what}. Is EMBEDDING_MODEL a "
            "model for embeddings?",
            quotes_others=True,
        )


def _numbers_of(embedding: object) -> np.ndarray:
    if isinstance(embedding, str):
        try:
            return np.frombuffer(base64.b64decode(embedding, validate=True), dtype="<f4").astype(np.float32)
        except binascii.Error as error:
            raise ValueError("no base64") from error
    numbers = np.asarray(embedding, dtype=np.float32)
    if numbers.ndim != 1:
        raise ValueError("no list of numbers")
    return numbers
