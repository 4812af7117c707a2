"""The JSON of the API on messages and conversations; `transports.web.api` takes and gives it."""

from __future__ import annotations

import datetime as dt
from uuid import UUID

from ninja import Schema
from pydantic import Field


class NewMessage(Schema):
    """What a caller says. `id` is the caller's own: the same one again adds nothing."""

    text: str = Field(description="What is said.")
    room: str | None = Field(None, description="A conversation's id; without one, the caller's default room.")
    id: str = Field("", description="The caller's own id of the message: letters, digits and . _ : @ + / = -")


class TakenMessage(Schema):
    """A message that was stored and will be answered; `events` is the address of its server-sent events.

    `turn` is null for a "stop" that ended another answer: nothing is made for it.
    """

    message: UUID
    room: UUID
    turn: UUID | None
    events: str
    is_new: bool
    notice: str = ""


class NewRoom(Schema):
    """With whom to speak: an agent's slug or id."""

    agent: str


class RoomAgent(Schema):
    """The agent of a conversation."""

    id: UUID
    name: str
    slug: str
    status: str


class RoomOut(Schema):
    """A conversation; its name is its first words."""

    id: UUID
    name: str
    agent: RoomAgent
    last_message_at: dt.datetime
    events: str


class ActionOut(Schema):
    """What was done in a turn beside answering."""

    name: str
    success: bool
    text: str


class MessageOut(Schema):
    """One message: `in` is the person's, `out` the agent's.

    `turn_state` is that of the turn it caused, and `turn_outcome` says what came of it: among others
    `collected` (answered with the next message), `superseded` (the next message came first) and `control`
    (a "stop" that was obeyed).
    """

    id: UUID
    direction: str
    text: str
    said_at: dt.datetime
    client_id: str = ""
    turn: UUID | None
    turn_state: str = ""
    turn_outcome: str = ""
    in_reply_to: UUID | None = None
    actions: list[ActionOut] = []


class History(Schema):
    """A page of a conversation, the oldest first; `before` asks for the page before this one."""

    messages: list[MessageOut]
    before: UUID | None
    events: str
