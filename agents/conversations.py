"""A caller's conversations: which rooms and turns are theirs, and what was said there.

The API asks here. Every question takes the caller, and a room is theirs if, and only if, their person takes
part in it; so nobody reads another's room.
"""

from __future__ import annotations

import datetime as dt
from collections import defaultdict
from dataclasses import dataclass
from uuid import UUID

from django.db.models import OuterRef, Q, QuerySet, Subquery
from django.db.models.functions import Coalesce

from agents.envelopes import Incoming, IncomingPerson, IncomingRoom
from agents.inbox import Refused
from agents.models import Message, Room, Step, Turn
from agents.offers import PLAIN_ACTIONS
from agents.people import senders

MAX_ROOMS = 200
NAME_CHARACTERS = 80


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Whoever calls the API: an account on a platform. `user_id` is the site's user that it is signed in as."""

    platform: str
    external_id: str
    name: str = ""
    username: str = ""
    user_id: int | None = None


@dataclass(frozen=True, kw_only=True)
class Done:
    """An action that was taken in a turn."""

    name: str
    success: bool
    text: str


@dataclass(frozen=True, kw_only=True)
class Said:
    """One message of a conversation, with the turn that it caused or came from, and what was done in it."""

    message: Message
    turn_id: UUID | None
    turn_state: str
    turn_outcome: str
    in_reply_to: UUID | None
    actions: tuple[Done, ...]


def rooms_of(caller: Caller) -> QuerySet[Room]:
    """Return the rooms of the caller's platform in which they take part."""
    return Room.objects.filter(
        platform=caller.platform,
        participants__person__accounts__platform=caller.platform,
        participants__person__accounts__external_id=caller.external_id,
    )


def find_room(caller: Caller, room_id: UUID) -> Room | None:
    """Return the caller's room of this id, or None."""
    return rooms_of(caller).filter(pk=room_id).first()


def find_turn(caller: Caller, turn_id: UUID) -> Turn | None:
    """Return the turn if it is worked in a room of the caller's, or None."""
    return Turn.objects.filter(pk=turn_id, room__in=rooms_of(caller)).first()


def list_rooms(caller: Caller, *, agent_id: UUID | None = None) -> QuerySet[Room]:
    """Return the caller's rooms, the latest first, each with `first_words` and `last_message_at`."""
    said = Message.objects.filter(room=OuterRef("pk"))
    rooms = rooms_of(caller)
    if agent_id is not None:
        rooms = rooms.filter(external_id__startswith=f"{agent_id}/")
    return rooms.annotate(
        first_words=Subquery(
            said.filter(direction=Message.Direction.IN).order_by("received_at").values("text")[:1]
        ),
        last_message_at=Coalesce(
            Subquery(said.order_by("-received_at").values("received_at")[:1]), "created_at"
        ),
    ).order_by("-last_message_at")[:MAX_ROOMS]


def open_room(caller: Caller, *, connection_id: UUID, room: IncomingRoom, said_at: dt.datetime) -> Room:
    """Make a room for the caller and the agent of the connection, and introduce them.

    Raises: inbox.Refused where the connection isn't open.
    """
    facts = senders.connection_facts(connection_id)
    if facts is None:
        raise Refused(f"There is no open connection {connection_id}.")
    nothing_said = Incoming(
        connection_id=connection_id,
        external_id="",
        room=room,
        person=IncomingPerson(external_id=caller.external_id, name=caller.name, username=caller.username),
        text="",
        said_at=said_at,
    )
    senders.introduce(nothing_said, facts)
    return Room.objects.get(platform=facts.platform, external_id=room.external_id)


def find_empty_room(caller: Caller, *, agent_id: UUID) -> Room | None:
    """Return a room of the caller's and the agent's in which nothing was said yet, or None."""
    return rooms_of(caller).filter(external_id__startswith=f"{agent_id}/", messages__isnull=True).first()


def history(room: Room, *, limit: int, before: UUID | None = None) -> list[Said]:
    """Return the room's messages before the given one, or its latest, in the order of their arrival."""
    messages = Message.objects.filter(room=room)
    if before is not None:
        edge = Message.objects.filter(pk=before, room=room).values_list("received_at", flat=True).first()
        if edge is None:
            return []
        messages = messages.filter(Q(received_at__lt=edge) | Q(received_at=edge, pk__lt=before))
    page = list(messages.order_by("-received_at", "-pk")[:limit])
    page.reverse()
    return _with_turns(page)


def find_said(room: Room, message_id: UUID) -> Said | None:
    """Return the room's message of this id, or None."""
    said = _with_turns(list(Message.objects.filter(pk=message_id, room=room)))
    return said[0] if said else None


def messages_since(room_id: UUID, moment: dt.datetime) -> list[Said]:
    """Return what was said in the room since the moment."""
    messages = Message.objects.filter(room=room_id, received_at__gte=moment)
    return _with_turns(list(messages.order_by("received_at", "pk")[:200]))


def replies_of(turn_id: UUID) -> list[Message]:
    """Return what an agent said in a turn, in order."""
    return list(Message.objects.filter(turn=turn_id).order_by("position"))


def oldest_open_turn_at(room_id: UUID) -> dt.datetime | None:
    """Return when the message came whose turn is the oldest that is waiting or running in the room."""
    turns = Turn.objects.filter(room=room_id, state__in=Turn.OPEN_STATES)
    return turns.order_by("received_at").values_list("received_at", flat=True).first()


def room_name(first_words: str | None) -> str:
    """Return a conversation's name: its first words."""
    words = " ".join((first_words or "").split())
    return words if len(words) <= NAME_CHARACTERS else words[: NAME_CHARACTERS - 1].rstrip() + "…"


def _with_turns(messages: list[Message]) -> list[Said]:
    caused = {
        turn.message_id: turn
        for turn in Turn.objects.filter(message__in=[message.pk for message in messages])
    }
    turn_ids = {message.turn_id for message in messages if message.turn_id}
    answered = {turn.pk: turn.message_id for turn in caused.values()}
    missing = turn_ids - answered.keys()
    answered.update(Turn.objects.filter(pk__in=missing).values_list("pk", "message_id") if missing else ())
    actions = _actions_of({turn_id for turn_id in turn_ids if turn_id})
    return [
        Said(
            message=message,
            turn_id=message.turn_id or (caused[message.pk].pk if message.pk in caused else None),
            turn_state=caused[message.pk].state if message.pk in caused else "",
            turn_outcome=caused[message.pk].outcome if message.pk in caused else "",
            in_reply_to=answered.get(message.turn_id) if message.turn_id else None,
            actions=tuple(actions.get(message.turn_id, ())) if not message.position else (),
        )
        for message in messages
    ]


def _actions_of(turn_ids: set[UUID]) -> dict[UUID | None, list[Done]]:
    found: dict[UUID | None, list[Done]] = defaultdict(list)
    if turn_ids:
        steps = Step.objects.filter(turn__in=turn_ids, name__startswith="act:").order_by("turn", "position")
        for step in steps:
            name = step.name.split(":", 2)[-1]
            if name not in PLAIN_ACTIONS:
                found[step.turn_id].append(_done(name, step))
    return found


def _done(name: str, step: Step) -> Done:
    output = step.output
    text = output.get("text") or output.get("error") or step.error
    return Done(name=name, success=step.state == Step.State.DONE and bool(output.get("success")), text=text)
