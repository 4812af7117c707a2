"""Decides which server and which model answer, from the settings and an agent's own choice.

The pipeline asks `choose_model`; the page and `doctor` ask `describe_models`; the registry's service
`embedder` is made by `make_embedder`, those of other vector spaces by `make_space_embedder`. The client's package is
imported where it is first needed: it takes 0.7 s of CPU, and few commands ask a model.
"""

from __future__ import annotations

import contextlib
import functools
import logging
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from django.conf import settings
from django.db import DatabaseError

from agents.fields import unseal
from agents.llm.base import ModelClass, TextModel
from agents.llm.limits import Gate, GatedModel
from agents.llm.local_server import DEMONSTRATION_MODEL
from agents.llm.scripted import find_script, is_script
from memory.embeddings.base import PROBE, Embedder, EmbeddingError
from memory.embeddings.batching import BatchingEmbedder
from memory.embeddings.choice import OPENAI_BASE_URL, EmbeddingChoice, embedding_choice
from memory.embeddings.choice import make_embedder as local_embedder
from memory.embeddings.spaces import choice_of, used_space

logger = logging.getLogger(__name__)

# Quick models that answer without thinking aloud first; MODEL_SMALL and MODEL_LARGE name others.
DEFAULT_SMALL = "gpt-4.1-mini"
DEFAULT_LARGE = "gpt-4.1"
LISTING_SECONDS = 5.0
LISTING_KEPT_SECONDS = 60.0


@dataclass(frozen=True, kw_only=True)
class ChosenModel:
    """A model to call, and the name to call it by."""

    model: TextModel
    name: str
    is_demonstration: bool = False


@dataclass(frozen=True, kw_only=True)
class ModelsDescription:
    """Which models are used, for people; `sentence` and `embedding_sentence` say it in words."""

    base_url: str
    small: str
    large: str
    is_demonstration: bool
    sentence: str
    embedding_sentence: str
    embedding_error: str = ""


@dataclass(frozen=True, kw_only=True)
class _Place:
    """The server of text models that the settings name."""

    base_url: str
    api_key: str = field(repr=False)
    provider: str


def choose_model(model_class: ModelClass, *, small: str = "", large: str = "") -> ChosenModel:
    """Choose the server and the model of this class; `small` and `large` are an agent's own names.

    A name such as `scripted:Hello` is answered by the script, here. The demonstration server has one model,
    whatever name is asked for.
    """
    place = _place()
    is_demonstration = place.provider == "demonstration"
    own_name = large if model_class is ModelClass.LARGE else small
    if is_demonstration and not is_script(own_name):
        own_name = ""
    name = own_name or _name_of(place, model_class)
    if _override is not None:
        return ChosenModel(model=_override, name=name)
    if (script := find_script(name)) is not None:
        return ChosenModel(model=script, name="scripted")
    return ChosenModel(model=_model_at(place), name=name, is_demonstration=is_demonstration)


def describe_models() -> ModelsDescription:
    """Describe which server and models answer, and what makes the vectors."""
    place = _place()
    small, large = _name_of(place, ModelClass.SMALL), _name_of(place, ModelClass.LARGE)
    names = small if small == large else f"{large} and, for small tasks, {small}"
    is_demonstration = place.provider == "demonstration"
    sentence = f"Answers come from {names} at {place.base_url}."
    if is_demonstration:
        sentence = (
            f"Answers come from {names}, a small demonstration model on this machine ({place.base_url}): it "
            "shows that all works, and often talks nonsense. Set OPENAI_API_KEY or OPENAI_BASE_URL for a "
            "model that answers well."
        )
    embedding_sentence = embedding_error = ""
    try:
        embedding_sentence = _choice_in_use().sentence
    except EmbeddingError as error:
        embedding_error = str(error)
    return ModelsDescription(
        base_url=place.base_url,
        small=small,
        large=large,
        is_demonstration=is_demonstration,
        sentence=sentence,
        embedding_sentence=embedding_sentence or f"No embeddings: {embedding_error}",
        embedding_error=embedding_error,
    )


def _choice_in_use() -> EmbeddingChoice:
    try:
        return choice_of(used_space())
    except DatabaseError:
        # Who asks while the database is away is told what the settings say.
        return embedding_choice()


def make_embedder() -> Embedder:
    """Make the remote embedder that the settings name; the registry's service `embedder`.

    Raises: EmbeddingError where they name none.
    """
    choice = embedding_choice()
    if choice.kind != "remote":
        raise EmbeddingError(f"{choice.sentence} There is no server of embeddings to ask.")
    return _remote_embedder(choice, settings.EMBEDDING_API_KEY or settings.OPENAI_API_KEY)


