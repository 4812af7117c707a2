"""The third stage: what is the person's alone goes, and what stays for others is cut, so that nobody is told of it.

What refers to the person's messages goes before them; then the messages, each with its turn, steps, requests to
models, approvals and deliveries. What goes along is said by the models (`on_delete`), so that a table which is new
goes along too.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import Any
from uuid import UUID

from django.db.models import Min, Q

from agents import streams
from agents.forgetting import audits, sweeping
from agents.forgetting.holding import Hold
from agents.forgetting.pieces import Pieces
from agents.forgetting.subject import Subject, subject_of
from agents.models import Forgetting, Message, Participant, Person, Turn
from memory import forgetting as memories
from plugins import forgetting as plugins_rows
from plugins.registry import find_service

BATCH = 500

KINDS = {
    "agents.Message": "messages",
    "agents.Turn": "turns",
    "agents.Step": "steps",
    "agents.ModelCall": "model_calls",
    "agents.Approval": "approvals",
    "agents.Delivery": "deliveries",
}
"""What a row that went is counted as; others by their model's name."""

Forget = Callable[[], Mapping[str, int]]


def remove(forgetting: Forgetting, hold: Hold) -> None:
    """Remove the person's rows, and cut what stays."""
    subject = subject_of(forgetting)
    people, private = subject.people, subject.private_rooms
    sign_ins = find_service("sign_ins")
    if sign_ins is not None:
        with hold.batch():
            hold.count(**sign_ins.forget(subject.accounts))
    audits.blank_entries(subject, hold)
    for agent_id in subject.agents:
        for room_id in (*subject.shared_rooms, None):
            _repeat(hold, partial(_forget_learnt, people, agent_id, room_id))
    _repeat(hold, partial(memories.forget_people, people, private))
    _repeat(hold, partial(plugins_rows.forget_people, people, private))
    _repeat(hold, partial(_unlink_replies, subject))
    own = Pieces(bytes(forgetting.pieces or b""))
    wide = sweeping.cut(subject, own, hold)
    if wide:
        subject = _widen(forgetting, hold, wide)
        sweeping.cut(subject, own, hold)
    for whose in (Q(room__in=private), Q(person__in=people)):
        _repeat(hold, partial(_forget, Message, whose))
        _repeat(hold, partial(_forget, Turn, whose))
    _repeat(hold, partial(_forget, Participant, Q(person__in=people)))
    for room_id in (*private, *subject.shared_rooms):
        streams.forget_room(room_id)


def is_something_left(forgetting: Forgetting) -> bool:
    """Tell whether there are messages or turns of the person's: of one that came late, or before the removal."""
    people = subject_of(forgetting).people
    return any(model.objects.filter(person__in=people).exists() for model in (Message, Turn))


def _widen(forgetting: Forgetting, hold: Hold, agent_ids: Collection[UUID]) -> Subject:
    """Have all rooms of these agents searched: what they keep for wherever they speak, they may have said there."""
    known = Person.objects.filter(pk__in=forgetting.people).aggregate(first=Min("created_at"))["first"]
    first = known.isoformat()
    rooms = {str(room_id) for room_id in sweeping.rooms_of(agent_ids)} - set(forgetting.private_rooms)
    with hold.batch():
        forgetting.shared_rooms = dict.fromkeys(rooms, first) | forgetting.shared_rooms
        forgetting.save(update_fields=["shared_rooms"])
    return subject_of(forgetting)


def _repeat(hold: Hold, forget: Forget) -> None:
    """Forget a batch after the other, until one finds nothing more."""
    gone: Mapping[str, int] = {"": 1}
    while any(gone.values()):
        with hold.batch():
            gone = forget()
            hold.count(**gone)


def _forget_learnt(people: list[UUID], agent_id: UUID, room_id: UUID | None) -> Mapping[str, int]:
    return {"memories": memories.forget_learnt_from(people, agent_id=agent_id, room_id=room_id)}


def _unlink_replies(subject: Subject) -> Mapping[str, int]:
    """Let answers to the person stay in rooms that stay, as answers to nobody; `sweeping` cuts them."""
    answers = Message.objects.filter(
        person__in=subject.people, direction=Message.Direction.OUT, room__in=subject.shared_rooms
    )
    ids = list(answers.order_by().values_list("pk", flat=True)[:BATCH])
    unlinked = Message.objects.filter(pk__in=ids).update(person=None, turn=None, reply_to_external_id="")
    return {"replies_unlinked": unlinked}


def _forget(model: type[Message] | type[Turn] | type[Participant], whose: Q) -> Mapping[str, int]:
    return _deleted(model, model._default_manager.filter(whose).order_by())


def _deleted(model: type[Any], rows: Any) -> Mapping[str, int]:
    ids = list(rows.values_list("pk", flat=True)[:BATCH])
    if not ids:
        return {}
    _total, gone = model._default_manager.filter(pk__in=ids).delete()
    return {KINDS.get(label, label.split(".")[1].lower() + "s"): count for label, count in gone.items()}
