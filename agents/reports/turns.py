"""All that is known of one turn, as plain JSON: its message, steps, model calls, memories and deliveries.

The command `show_turn` calls it; the API has its part on memories, the admin that on where they came from.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from typing import Any
from uuid import UUID

from django.db.models import Q

from agents.memories.recollections import report_citation
from agents.models import Approval, Delivery, Message, ModelCall, Step, Turn
from memory.documents.citations import citations_of
from memory.ids import MOST_LISTED, id_range, say_no_id, say_several
from memory.provenance import Source, kept_of, sources_of


class TurnNotFound(LookupError):
    """No turn, or more than one, has that id; the text says so."""


def find_turn(name: str) -> Turn:
    """Return the turn of this id, of this message's id, or of this reply's; the beginning of an id will do.

    Raises: TurnNotFound.
    """
    ids = id_range(name)
    if ids is None:
        raise TurnNotFound(say_no_id(name, "a turn's, a message's or a reply's"))
    messages = Message.objects.filter(pk__range=ids)
    named = Q(pk__range=ids) | Q(message__in=messages) | Q(pk__in=messages.values("turn"))
    found = list(
        Turn.objects.filter(named)
        .select_related("agent", "room", "person", "message", "connection", "character_version")
        .order_by("pk")
        .distinct()[: MOST_LISTED + 1]
    )
    if len(found) == 1:
        return found[0]
    if not found:
        raise TurnNotFound(f"No turn, message or reply has the id {name}.")
    raise TurnNotFound(
        say_several(name, "turn", [(turn.pk, turn.received_at, _said(turn)) for turn in found])
    )


def _said(turn: Turn) -> str:
    return turn.message.text if turn.message else turn.cause_kind


def report_turn(turn: Turn) -> dict[str, Any]:
    """Return all that is known of the turn."""
    steps = list(turn.steps.order_by("position"))
    version = turn.character_version
    return {
        "turn": str(turn.pk),
        "agent": turn.agent.slug,
        "character_version": version.number if version else None,
        "person": turn.person.name if turn.person else None,
        "platform": turn.room.platform,
        "room": turn.room.external_id,
        "room_type": turn.room.type,
        "cause": turn.cause_kind,
        "state": turn.state,
        "outcome": turn.outcome,
        "error": turn.error,
        "attempts": turn.take_count,
        "error_count": turn.error_count,
        "crash_count": turn.crash_count,
        "suspect_count": turn.suspect_count,
        "evaluation": turn.evaluation,
        "received_at": time_text(turn.received_at),
        "started_at": time_text(turn.started_at),
        "ended_at": time_text(turn.ended_at),
        "message": _message(turn.message) if turn.message else None,
        "steps": [_step(step) for step in steps],
        "model_calls": [_call(call) for call in turn.model_calls.order_by("position")],
        "memories": report_recalled(steps),
        "approvals": [approval_report(approval) for approval in turn.approvals.order_by("pk")],
        "deliveries": [
            _delivery(delivery)
            for delivery in Delivery.objects.filter(message__turn=turn)
            .select_related("message")
            .order_by("pk")
        ],
    }


def _message(message: Message) -> dict[str, Any]:
    return {
        "id": str(message.pk),
        "external_id": message.external_id,
        "text": message.text,
        "attachments": message.attachments,
        "is_addressed": message.is_addressed,
        "said_at": time_text(message.said_at),
    }


def _step(step: Step) -> dict[str, Any]:
    return {
        "name": step.name,
        "state": step.state,
        "milliseconds": round(step.milliseconds, 2),
        "input": step.input,
        "output": step.output,
        "error": step.error,
    }


def _call(call: ModelCall) -> dict[str, Any]:
    return {
        "purpose": call.purpose,
        "provider": call.provider,
        "model": call.model,
        "milliseconds": round(call.milliseconds, 2),
        "first_token_milliseconds": call.first_token_milliseconds,
        "input_tokens": call.input_tokens,
        "output_tokens": call.output_tokens,
        "cost": None if call.cost is None else str(call.cost),
        "parse_path": call.parse_path,
        "finish_reason": call.finish_reason,
        "error": call.error,
        "prompt": call.prompt,
        "answer": call.answer,
    }


def approval_report(approval: Approval) -> dict[str, Any]:
    """Return what is known of an approval. The command `approve` lists it so too."""
    return {
        "id": approval.pk,
        "turn": str(approval.turn_id),
        "step": approval.step,
        "action": approval.action,
        "arguments": approval.arguments,
        "kind": approval.kind,
        "state": approval.state,
        "requested_at": time_text(approval.requested_at),
        "expires_at": time_text(approval.expires_at),
        "decided_at": time_text(approval.decided_at),
        "decided_by": approval.decided_by,
        "reason": approval.reason,
        "used_at": time_text(approval.used_at),
    }


def report_recalled(steps: Iterable[Step]) -> list[dict[str, Any]]:
    """Return what a turn recalled for its prompt: each memory with its scores and the messages that it came from.

    What was forgotten since has its id and scores alone. Three statements at most, however many memories.
    """
    hits = [hit for step in steps if step.name == "recall" for hit in step.output.get("memories", ())]
    ids = [UUID(hit["id"]) for hit in hits]
    kept = kept_of(ids)
    documents = [key for key, memory in kept.items() if memory.kind == "document"]
    citations = citations_of(documents) if documents else {}
    sources = sources_of(key for memory in kept.values() for key in memory.source_messages)
    told = []
    for hit, memory_id in zip(hits, ids, strict=True):
        memory = kept.get(memory_id)
        told.append(
            {
                "id": hit["id"],
                "score": hit["score"],
                "scores": hit["scores"],
                "kind": memory.kind if memory else None,
                "scope": memory.scope if memory else None,
                "speaker": memory.speaker if memory else None,
                "said_at": time_text(memory.said_at) if memory else None,
                "text": memory.text if memory else None,
                "citation": report_citation(citations.get(memory_id)),
                "source_messages": [
                    report_source(key, sources.get(key)) for key in (memory.source_messages if memory else ())
                ],
            }
        )
    return told


def report_source(key: UUID, source: Source | None) -> dict[str, Any]:
    """Return a message that a memory came from: who said it where and when; its id alone where it is gone."""
    return {
        "id": str(key),
        "speaker": source.speaker if source else None,
        "room": source.room if source else None,
        "said_at": time_text(source.said_at) if source else None,
        "turn": str(source.turn_id) if source and source.turn_id else None,
        "text": source.text if source else None,
    }


def _delivery(delivery: Delivery) -> dict[str, Any]:
    return {
        "id": delivery.pk,
        "message": str(delivery.message_id),
        "text": delivery.message.text,
        "state": delivery.state,
        "attempts": delivery.attempts,
        "sent_at": time_text(delivery.sent_at),
        "answer": delivery.answer,
        "error": delivery.error,
    }


def time_text(moment: dt.datetime | None) -> str | None:
    """Return a moment as reports have it, to the microsecond."""
    return moment.isoformat(timespec="microseconds") if moment else None
