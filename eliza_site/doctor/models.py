"""The doctor's looks at what answers and what makes vectors."""

from __future__ import annotations

from agents.llm.probing import ProbeResult, probe_server
from agents.llm.router import ModelsDescription, describe_models
from agents.llm.scripted import is_script
from eliza_site.doctor.findings import Finding, note, ok, wrong
from memory.embeddings import get_embedder
from memory.embeddings.base import PROBE, EmbeddingError
from memory.embeddings.spaces import choice_of, used_space

MAX_NAMED = 8


def look_at_models() -> list[Finding]:
    """Say which models answer, and ask their server whether it has them."""
    described = describe_models()
    if is_script(described.small) and is_script(described.large):
        return [note("Answers come from a script, not from a model.", "Set MODEL_LARGE and MODEL_SMALL.")]
    said = note(described.sentence) if described.is_demonstration else ok(described.sentence)
    return [said, *_ask(described)]


def _ask(described: ModelsDescription) -> list[Finding]:
    probe = probe_server(described)
    match probe.result:
        case ProbeResult.AWAY:
            cure = "Start that server, or set OPENAI_BASE_URL to the one that answers."
            if described.is_demonstration:
                cure = "Start it: `make run`, or `python manage.py serve_local_model`."
            return [wrong(f"{described.base_url} does not answer: {probe.detail}", cure)]
        case ProbeResult.REFUSES_KEY:
            cure = "Set OPENAI_API_KEY to a key of that server."
            return [wrong(f"The server refuses the key: {probe.detail}", cure)]
        case ProbeResult.LACKS_MODEL:
            some = ", ".join(probe.listed[:MAX_NAMED])
            cure = f"Set MODEL_LARGE and MODEL_SMALL to models that it has, such as: {some}."
            return [wrong(f"The server does not list {probe.detail}.", cure)]
        case ProbeResult.REFUSES_MODEL:
            cure = "Set OPENAI_BASE_URL, OPENAI_API_KEY and MODEL_LARGE to what belongs together."
            return [wrong(f"{described.large} does not answer: {probe.detail}", cure)]
        case ProbeResult.SLOW:
            return [note(f"{described.large} takes long to answer.", "It may be busy, or still loading.")]
    return []


def look_at_embeddings() -> list[Finding]:
    """Embed a few words, and see whether the vector is of the size that the settings, or the space in use, promise."""
    try:
        choice = choice_of(used_space())
        vector = get_embedder().embed([PROBE])[0]
    except (EmbeddingError, ImportError) as error:
        cure = "Set EMBEDDING_BASE_URL and EMBEDDING_MODEL to a server that answers, or leave both unset."
        return [wrong(f"No vector could be made: {error}", cure)]
    if len(vector) != choice.dimensions:
        cure = f"Set EMBEDDING_DIMENSIONS to {len(vector)}."
        return [wrong(f"{choice.model} makes {len(vector)} numbers, not {choice.dimensions}.", cure)]
    return [ok(choice.sentence)]
