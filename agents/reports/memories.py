"""All that is known of one memory, as plain JSON: what it says, where it came from, what took its place.

The command `show_memory` and the API call it; the admin's page of a memory has the same.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from agents.memories.recollections import report_citation
from agents.reports.turns import report_source, time_text
from memory.documents.citations import citations_of
from memory.provenance import (
    Version,
    chain_of,
    known_ids,
    looked_through,
    maker_of,
    prompted_by,
    sources_of,
)

if TYPE_CHECKING:
    from memory.models import Fact, Memory


def report_memory(memory: Memory) -> dict[str, Any]:
    """Return all that is known of the memory; four statements, and one for each private room of a person."""
    fact: Fact | None = getattr(memory, "fact", None)
    keys = known_ids(memory.source_messages)
    sources = sources_of(keys)
    turn_id = maker_of(memory, sources.values())
    is_document = memory.kind == "document"
    citation = citations_of([memory.pk]).get(memory.pk) if is_document else None
    return {
        "memory": str(memory.pk),
        "agent": memory.agent.slug,
        "kind": memory.kind,
        "scope": memory.scope,
        "person": memory.person.name if memory.person else None,
        "room": str(memory.room) if memory.room else None,
        "speaker": memory.speaker,
        "said_at": time_text(memory.said_at),
        "created_at": time_text(memory.created_at),
        "importance": memory.importance,
        "embedding_model": memory.embedding_model,
        "source_key": memory.source_key,
        "text": memory.text,
        "fact": _fact(fact) if fact else None,
        "citation": report_citation(citation),
        "source_messages": [report_source(key, sources.get(key)) for key in keys],
        "turn": str(turn_id) if turn_id else None,
        "history": [_version(version) for version in chain_of(memory.pk)],
        "prompted": [
            {"turn": str(one.turn_id), "at": time_text(one.at), "score": one.score}
            for one in prompted_by(memory)
        ],
        "looked_through": looked_through(memory),
    }


def _fact(fact: Fact) -> dict[str, Any]:
    return {
        "type": fact.type,
        "subject": fact.subject.name if fact.subject else None,
        "attribute": fact.attribute,
        "value": fact.value,
        "confidence": fact.confidence,
        "seen_count": fact.seen_count,
        "last_seen_at": time_text(fact.last_seen_at),
    }


def _version(version: Version) -> dict[str, Any]:
    """Return a link of the chain of replacements; the memory itself has the place 0."""
    return {
        "id": str(version.id),
        "place": version.place,
        "text": version.text,
        "said_at": time_text(version.said_at),
        "replaced_by": str(version.replaced_by) if version.replaced_by else None,
        "held_until": time_text(version.held_until),
        "ended_by_message": str(version.ended_by) if version.ended_by else None,
    }
