"""Which embedder the settings choose, and what a model's name means: the one place that states the rules.

`memory.embeddings.spaces` says which one is in use; `agents.llm.router` makes the remote one by `embedding_choice`.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Literal

from django.conf import settings

from memory.embeddings import local
from memory.embeddings.base import Embedder, EmbeddingError
from memory.embeddings.batching import BatchingEmbedder
from memory.embeddings.hashed import HashedEmbedder
from memory.embeddings.local import LocalEmbedder
from memory.embeddings.remembering import RememberingEmbedder
from plugins.registry import get_service

OPENAI_BASE_URL = "https://api.openai.com/v1"
OPENAI_MODEL = "text-embedding-3-small"
LOCAL_MODEL = "all-MiniLM-L6-v2"
LOCAL_DIMENSIONS = 384
HASHED_MODEL = "hashed"
KNOWN_DIMENSIONS = {
    "text-embedding-3-small": 1536,
    "text-embedding-3-large": 3072,
    "text-embedding-ada-002": 1536,
    "nomic-embed-text": 768,
    "mxbai-embed-large": 1024,
    "all-minilm": 384,
    LOCAL_MODEL: LOCAL_DIMENSIONS,
}


@dataclass(frozen=True, kw_only=True)
class EmbeddingChoice:
    """What makes the vectors; `sentence` says it to a person."""

    kind: Literal["remote", "local", "hashed"]
    model: str
    dimensions: int
    base_url: str = ""

    @property
    def settings(self) -> str:
        """Return the settings that choose it, as a `.env` file has them."""
        parts = [f"EMBEDDING_MODEL={self.model}", f"EMBEDDING_DIMENSIONS={self.dimensions}"]
        return " ".join([*parts, f"EMBEDDING_BASE_URL={self.base_url}"] if self.base_url else parts)

    @property
    def sentence(self) -> str:
        """Say in one sentence what makes the vectors."""
        where = f" at {self.base_url}" if self.base_url else " on this machine"
        return f"Embeddings come from {self.model}{where}, {self.dimensions} numbers each."


def embedding_choice() -> EmbeddingChoice:
    """Decide what makes the vectors, by the first of these that holds.

    1. `EMBEDDING_MODEL` is `hashed` or `all-MiniLM-L6-v2` and no `EMBEDDING_BASE_URL` is set: that one, here.
    2. `EMBEDDING_BASE_URL` is set: that server.
    3. `OPENAI_BASE_URL` and `EMBEDDING_MODEL` are set: that server.
    4. `OPENAI_API_KEY` is set alone: OpenAI.
    5. Otherwise all-MiniLM-L6-v2, here. So a chat server given by `OPENAI_BASE_URL` alone is not asked for
       embeddings, which many chat servers have none of.

    Raises: EmbeddingError where the settings contradict each other.
    """
    base_url, model = settings.EMBEDDING_BASE_URL, settings.EMBEDDING_MODEL
    if not base_url and model == HASHED_MODEL:
        dimensions = settings.EMBEDDING_DIMENSIONS or LOCAL_DIMENSIONS
        return EmbeddingChoice(kind="hashed", model=HASHED_MODEL, dimensions=dimensions)
    if not base_url and settings.OPENAI_BASE_URL and model not in ("", LOCAL_MODEL):
        base_url = settings.OPENAI_BASE_URL
    if not base_url and not settings.OPENAI_BASE_URL and settings.OPENAI_API_KEY and model != LOCAL_MODEL:
        base_url = OPENAI_BASE_URL
    return _remote_choice(base_url, model or OPENAI_MODEL) if base_url else _local_choice(model)


def _remote_choice(base_url: str, model: str) -> EmbeddingChoice:
    dimensions = settings.EMBEDDING_DIMENSIONS or KNOWN_DIMENSIONS.get(model, 0)
    if not dimensions:
        raise EmbeddingError(
            f"How many numbers a vector of {model} has is not known: set EMBEDDING_DIMENSIONS to it."
        )
    return EmbeddingChoice(kind="remote", model=model, dimensions=dimensions, base_url=base_url)


def _local_choice(model: str) -> EmbeddingChoice:
    if model not in ("", LOCAL_MODEL):
        raise EmbeddingError(
            f"EMBEDDING_MODEL names {model}, but no server that could have it: set EMBEDDING_BASE_URL, or "
            f"set EMBEDDING_MODEL to {LOCAL_MODEL} or {HASHED_MODEL}, which run here."
        )
    if settings.EMBEDDING_DIMENSIONS not in (0, LOCAL_DIMENSIONS):
        raise EmbeddingError(
            f"EMBEDDING_DIMENSIONS is {settings.EMBEDDING_DIMENSIONS}, but {LOCAL_MODEL} makes "
            f"{LOCAL_DIMENSIONS}: leave it unset, or set EMBEDDING_MODEL and EMBEDDING_BASE_URL to another."
        )
    return EmbeddingChoice(kind="local", model=LOCAL_MODEL, dimensions=LOCAL_DIMENSIONS)


def choice_named(model: str, *, dimensions: int = 0, base_url: str = "") -> EmbeddingChoice:
    """Decide what a model's name means, beside the settings: without an address it is one that runs here, or is looked
    for where the settings have a server. `dimensions` is 0 in the choice too where nobody knows them.

    Raises: EmbeddingError where no server could have the model, or it makes another size.
    """
    if not base_url and model == HASHED_MODEL:
        return EmbeddingChoice(kind="hashed", model=model, dimensions=dimensions or LOCAL_DIMENSIONS)
    if not base_url and model == LOCAL_MODEL:
        if dimensions not in (0, LOCAL_DIMENSIONS):
            raise EmbeddingError(f"{LOCAL_MODEL} makes {LOCAL_DIMENSIONS} numbers, not {dimensions}.")
        return EmbeddingChoice(kind="local", model=model, dimensions=LOCAL_DIMENSIONS)
    base_url = base_url or settings.EMBEDDING_BASE_URL or settings.OPENAI_BASE_URL
    if not base_url and settings.OPENAI_API_KEY:
        base_url = OPENAI_BASE_URL
    if not base_url:
        raise EmbeddingError(
            f"No server is set that could have {model}: name it with --base-url, or choose {LOCAL_MODEL} or "
            f"{HASHED_MODEL}, which run here."
        )
    size = dimensions or KNOWN_DIMENSIONS.get(model, 0)
    return EmbeddingChoice(kind="remote", model=model, dimensions=size, base_url=base_url)


def key_in_settings(base_url: str) -> str:
    """Return the settings' key for this server; "" where they know none for it: no other server is to see it."""
    place = base_url.rstrip("/")
    if settings.EMBEDDING_BASE_URL and place == settings.EMBEDDING_BASE_URL.rstrip("/"):
        return str(settings.EMBEDDING_API_KEY or settings.OPENAI_API_KEY)
    if place == (settings.OPENAI_BASE_URL or OPENAI_BASE_URL).rstrip("/"):
        own = "" if settings.EMBEDDING_BASE_URL else settings.EMBEDDING_API_KEY
        return str(own or settings.OPENAI_API_KEY)
    return ""


def import_packages() -> None:
    """Import the packages that the embedder needs on its first use, where the settings choose the local one."""
    try:
        is_local = embedding_choice().kind == "local"
    except EmbeddingError:
        return
    if is_local:
        local.import_packages()


@functools.lru_cache(maxsize=4)
def make_embedder(choice: EmbeddingChoice) -> Embedder:
    """Make the embedder of a choice once a process; the remote one is that of the settings, the service `embedder`."""
    if choice.kind == "remote":
        return RememberingEmbedder(get_service("embedder"), source=choice.base_url)
    if choice.kind == "hashed":
        return HashedEmbedder(dimensions=choice.dimensions)
    return RememberingEmbedder(BatchingEmbedder(LocalEmbedder(), max_batch=32))
