"""Memories of messages whose turns were not worked: those collected into another turn, or stopped before."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from agents.models import Message
from memory.memories import MemoryDraft, scope_for


def message_drafts(message_ids: Sequence[UUID]) -> list[MemoryDraft]:
    """Return the memories of the messages that say something, in the order of their arrival."""
    messages = Message.objects.filter(pk__in=message_ids).select_related("room", "person")
    return [
        MemoryDraft(
            agent_id=message.agent_id,
            kind="message",
            scope=scope_for(message.room.type),
            person_id=message.person_id,
            room_id=message.room_id,
            speaker=message.person.name if message.person else "",
            text=message.text,
            said_at=message.said_at,
            source_key=f"message:{message.pk}",
            source_messages=(message.pk,),
        )
        for message in messages.order_by("received_at")
        if message.text.strip()
    ]
