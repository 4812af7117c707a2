"""What an agent recalls, asked from outside of a turn. The command `recall` calls it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeVar
from uuid import UUID

from django.db.models import Model, Q, QuerySet

from agents.agents import get_agent
from agents.models import Agent, Message, Person, Room
from memory.memories import scope_for
from memory.retrieval import RecallQuery, Recollection, recall

PRIVATE_TYPES = [type for type in Room.Type.values if scope_for(type) == "person"]
_Row = TypeVar("_Row", bound=Model)


class UnknownPlace(LookupError):
    """No such room or person, or several; the text says which there are, and how to name one."""


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where, and before whom, an agent recalls."""

    agent: Agent
    room: Room | None = None
    person: Person | None = None


def find_place(agent_name: str, *, room_name: str = "", person_name: str = "") -> Place:
    """Find where an agent is to recall. A person without a room stands for their newest direct chat with it.

    A direct chat without a person is that of the one person in it. Without both, only what may surface anywhere
    does.
    Raises: UnknownAgent, UnknownPlace.
    """
    agent = get_agent(agent_name)
    room = _find(Room.objects.all(), room_name, "room") if room_name else None
    person = _find(Person.objects.filter(merged_into=None), person_name, "person") if person_name else None
    if person is not None and room is None:
        room = _direct_chat(agent, person)
    if room is not None and person is None and room.type in PRIVATE_TYPES:
        humans = Person.objects.filter(participations__room=room, is_bot=False, merged_into=None)[:2]
        person = humans[0] if len(humans) == 1 else None
    return Place(agent=agent, room=room, person=person)


def recollect(place: Place, text: str, *, limit: int) -> Recollection:
    """Recall what a turn there would recall."""
    return recall(
        RecallQuery(
            agent_id=place.agent.pk,
            room_id=place.room.pk if place.room else None,
            person_id=place.person.pk if place.person else None,
            text=text,
            limit=limit,
        )
    )


def _find(rows: QuerySet[_Row, _Row], name: str, kind: str) -> _Row:
    """Find the one of this id, of this name on a network (`platform:id`), or of this name."""
    platform, _, external_id = name.partition(":")
    ways: Sequence[Q] = (
        Q(pk=_uuid(name)),
        Q(platform=platform, external_id=external_id)
        if kind == "room"
        else Q(accounts__platform=platform, accounts__external_id=external_id),
        Q(name__iexact=name),
    )
    for way in ways:
        found = list(rows.filter(way).distinct()[:4])
        if len(found) == 1:
            return found[0]
        if found:
            ids = ", ".join(str(row.pk) for row in found[:3]) + (" and more" if len(found) > 3 else "")
            raise UnknownPlace(f"Several have the name {name!r}: name the {kind} by its id, one of {ids}.")
    raise UnknownPlace(f"There is no {kind} {name!r}: give its id, its name, or platform:id.")


def _uuid(text: str) -> UUID | None:
    try:
        return UUID(text)
    except ValueError:
        return None


def _direct_chat(agent: Agent, person: Person) -> Room:
    chats: dict[str, Any] = {"agent": agent, "person": person, "room__type__in": PRIVATE_TYPES}
    newest = Message.objects.filter(**chats).select_related("room").order_by("-received_at").first()
    if newest is None:
        raise UnknownPlace(f"{person.name} has no direct chat with {agent.name}: name a room with --room.")
    return newest.room
