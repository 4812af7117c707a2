"""What a person may do with a conversation."""

from __future__ import annotations

from uuid import UUID

from agents.models import Room


def delete_conversation(room_id: UUID) -> bool:
    """Delete a room with its messages, turns, deliveries, documents and memories; False where there is none.

    A turn that is being worked there loses its row, so that its worker can write nothing more.
    """
    deleted, _ = Room.objects.filter(pk=room_id).delete()
    return deleted > 0
