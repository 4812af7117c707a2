"""Cuts the person's words out of what stays for others: what agents said in shared rooms, and how it came about.

What another human wrote is theirs, and stays as it is. What an agent or a bot said or learnt there is cut, and so
are the traces of others' turns, whose prompts had the person's words among others'. It is done twice: with the
person's own rows, so that nobody is told of it any more, and again when all has ended that had begun before.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID

from django.db.models import Q

from agents.forgetting.holding import Hold
from agents.forgetting.pieces import Cutter, Pieces, keys_of
from agents.forgetting.places import walk
from agents.forgetting.subject import Subject
from agents.models import (
    Agent,
    Approval,
    Delivery,
    Message,
    ModelCall,
    Participant,
    Person,
    Room,
    Step,
    Turn,
)
from memory import forgetting as memories
from plugins import forgetting as plugins_rows

PAGE = 100
"""So many messages, with their turns' traces, are cut in one transaction: it takes tenths of a second."""
OTHERS_MESSAGES = 20_000
"""What others said in so many messages, here and in each room, is known to be everyone's."""


def cut(subject: Subject, own: Pieces, hold: Hold) -> set[UUID]:
    """Cut the person's words, whose pieces these are, out of everything that stays.

    Return the agents that kept some of them for wherever they speak, and may have told them there.
    """
    everyones = _words_of_characters()
    _learn(everyones, _others(subject), hold)
    own = own.without(everyones)
    for room_id, since in subject.since.items():
        if since is not None:
            _cut_room(subject, hold, room_id, since, own)
    cutter = Cutter(own, names=subject.names, marks=subject.marks)
    wide = {agent_id for agent_id in subject.agents if _cut_kept(hold, agent_id, None, cutter)}
    _cut_events(subject, hold, cutter)
    return wide


def rooms_of(agent_ids: Collection[UUID]) -> set[UUID]:
    """Return every room that these agents were spoken to in."""
    said = Message.objects.filter(agent__in=agent_ids)
    return set(said.order_by().values_list("room", flat=True).distinct())


def _others(subject: Subject) -> Any:
    """Return what other humans said."""
    said = Message.objects.filter(direction=Message.Direction.IN, person__is_bot=False)
    return said.exclude(person__in=subject.people)


def _learn(everyones: Pieces, said: Any, hold: Hold) -> None:
    texts = said.order_by().values_list("text", flat=True)[:OTHERS_MESSAGES]
    for text in list(texts):
        everyones.add(keys_of(text))
    hold.tick()


def _words_of_characters() -> Pieces:
    """Return the pieces of all agents' characters: their own words, whoever else uses them."""
    everyones = Pieces()
    for name, document in Agent.objects.values_list("name", "character__document"):
        for text in (name, *_texts_in(document)):
            everyones.add(keys_of(text))
    return everyones


def _texts_in(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value]
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return [text for item in inner for text in _texts_in(item)]


# A shared room ---------------------------------------------------------------------------------------------


def _cut_room(subject: Subject, hold: Hold, room_id: UUID, since: dt.datetime, own: Pieces) -> None:
    everyones = Pieces()
    _learn(everyones, _others(subject).filter(room=room_id), hold)
    before = Message.objects.filter(room=room_id, direction=Message.Direction.OUT, received_at__lt=since)
    _learn(everyones, before, hold)
    cutter = Cutter(
        own.without(everyones),
        names=subject.names,
        marks=subject.marks,
        spared=_called_there(subject, room_id),
    )
    with hold.batch():
        for room in Room.objects.filter(pk=room_id):
            if cutter.touches(room.name):
                Room.objects.filter(pk=room_id).update(name=cutter.cut(room.name))
    for agent_id in subject.agents:
        _cut_kept(hold, agent_id, room_id, cutter)
    others = ~Q(person__in=subject.people) | Q(person=None)
    for page in walk(room_id, subject.agents, others, since=since, size=PAGE):
        with hold.batch():
            _cut_page(subject, hold, page, cutter)


def _called_there(subject: Subject, room_id: UUID) -> set[str]:
    """Return the words of the names of those who stay in the room: they are not the person's alone."""
    there = Participant.objects.filter(room=room_id).exclude(person__in=subject.people)
    return {word for name in there.values_list("person__name", flat=True) for word in name.split()}


