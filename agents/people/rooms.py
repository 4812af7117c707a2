"""Rooms: how one is found, and what a person may do with a conversation."""

from __future__ import annotations

from uuid import UUID

from django.db.models import Q

from agents.models import Room

MOST_LISTED = 5


class UnknownRoom(LookupError):
    """No room has that name, or several have it; the text says which."""


def get_room(name: str) -> Room:
    """Return the room of this id, of this `platform:id` or of this name.

    Raises: UnknownRoom.
    """
    try:
        wanted = Q(pk=UUID(name))
    except ValueError:
        platform, _, external_id = name.partition(":")
        wanted = Q(platform=platform, external_id=external_id) | Q(external_id=name) | Q(name__iexact=name)
    found = list(Room.objects.filter(wanted)[: MOST_LISTED + 1])
    if len(found) == 1:
        return found[0]
    if not found:
        raise UnknownRoom(f"No room has the id or the name {name!r}. Its page in the admin shows its id.")
    listed = ", ".join(str(room.pk) for room in found[:MOST_LISTED])
    raise UnknownRoom(f"Several rooms are named {name!r}: say which by its id, such as {listed}.")


def delete_conversation(room_id: UUID) -> bool:
    """Delete a room with its messages, turns, deliveries, documents and memories; False where there is none.

    A turn that is being worked there loses its row, so that its worker can write nothing more.
    """
    deleted, _ = Room.objects.filter(pk=room_id).delete()
    return deleted > 0
