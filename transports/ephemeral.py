"""A character for the length of one process: database, cache and workers are in it, and nothing is kept.

`talk --ephemeral` calls it, with the settings that `eliza_site.ephemeral` prepared.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from django.conf import settings
from django.core.management import call_command

from agents import dispatcher, followups
from agents.characters import CharacterFiles, keep_knowledge, read_character_files, remarks, save_characters
from agents.llm.local_server import LocalModelError, start_server
from agents.models import Agent


class NotEphemeral(Exception):
    """The process can't talk with itself; the text says why, and what to do."""


@contextmanager
def working_alone(character: str, tell: Callable[[str], object]) -> Iterator[Agent]:
    """Make everything that a character needs in this process, and put it to work while the block runs.

    `character` is a file, or the name of a sample; `tell` is given what of the file has no effect.
    Raises: NotEphemeral.
    """
    path = find_character(character)
    read = read_character_files([str(path)])
    if read.faults:
        raise NotEphemeral("; ".join(f"{file}: {fault}" for file, fault in read.faults))
    for document in read.documents:
        for remark in remarks(document):
            tell(f"{document.source}: {remark}")
    # The tables take seconds: what can't be read is told before them.
    call_command("migrate", verbosity=0, interactive=False)
    agent = _load(path, read)
    with ExitStack() as stack:
        if not (settings.OPENAI_BASE_URL or settings.OPENAI_API_KEY or settings.LOCAL_MODEL_BASE_URL):
            stack.callback(_forget, [_serve_model()])
        followups.start_all()
        stack.callback(followups.stop)
        stop = threading.Event()
        threading.Thread(target=dispatcher.run, args=(stop,), name="dispatcher", daemon=True).start()
        stack.callback(stop.set)
        yield agent


def find_character(named: str) -> Path:
    """Return the file of this name, or the sample character's of this name.

    Raises: NotEphemeral, naming the samples.
    """
    # Unlike a Path's own question, this one bears any name.
    if os.path.isfile(named):
        return Path(named)
    samples = {sample.stem: sample for sample in sorted((settings.BASE_DIR / "characters").glob("*.json"))}
    for stem, sample in samples.items():
        if named.lower() in (stem, json.loads(sample.read_text(encoding="utf-8")).get("name", "").lower()):
            return sample
    raise NotEphemeral(
        f"{named!r} is neither a file nor a sample character: {', '.join(samples)} are. Of an agent that was loaded,"
        " export_character writes the file."
    )


def _load(path: Path, read: CharacterFiles) -> Agent:
    (saved,) = save_characters(read.documents)
    refused = [piece for piece in keep_knowledge(saved.character, read.knowledge[0]) if piece.refusal]
    if refused:
        raise NotEphemeral("; ".join(f"{path}: {piece.name}: {piece.refusal}" for piece in refused))
    return saved.agent


def _serve_model() -> object:
    try:
        return start_server(
            port=settings.MODEL_PORT,
            prompt_tokens=settings.PROMPT_MAX_TOKENS,
            answer_tokens=settings.MODEL_MAX_TOKENS,
        )
    except LocalModelError as error:
        raise NotEphemeral(str(error)) from error


def _forget(held: list[object]) -> None:
    """Drop the model's server, which ends it."""
    held.clear()
