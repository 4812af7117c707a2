"""The API's operations on messages and conversations. `eliza_site.api` mounts the router.

Each operation parses, makes one call and translates the result; every address of a room answers 404 to those
who take no part in it.
"""

from __future__ import annotations

import datetime as dt
from typing import Annotated
from uuid import UUID

from django.http import HttpRequest, StreamingHttpResponse
from django.utils import timezone
from ninja import Router, Status
from ninja.errors import HttpError
from pydantic import Field

from agents import conversations, inbox, streams
from agents.cleaning import clean_words
from agents.conversations import Caller
from agents.envelopes import IncomingRoom, Receipt
from agents.models import Agent, Message, Room
from agents.people import rooms
from agents.streams import StreamEvent
from transports.web import events, payloads
from transports.web.connections import WebAgent, find_web_agent
from transports.web.schemas import (
    ActionOut,
    History,
    MessageOut,
    NewMessage,
    NewRoom,
    RoomAgent,
    RoomOut,
    TakenMessage,
)

router = Router(tags=["conversations"])

API_ROOT = "/api/v1"
REPLAY_ROOM_SECONDS = 10.0


PageSize = Annotated[int, Field(ge=1, le=200)]


class CallerRequest(HttpRequest):
    """A request after authentication."""

    auth: Caller


@router.post("/agents/{agent}/messages", response={202: TakenMessage}, summary="Say something to an agent")
def post_message(request: CallerRequest, agent: str, body: NewMessage) -> Status[TakenMessage]:
    """Store the message and answer 202 at once; the reply comes by the events, and stands in the room."""
    web_agent = _get_agent(agent)
    if body.id and not payloads.CLIENT_ID.fullmatch(body.id):
        raise HttpError(
            422, "id: send 1 to 100 letters, digits or . _ : @ + / = - as the message's id, or leave it out."
        )
    said_at = timezone.now()
    incoming = payloads.incoming(
        connection_id=web_agent.connection_id,
        caller=request.auth,
        room=_room_for(request.auth, web_agent, body.room),
        text=body.text,
        client_id=body.id,
        said_at=said_at,
    )
    if web_agent.status == Agent.Status.STOPPED:
        raise HttpError(409, f"{web_agent.name} is stopped and takes no messages: choose another agent.")
    receipt = inbox.receive(incoming)
    if receipt.is_new:
        data = payloads.message_event(
            message_id=receipt.message_id, text=clean_words(body.text), client_id=body.id, said_at=said_at
        )
        streams.put_event(
            receipt.room_id,
            StreamEvent.MESSAGE,
            data,
            turn_id=None if receipt.is_obeyed else receipt.turn_id,
            message_id=receipt.message_id,
        )
    return Status(202, _taken(receipt, web_agent))


@router.get("/rooms", response=list[RoomOut], summary="List the caller's conversations")
def list_rooms(request: CallerRequest, agent: str = "") -> list[RoomOut]:
    """List conversations, the latest first; with `agent`, those with this one."""
    agent_id = _get_agent(agent).id if agent else None
    found = list(conversations.list_rooms(request.auth, agent_id=agent_id))
    agents = _agents_of(found)
    return [
        _room_out(room, agents[room.pk], room.first_words, room.last_message_at)  # type: ignore[attr-defined]
        for room in found
        if room.pk in agents
    ]


@router.post("/rooms", response={201: RoomOut}, summary="Open a conversation")
def open_room(request: CallerRequest, body: NewRoom) -> Status[RoomOut]:
    """Open a conversation with an agent; one in which nothing was said yet is given again."""
    agent = _get_agent(body.agent)
    room = conversations.find_empty_room(request.auth, agent_id=agent.id)
    if room is None:
        room = conversations.open_room(
            request.auth,
            connection_id=agent.connection_id,
            room=payloads.new_room(agent.id),
            said_at=timezone.now(),
        )
    return Status(201, _room_out(room, agent, "", room.created_at))


@router.get("/rooms/{room}", response=RoomOut, summary="Show a conversation")
def get_room(request: CallerRequest, room: str) -> RoomOut:
    """Show one conversation and its agent."""
    found = _get_room(request.auth, room)
    agents = _agents_of([found])
    if found.pk not in agents:
        raise HttpError(404, f"The agent of conversation {room} is gone.")
    first = Message.objects.filter(room=found).order_by("received_at").first()
    return _room_out(found, agents[found.pk], first.text if first else "", found.created_at)


@router.delete("/rooms/{room}", response={204: None}, summary="Delete a conversation")
def delete_room(request: CallerRequest, room: str) -> Status[None]:
    """Delete a conversation with all that was said in it and all that was remembered of it."""
    found = _get_room(request.auth, room)
    rooms.delete_conversation(found.pk)
    streams.forget_room(found.pk)
    gone = {"detail": "This conversation was deleted.", "is_gone": True}
    streams.put_event(found.pk, StreamEvent.ERROR, gone)
    return Status(204, None)


@router.get("/rooms/{room}/messages", response=History, summary="Read a conversation")
def list_messages(
    request: CallerRequest, room: str, before: UUID | None = None, limit: PageSize = 50
) -> History:
    """Read a page of the conversation: the latest messages, or those before the given one."""
    found = _get_room(request.auth, room)
    # The place in the stream is taken before the messages are read: nothing falls between the two.
    after = _after(found.pk)
    said = conversations.history(found, before=before, limit=limit)
    return History(
        messages=[_message_out(one) for one in said],
        before=said[0].message.pk if len(said) == limit else None,
        events=f"{_events_address(found.pk)}?last_event_id={after}",
    )


