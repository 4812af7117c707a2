"""The second stage: hears all that the person said, and keeps the hashes of its pieces, not the words."""

from __future__ import annotations

from collections.abc import Iterator

from django.db.models import Q

from agents.forgetting.holding import Hold
from agents.forgetting.pieces import Pieces, keys_of
from agents.forgetting.places import agents_in, walk
from agents.forgetting.subject import subject_of
from agents.models import Forgetting, Message
from memory.forgetting import texts_about


def hear(forgetting: Forgetting, hold: Hold) -> None:
    """Add the pieces of what the person said to those that are known, who was there, and since when.

    Runs of words are kept of what was said in shared rooms alone: an agent repeats elsewhere what it heard there,
    and what it heard in private it says in private, where all of it goes.
    """
    pieces = Pieces(bytes(forgetting.pieces or b""))
    subject = subject_of(forgetting)
    for name in (*subject.names, *subject.marks, *texts_about(subject.people)):
        pieces.add(keys_of(name, has_runs=False))
    since = dict(subject.since)
    agents = sorted({*subject.agents, *agents_in(since)})
    said = Q(person__in=subject.people, direction=Message.Direction.IN)
    for room_id in (*subject.private_rooms, *since):
        is_shared = room_id in since
        for page in walk(room_id, agents, said, fields=("text", "attachments")):
            hold.tick()
            for message in page:
                if is_shared:
                    since[room_id] = min(since[room_id] or message.received_at, message.received_at)
                for text in _texts_of(message):
                    pieces.add(keys_of(text, has_runs=is_shared))
    with hold.batch():
        forgetting.pieces = pieces.stored()
        forgetting.agents = [str(id) for id in agents]
        forgetting.shared_rooms = {str(id): first.isoformat() if first else "" for id, first in since.items()}
        forgetting.save(update_fields=["pieces", "shared_rooms", "agents"])


def _texts_of(message: Message) -> Iterator[str]:
    yield message.text
    for attachment in message.attachments:
        yield from (str(value) for value in attachment.values())