def _cut_kept(hold: Hold, agent_id: UUID, room_id: UUID | None, cutter: Cutter) -> bool:
    """Cut what an agent keeps for a room, or wherever it speaks: memories, goals, plugins' states and plans.

    Tell whether the person's words stood in any of it.
    """
    before = sum(hold.counts.values())
    for page in memories.walk(agent_id, room_id):
        with hold.batch():
            hold.count(memories=memories.forget_touched(page, cutter.touches))
    with hold.batch():
        hold.count(goals_cut=memories.cut_goals(agent_id, room_id, cutter.cut))
        hold.count(**plugins_rows.cut_kept(agent_id, room_id, cutter.cut_json))
        if room_id is None:
            hold.count(relationships_cut=memories.cut_relationships(agent_id, cutter.cut))
    return sum(hold.counts.values()) > before


def _cut_page(subject: Subject, hold: Hold, page: Sequence[Message], cutter: Cutter) -> None:
    speakers = {message.person_id for message in page if message.person_id}
    bots = set(Person.objects.filter(pk__in=speakers, is_bot=True).values_list("pk", flat=True))
    answers = _answers_to(subject, page)
    for message in page:
        is_human = message.direction == Message.Direction.IN and message.person_id not in bots
        changes = _cut_message(message, cutter, is_human=is_human)
        if message.pk in answers or cutter.touches(message.reply_to_external_id):
            changes["reply_to_external_id"] = ""
        if changes:
            Message.objects.filter(pk=message.pk).update(**changes)
            hold.count(messages_cut=1)
    ids = [message.pk for message in page]
    for delivery in Delivery.objects.filter(message__in=ids):
        _save_cut(delivery, ("answer", "error"), cutter)
    turns = list(Turn.objects.filter(message__in=ids).only("error"))
    _cut_traces(hold, turns, cutter)


def _cut_message(message: Message, cutter: Cutter, *, is_human: bool) -> dict[str, Any]:
    """Return what changes of a message that stays: all of it where an agent or a bot said it; where another human
    did, only what their network sent along of the person, such as a quoted message.
    """
    changes: dict[str, Any] = {}
    if message.platform_data:
        changes["platform_data"] = cutter.without_branches(message.platform_data)
    if not is_human:
        changes |= {"text": cutter.cut(message.text), "attachments": cutter.cut_json(message.attachments)}
    return {name: value for name, value in changes.items() if value != getattr(message, name)}


def _answers_to(subject: Subject, page: Sequence[Message]) -> set[Any]:
    """Return which of the messages answer one of the person's, which is there still."""
    asked = [message for message in page if message.reply_to_external_id]
    if not asked:
        return set()
    theirs = set(
        Message.objects.filter(
            person__in=subject.people,
            connection__in={message.connection_id for message in asked},
            external_id__in={message.reply_to_external_id for message in asked},
        ).values_list("connection", "external_id")
    )
    return {
        message.pk for message in asked if (message.connection_id, message.reply_to_external_id) in theirs
    }


def _cut_traces(hold: Hold, turns: Sequence[Turn], cutter: Cutter) -> None:
    """Cut the traces of others' turns. Their prompts go whole: the person's words stood in them among others'."""
    calls = ModelCall.objects.filter(turn__in=turns)
    hold.count(prompts=calls.exclude(prompt=[]).update(prompt=[]))
    for turn in turns:
        _save_cut(turn, ("error",), cutter)
    for call in calls.only("answer", "error"):
        _save_cut(call, ("answer", "error"), cutter)
    for step in Step.objects.filter(turn__in=turns):
        changed = _save_cut(step, ("name", "input", "output", "error"), cutter)
        hold.count(steps_cut=int(changed))
    for approval in Approval.objects.filter(turn__in=turns):
        _save_cut(approval, ("step", "action", "arguments", "reason", "decided_by"), cutter)


def _save_cut(row: Any, fields: Sequence[str], cutter: Cutter) -> bool:
    changes = {}
    for field in fields:
        value = getattr(row, field)
        shortened = cutter.cut_json(value)
        if shortened != value:
            length = type(row)._meta.get_field(field).max_length
            changes[field] = shortened[:length] if length else shortened
    if changes:
        type(row)._default_manager.filter(pk=row.pk).update(**changes)
    return bool(changes)


# What belongs to no room -----------------------------------------------------------------------------------


def _cut_events(subject: Subject, hold: Hold, cutter: Cutter) -> None:
    ids = frozenset(map(str, (*subject.people, *subject.private_rooms)))
    after = None
    while True:
        with hold.batch():
            after, done = plugins_rows.cut_events(after, ids, cutter.cut_json)
            hold.count(**done)
        if after is None:
            return