@router.get(
    "/rooms/{room}/events",
    summary="Follow a conversation",
    openapi_extra={
        "responses": {200: {"description": "Server-sent events", "content": {"text/event-stream": {}}}}
    },
)
def follow_room(
    request: CallerRequest, room: str, message: UUID | None = None, last_event_id: str = ""
) -> StreamingHttpResponse:
    """Follow the room by server-sent events: message, token, action, reset, reply, error, done.

    With `message`, only the events of that message's turn are sent, and the stream ends after `done`. A
    reader that comes back sends Last-Event-ID (or `last_event_id`) and misses nothing.
    """
    found = _get_room(request.auth, room)
    asked = request.headers.get("Last-Event-ID") or last_event_id
    if asked and not events.STREAM_ID.fullmatch(asked):
        raise HttpError(422, "Last-Event-ID: send an id as the events carry it, such as 1700000000000-0.")
    subscription = events.Subscription(room_id=found.pk, after=asked or _after(found.pk))
    if message is not None:
        subscription = _subscription_to_message(found, message, asked)
    response = StreamingHttpResponse(events.read_events(subscription), content_type="text/event-stream")
    response["Cache-Control"] = "no-cache, no-store"
    response["X-Accel-Buffering"] = "no"
    return response


def _subscription_to_message(room: Room, message_id: UUID, asked: str) -> events.Subscription:
    said = conversations.find_said(room, message_id)
    if said is None:
        raise HttpError(404, f"There is no message {message_id} in this conversation.")
    began_at = said.message.received_at - dt.timedelta(seconds=events.REPLAY_SECONDS)
    return events.Subscription(
        room_id=room.pk,
        after=asked or events.stream_id_at(began_at),
        message_id=message_id,
        turn_id=said.turn_id,
    )


def _after(room_id: UUID) -> str:
    """Return where in the stream a page begins: before the oldest turn that is still worked."""
    now = timezone.now()
    oldest = conversations.oldest_open_turn_at(room_id) or now
    return events.stream_id_at(min(oldest, now) - dt.timedelta(seconds=REPLAY_ROOM_SECONDS))


def _room_for(caller: Caller, agent: WebAgent, room_id: str | None) -> IncomingRoom:
    if room_id is None:
        return payloads.default_room(agent.id, caller)
    room = _get_room(caller, room_id)
    if payloads.agent_of_room(room.external_id) != agent.id:
        raise HttpError(
            422, f"Conversation {room_id} is not one with {agent.name}: leave `room` out, or open one."
        )
    return IncomingRoom(external_id=room.external_id)


def _get_agent(slug_or_id: str) -> WebAgent:
    agent = find_web_agent(slug_or_id)
    if agent is None:
        raise HttpError(404, f"There is no agent {slug_or_id[:100]!r}: GET {API_ROOT}/agents lists them.")
    return agent


def _get_room(caller: Caller, room_id: str) -> Room:
    try:
        room = conversations.find_room(caller, UUID(room_id))
    except ValueError:
        room = None
    if room is None:
        raise HttpError(404, f"You have no conversation {room_id[:100]!r}: GET {API_ROOT}/rooms lists yours.")
    return room


def _agents_of(found: list[Room]) -> dict[UUID, Agent]:
    """Return the agents of the rooms, by room."""
    ids = {room.pk: payloads.agent_of_room(room.external_id) for room in found}
    agents = Agent.objects.in_bulk({agent_id for agent_id in ids.values() if agent_id})
    return {room: agents[agent_id] for room, agent_id in ids.items() if agent_id in agents}


def _taken(receipt: Receipt, agent: WebAgent) -> TakenMessage:
    notice = ""
    if receipt.is_obeyed:
        notice = "What was being answered is stopped; this message gets no answer."
    elif agent.status == Agent.Status.PAUSED:
        notice = f"{agent.name} is paused: your message waits until {agent.name} is back."
    return TakenMessage(
        message=receipt.message_id,
        room=receipt.room_id,
        turn=None if receipt.is_obeyed else receipt.turn_id,
        events=f"{_events_address(receipt.room_id)}?message={receipt.message_id}",
        is_new=receipt.is_new,
        notice=notice,
    )


def _room_out(room: Room, agent: WebAgent | Agent, first_words: str | None, at: dt.datetime) -> RoomOut:
    return RoomOut(
        id=room.pk,
        name=conversations.room_name(first_words) or "New conversation",
        agent=RoomAgent(id=agent.id, name=agent.name, slug=agent.slug, status=agent.status),
        last_message_at=at,
        events=_events_address(room.pk),
    )


def _message_out(said: conversations.Said) -> MessageOut:
    message = said.message
    return MessageOut(
        id=message.pk,
        direction=message.direction,
        text=message.text,
        said_at=message.received_at,
        client_id=payloads.client_id_of(message.external_id) if message.direction == "in" else "",
        turn=said.turn_id,
        turn_state=said.turn_state,
        turn_outcome=said.turn_outcome,
        in_reply_to=said.in_reply_to,
        actions=[ActionOut(**vars(action)) for action in said.actions],
    )


def _events_address(room_id: UUID) -> str:
    return f"{API_ROOT}/rooms/{room_id}/events"
