"""Another embedder without downtime, as a person decides it: each step with its word in the audit.

The command `reembed_memories` calls these; `memory.vector_spaces.changes` keeps the rows.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from urllib.parse import urlsplit

from django.db import transaction

from agents import audit
from agents.fields import EncryptionKeyError, seal
from agents.llm.router import ask_embedder
from memory.embeddings.base import EmbeddingError
from memory.embeddings.choice import EmbeddingChoice, choice_named, embedding_choice, key_in_settings
from memory.stores.postgres import VectorTooLarge
from memory.vector_spaces import changes
from memory.vector_spaces.changes import CannotChange
from memory.writes import wake_embedding

OBJECT_KIND = "vector space"


class CannotReembed(Exception):
    """Nothing was changed; the text says why, and the cure."""


def start(
    model: str, *, dimensions: int = 0, base_url: str = "", api_key: str = "", by: str, why: str = ""
) -> str:
    """Ask the new embedder for one vector, and begin to make vectors of all memories with it; return its name.

    Without an `api_key` the settings' key goes along, where the settings have one for that server. To start what is
    under way changes nothing.
    Raises: CannotReembed.
    """
    if not model.strip():
        raise CannotReembed("Name the new model, as in --model text-embedding-3-small. Nothing was changed.")
    if "@" in urlsplit(base_url).netloc:
        raise CannotReembed(
            "The address has a user or a password in it: give it without, and a key by --key-file, which is kept "
            "encrypted. Nothing was changed."
        )
    try:
        choice = choice_named(model, dimensions=dimensions, base_url=base_url)
        key = api_key or (key_in_settings(choice.base_url) if choice.kind == "remote" else "")
        asked = choice if dimensions or _is_shortened(choice) else replace(choice, dimensions=0)
        name, size = ask_embedder(asked if choice.kind == "remote" else choice, key)
    except EmbeddingError as error:
        raise CannotReembed(f"No vector could be had of {model}: {error} Nothing was changed.") from None
    if dimensions and size != dimensions:
        raise CannotReembed(
            f"{model} makes vectors of {size} numbers, not {dimensions}: say --dimensions {size}, or choose another "
            "model. Nothing was changed."
        )
    choice = replace(choice, dimensions=size)
    try:
        with transaction.atomic():
            space, is_new = changes.begin(
                choice, name=name, sealed_key=seal(key), sealed_used_key=seal(_used_key())
            )
            if is_new:
                details = {"model": name, "dimensions": size, "at": choice.base_url or "this machine"}
                audit.record(by, "began to fill", OBJECT_KIND, {space.pk: details}, why=why)
            transaction.on_commit(wake_embedding)
    except (CannotChange, EmbeddingError, EncryptionKeyError, VectorTooLarge) as error:
        raise CannotReembed(str(error)) from None
    return name


def switch(
    *, back: bool = False, at_once: bool = False, patience_seconds: float = 10.0, by: str, why: str = ""
) -> str:
    """Let the fleet use the other space from now on (`back`: again), and return its name.

    It is refused while vectors are missing there, unless `at_once`.
    Raises: CannotReembed.
    """
    try:
        if not at_once:
            changes.await_vectors(back=back, patience_seconds=patience_seconds)
        with transaction.atomic():
            space = changes.switch(back=back)
            verb = "switched back" if back else "switched"
            details = {"model": space.name, "at once": at_once}
            audit.record(by, verb, OBJECT_KIND, {space.pk: details}, why=why)
            transaction.on_commit(wake_embedding)
    except CannotChange as error:
        raise CannotReembed(str(error)) from None
    return space.name


def finish(*, gives_up: bool = False, by: str, why: str = "") -> tuple[str, Iterator[int]]:
    """Take the other space out of everybody's reach; return its name, and what removes its vectors page by page.

    `gives_up` is for one that was never in use. What was cut off is gone on with by calling it again. It waits some
    seconds where a switch was a moment ago.
    Raises: CannotReembed.
    """
    changes.await_settled()
    try:
        with transaction.atomic():
            space = changes.begin_removal(gives_up=gives_up)
            verb = "gave up" if gives_up else "finished"
            audit.record(by, verb, OBJECT_KIND, {space.pk: {"model": space.name}}, why=why)
    except CannotChange as error:
        raise CannotReembed(str(error)) from None
    return space.name, changes.remove(space)


def _is_shortened(choice: EmbeddingChoice) -> bool:
    # OpenAI's own models make as many numbers as they are asked for.
    return choice.model.startswith("text-embedding-3")


def _used_key() -> str:
    """Return the key of the server in use before there were spaces: the settings may name another one later."""
    try:
        chosen = embedding_choice()
    except EmbeddingError:
        return ""
    return key_in_settings(chosen.base_url) if chosen.kind == "remote" else ""