def make_space_embedder(choice: EmbeddingChoice, sealed_key: str) -> Embedder:
    """Make the remote embedder of a vector space, with its own encrypted key; the service `remote_embedders`."""
    return _remote_embedder(choice, unseal(sealed_key, what=f"The key of the vector space of {choice.model}"))


def ask_embedder(choice: EmbeddingChoice, api_key: str) -> tuple[str, int]:
    """Ask for one vector, and return the embedder's name and how many numbers the vector has.

    Where the choice has no size, any will do.
    Raises: EmbeddingError.
    """
    embedder = _embedder_of(choice, api_key) if choice.kind == "remote" else local_embedder(choice)
    (vector,) = embedder.embed([PROBE])
    return embedder.name, len(vector)


def _remote_embedder(choice: EmbeddingChoice, api_key: str) -> Embedder:
    return BatchingEmbedder(_embedder_of(choice, api_key), max_batch=128, concurrency=2)


def _embedder_of(choice: EmbeddingChoice, api_key: str) -> Embedder:
    from agents.llm.openai_embeddings import OpenAIEmbedder

    return OpenAIEmbedder(
        base_url=choice.base_url,
        api_key=api_key,
        model=choice.model,
        dimensions=choice.dimensions,
        timeout_seconds=settings.EMBEDDING_TIMEOUT_SECONDS,
        connect_timeout_seconds=settings.MODEL_CONNECT_TIMEOUT_SECONDS,
    )


_override: TextModel | None = None


@contextlib.contextmanager
def answering_with(model: TextModel) -> Iterator[TextModel]:
    """Let this model answer everything in this process while the block runs; for tests."""
    global _override
    before, _override = _override, model
    try:
        yield model
    finally:
        _override = before


def _place() -> _Place:
    if settings.OPENAI_BASE_URL or settings.OPENAI_API_KEY:
        base_url = (settings.OPENAI_BASE_URL or OPENAI_BASE_URL).rstrip("/")
        provider = "openai" if base_url == OPENAI_BASE_URL else "openai-compatible"
        return _Place(base_url=base_url, api_key=settings.OPENAI_API_KEY, provider=provider)
    base_url = settings.LOCAL_MODEL_BASE_URL or f"http://127.0.0.1:{settings.MODEL_PORT}/v1"
    return _Place(base_url=base_url.rstrip("/"), api_key="", provider="demonstration")


def _name_of(place: _Place, model_class: ModelClass) -> str:
    """Return the model's name by the settings, else by what the server has.

    With OpenAI each class has a default. At
    another server one named class serves both; where none is named, the server is asked for its list.
    """
    if place.provider == "demonstration":
        return DEMONSTRATION_MODEL
    is_large = model_class is ModelClass.LARGE
    set_names = settings.MODEL_SMALL, settings.MODEL_LARGE
    named = set_names[is_large]
    if named:
        return str(named)
    default = DEFAULT_LARGE if is_large else DEFAULT_SMALL
    if place.provider == "openai":
        return default
    if any(set_names):
        return str(set_names[not is_large])
    listed = _listings.names_at(place)
    return default if default in listed or not listed else listed[0]


@functools.lru_cache(maxsize=16)
def _model_at(place: _Place) -> TextModel:
    from agents.llm.openai import OpenAICompatibleModel

    model = OpenAICompatibleModel(
        base_url=place.base_url,
        api_key=place.api_key,
        provider=place.provider,
        connect_timeout_seconds=settings.MODEL_CONNECT_TIMEOUT_SECONDS,
    )
    return GatedModel(model, Gate(concurrency=max(1, settings.MODEL_CONCURRENCY)))


class _Listings:
    """What each server says that it has, asked for once a minute at most; nothing where it does not say."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[_Place, tuple[float, tuple[str, ...]]] = {}

    def names_at(self, place: _Place) -> tuple[str, ...]:
        with self._lock:
            until, names = self._known.get(place, (0.0, ()))
            if time.monotonic() >= until and not names:
                names = _list_names(place)
                self._known[place] = (time.monotonic() + LISTING_KEPT_SECONDS, names)
            return names


def _list_names(place: _Place) -> tuple[str, ...]:
    import openai

    from agents.llm.servers import get_server

    client = get_server(place.base_url, place.api_key).client
    try:
        listed = client.models.list(timeout=LISTING_SECONDS).data or []
        return tuple(model.id for model in listed if isinstance(model.id, str))
    except (openai.OpenAIError, AttributeError, TypeError, ValueError) as error:
        logger.warning(
            "%s does not list its models (%s); set MODEL_SMALL and MODEL_LARGE", place.base_url, error
        )
        return ()


_listings = _Listings()
