"""All that is known of one turn, as plain JSON: its message, steps, model calls, memories and deliveries.

The command `show_turn` calls it.
"""

from __future__ import annotations

import datetime as dt
from typing import Any
from uuid import UUID

from django.db.models import Q

from agents.models import Approval, Delivery, Message, ModelCall, Step, Turn
from memory.citations import citations_of
from memory.memories import texts_of
from plugins.api import Citation

UUID_DIGITS = 32
SHORTEST_PREFIX = 8
MAX_LISTED = 5


class TurnNotFound(LookupError):
    """No turn, or more than one, has that id; the text says so."""


def find_turn(name: str) -> Turn:
    """Return the turn of this id, of this message's id, or of this reply's; the beginning of an id will do.

    Raises: TurnNotFound.
    """
    digits = name.replace("-", "").strip().lower()
    if not SHORTEST_PREFIX <= len(digits) <= UUID_DIGITS or set(digits) - set("0123456789abcdef"):
        raise TurnNotFound(
            f"{name!r} is no id: give a turn's, a message's or a reply's id, or at least its first"
            f" {SHORTEST_PREFIX} digits."
        )
    ids = (UUID(digits.ljust(UUID_DIGITS, "0")), UUID(digits.ljust(UUID_DIGITS, "f")))
    messages = Message.objects.filter(pk__range=ids)
    named = Q(pk__range=ids) | Q(message__in=messages) | Q(pk__in=messages.values("turn"))
    found = list(
        Turn.objects.filter(named)
        .select_related("agent", "room", "person", "message", "connection", "character_version")
        .distinct()[: MAX_LISTED + 1]
    )
    if len(found) == 1:
        return found[0]
    if not found:
        raise TurnNotFound(f"No turn, message or reply has the id {name}.")
    listed = ", ".join(str(turn.pk) for turn in found[:MAX_LISTED])
    raise TurnNotFound(f"More than one turn has an id that begins with {name}: {listed}, …")


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
        "received_at": _time(turn.received_at),
        "started_at": _time(turn.started_at),
        "ended_at": _time(turn.ended_at),
        "message": _message(turn.message) if turn.message else None,
        "steps": [_step(step) for step in steps],
        "model_calls": [_call(call) for call in turn.model_calls.order_by("position")],
        "memories": _memories(steps),
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
        "said_at": _time(message.said_at),
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
        "requested_at": _time(approval.requested_at),
        "expires_at": _time(approval.expires_at),
        "decided_at": _time(approval.decided_at),
        "decided_by": approval.decided_by,
        "reason": approval.reason,
        "used_at": _time(approval.used_at),
    }


def _memories(steps: list[Step]) -> list[dict[str, Any]]:
    """Return what was recalled, with its scores; the text is None where the memory was forgotten since."""
    hits = [hit for step in steps if step.name == "recall" for hit in step.output.get("memories", ())]
    ids = [UUID(hit["id"]) for hit in hits]
    texts = texts_of(ids) if ids else {}
    citations = citations_of(ids) if ids else {}
    return [
        {
            "id": hit["id"],
            "score": hit["score"],
            "scores": hit["scores"],
            "text": texts.get(memory_id),
            "citation": _citation(citations.get(memory_id)),
        }
        for hit, memory_id in zip(hits, ids, strict=True)
    ]


def _citation(citation: Citation | None) -> dict[str, Any] | None:
    if citation is None:
        return None
    return {
        "document": citation.document,
        "document_id": str(citation.document_id),
        "headings": list(citation.headings),
        "page": citation.page,
        "last_page": citation.last_page,
    }


def _delivery(delivery: Delivery) -> dict[str, Any]:
    return {
        "id": delivery.pk,
        "message": str(delivery.message_id),
        "text": delivery.message.text,
        "state": delivery.state,
        "attempts": delivery.attempts,
        "sent_at": _time(delivery.sent_at),
        "answer": delivery.answer,
        "error": delivery.error,
    }


def _time(moment: dt.datetime | None) -> str | None:
    return moment.isoformat(timespec="microseconds") if moment else None
