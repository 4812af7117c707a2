"""The doctor's looks at what answers and what makes vectors."""

from __future__ import annotations

import openai
from django.conf import settings

from agents.llm.router import ModelsDescription, describe_models
from agents.llm.servers import get_server
from eliza_site.doctor.findings import Finding, note, ok, wrong
from memory.embeddings import get_embedder
from memory.embeddings.base import EmbeddingError
from memory.embeddings.choice import embedding_choice

ANSWER_SECONDS = 5.0
SCRIPT_PREFIX = "scripted:"


def look_at_models() -> list[Finding]:
    """Say which models answer, and ask their server whether it has them."""
    described = describe_models()
    names = {described.small, described.large}
    if all(name.startswith(SCRIPT_PREFIX) for name in names):
        return [note("Answers come from a script, not from a model.", "Set MODEL_LARGE and MODEL_SMALL.")]
    said = note(described.sentence) if described.is_demonstration else ok(described.sentence)
    return [said, *_ask(described)]


def _ask(described: ModelsDescription) -> list[Finding]:
    client = get_server(described.base_url, settings.OPENAI_API_KEY).client
    try:
        listed = client.models.list(timeout=ANSWER_SECONDS).data or []
    except (openai.AuthenticationError, openai.PermissionDeniedError) as error:
        return [wrong(f"The server refuses the key: {error}", "Set OPENAI_API_KEY to a key of that server.")]
    except openai.APIStatusError:
        return _ask_for_an_answer(described)
    except openai.OpenAIError as error:
        cure = "Start that server, or set OPENAI_BASE_URL to the one that answers."
        if described.is_demonstration:
            cure = "Start it: `make run`, or `python manage.py serve_local_model`."
        return [wrong(f"{described.base_url} does not answer: {error}", cure)]
    known = {model.id for model in listed}
    missing = sorted({described.small, described.large} - known)
    if missing and known and not described.is_demonstration:
        some = ", ".join(sorted(known)[:8])
        cure = f"Set MODEL_LARGE and MODEL_SMALL to models that it has, such as: {some}."
        return [wrong(f"The server does not list {' and '.join(missing)}.", cure)]
    return []


def _ask_for_an_answer(described: ModelsDescription) -> list[Finding]:
    """Ask a server that lists nothing for one word."""
    client = get_server(described.base_url, settings.OPENAI_API_KEY).client
    try:
        client.chat.completions.create(
            model=described.large,
            messages=[{"role": "user", "content": "Say yes."}],
            max_tokens=1,
            timeout=ANSWER_SECONDS,
        )
    except openai.APITimeoutError:
        return [
            note(f"{described.large} did not answer within {ANSWER_SECONDS:g} seconds.", "It may be busy.")
        ]
    except openai.OpenAIError as error:
        cure = "Set OPENAI_BASE_URL, OPENAI_API_KEY and MODEL_LARGE to what belongs together."
        return [wrong(f"{described.large} does not answer: {error}", cure)]
    return []


def look_at_embeddings() -> list[Finding]:
    """Embed a word, and see whether its vector is of the size that the settings promise."""
    try:
        choice = embedding_choice()
        vector = get_embedder().embed(["hello"])[0]
    except (EmbeddingError, ImportError) as error:
        cure = "Set EMBEDDING_BASE_URL and EMBEDDING_MODEL to a server that answers, or leave both unset."
        return [wrong(f"No vector could be made: {error}", cure)]
    if len(vector) != choice.dimensions:
        cure = f"Set EMBEDDING_DIMENSIONS to {len(vector)}."
        return [wrong(f"{choice.model} makes {len(vector)} numbers, not {choice.dimensions}.", cure)]
    return [ok(choice.sentence)]
