"""What goes over the wire of the web: the API's JSON to an `Incoming`, messages to the events of a room.

Pure. A web conversation is a room of one person and one agent; the room's own id on the network begins with
the agent's id. A person's id there is `user:<key>` or `visitor:<random>`, and stands before the client's
message ids, so that two people can't collide.
"""

from __future__ import annotations

import datetime as dt
import re
from typing import Any
from uuid import UUID

from uuid_utils.compat import uuid7

from agents.conversations import Caller
from agents.envelopes import Incoming, IncomingPerson, IncomingRoom, Outgoing

PLATFORM = "web"
MAX_CLIENT_ID_CHARACTERS = 100
CLIENT_ID = re.compile(r"[\w.:@+/=-]{1,100}", re.ASCII)


def default_room(agent_id: UUID, caller: Caller) -> IncomingRoom:
    """Name the room that a caller has with an agent without asking for one."""
    return IncomingRoom(external_id=f"{agent_id}/{caller.external_id}")


def new_room(agent_id: UUID) -> IncomingRoom:
    """Name a room that nobody has yet."""
    return IncomingRoom(external_id=f"{agent_id}/{uuid7()}")


def agent_of_room(room_external_id: str) -> UUID | None:
    """Return the agent that a web room belongs to, or None where it is no room of this kind."""
    try:
        return UUID(room_external_id.partition("/")[0])
    except ValueError:
        return None


def person_of(caller: Caller) -> IncomingPerson:
    """Name the caller as the inbox wants it."""
    return IncomingPerson(external_id=caller.external_id, name=caller.name, username=caller.username)


def incoming(
    *,
    connection_id: UUID,
    caller: Caller,
    room: IncomingRoom,
    text: str,
    client_id: str,
    said_at: dt.datetime,
) -> Incoming:
    """Build the envelope of a message; without a client's id for it, it gets one of its own."""
    return Incoming(
        connection_id=connection_id,
        external_id=f"{caller.external_id}/{client_id or uuid7()}",
        room=room,
        person=person_of(caller),
        text=text,
        said_at=said_at,
        is_addressed=True,
    )


def client_id_of(external_id: str | None) -> str:
    """Return the client's own id of a message."""
    return (external_id or "").partition("/")[2]


def message_event(*, message_id: UUID, text: str, client_id: str, said_at: dt.datetime) -> dict[str, Any]:
    """Build the data of a `message` event: a person's words."""
    return {"id": str(message_id), "text": text, "client_id": client_id, "said_at": said_at.isoformat()}


def reply_event(
    *, message_id: UUID, text: str, turn_id: UUID | None, in_reply_to: UUID | None, said_at: dt.datetime
) -> dict[str, Any]:
    """Build the data of a `reply` event: the agent's finished words."""
    data = {"id": str(message_id), "text": text, "turn": str(turn_id or ""), "said_at": said_at.isoformat()}
    if in_reply_to is not None:
        data["in_reply_to"] = str(in_reply_to)
    return data


def outgoing_event(outgoing: Outgoing, said_at: dt.datetime) -> dict[str, Any]:
    """Build the `reply` event of a message that is delivered."""
    return reply_event(
        message_id=outgoing.message_id,
        text=outgoing.text,
        turn_id=outgoing.turn_id,
        in_reply_to=None,
        said_at=said_at,
    )
