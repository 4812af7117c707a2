"""The sections of an export about what was said: rooms, messages with their replies, turns with their traces.

In a room that others are in, a trace has their words too: prompts are the room's last messages and what is
remembered of it. Of those only the lines that the person said are exported; of the others it is said how long they
were.
"""

from __future__ import annotations

from collections import OrderedDict, defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from hashlib import sha256
from typing import Any
from uuid import UUID

from django.db.models import Q, QuerySet

from agents.exports.subjects import Subject
from agents.models import Approval, Message, ModelCall, Participant, Step, Turn
from plugins.quotations import name_of

CHUNK = 200
ROOMS_IN_MIND, LINES_IN_MIND = 1000, 64
"""Of so many rooms, and so many lines of each, it is known that the person said them: a prompt has the last ones."""

Row = dict[str, Any]


def rooms(subject: Subject) -> Iterator[Row]:
    """Yield the rooms that the person was in."""
    rows = Participant.objects.filter(person__in=subject.ids).select_related("room").order_by("pk")
    for participant in rows.iterator(chunk_size=CHUNK):
        room = participant.room
        yield {
            "id": str(room.pk),
            "platform": room.platform,
            "external_id": room.external_id,
            "type": room.type,
            "name": room.name,
            "is_private": room.pk in subject.private_rooms,
            "joined_at": participant.created_at,
            "state": participant.state,
        }


def messages(subject: Subject) -> Iterator[Row]:
    """Yield what the person said, in the order of its arrival, with the replies to it."""
    said = Message.objects.filter(person__in=subject.ids, direction=Message.Direction.IN).order_by("pk")
    for page in _pages(said.values(*_OF_MESSAGE)):
        caused = Turn.objects.filter(message__in=[row["pk"] for row in page])
        turns = dict(caused.values_list("message", "pk"))
        replies = _replies_of(turns.values())
        for row in page:
            is_private = row["room"] in subject.private_rooms
            turn_id = turns.get(row["pk"])
            yield {
                "id": str(row["pk"]),
                "agent": row["agent__slug"],
                "room": str(row["room"]),
                **{name: row[name] for name in _AS_IT_IS},
                "platform_data": row["platform_data"] if is_private else None,
                "turn": str(turn_id) if turn_id else None,
                "replies": [_reply(reply, is_private=is_private) for reply in replies[turn_id]],
            }


_AS_IT_IS = ("text", "attachments", "external_id", "is_addressed", "is_verified", "said_at", "received_at")
_OF_MESSAGE = ("pk", "agent__slug", "room", "platform_data", *_AS_IT_IS)
_OF_DELIVERY = ("state", "attempts", "created_at", "sent_at", "answer", "error")
_OF_REPLY = ("pk", "turn", "text", "attachments", "said_at", *(f"delivery__{name}" for name in _OF_DELIVERY))


def _pages(rows: QuerySet[Any, Row]) -> Iterator[list[Row]]:
    """Yield the rows CHUNK at a time, as they are read.

    Dictionaries, not objects: those that were prefetched refer to each other in circles, and stay for long.
    """
    page: list[Row] = []
    for row in rows.iterator(chunk_size=CHUNK):
        page.append(row)
        if len(page) == CHUNK:
            yield page
            page = []
    if page:
        yield page


def _replies_of(turn_ids: Iterable[UUID]) -> defaultdict[UUID | None, list[Row]]:
    found: defaultdict[UUID | None, list[Row]] = defaultdict(list)
    rows = Message.objects.filter(turn__in=list(turn_ids)).order_by("position")
    for reply in rows.values(*_OF_REPLY):
        found[reply["turn"]].append(reply)
    return found


def unasked(subject: Subject) -> Iterator[Row]:
    """Yield what agents said to the person, or in rooms that are theirs alone, without being asked."""
    said = Message.objects.filter(turn=None, direction=Message.Direction.OUT)
    rows = said.filter(Q(person__in=subject.ids) | Q(room__in=subject.private_rooms)).order_by("pk")
    for page in _pages(rows.values("agent__slug", "room", *_OF_REPLY)):
        for row in page:
            place = {"agent": row["agent__slug"], "room": str(row["room"])}
            yield {**place, **_reply(row, is_private=row["room"] in subject.private_rooms)}


def _reply(reply: Row, *, is_private: bool) -> Row:
    delivery = {name: reply[f"delivery__{name}"] for name in _OF_DELIVERY}
    if not is_private and delivery["state"]:
        delivery |= {"answer": {}, "error": _kind_of(delivery["error"])}
    return {
        "id": str(reply["pk"]),
        "text": reply["text"],
        "attachments": reply["attachments"],
        "said_at": reply["said_at"],
        "delivery": delivery if delivery["state"] else None,
    }


_OF_TURN = ("state", "outcome", "error", "received_at", "started_at", "ended_at")
_OF_STEP = ("name", "state", "input", "output", "milliseconds", "error", "created_at")
_OF_CALL = (
    "purpose",
    "provider",
    "model",
    "prompt",
    "answer",
    "parse_path",
    "finish_reason",
    "input_tokens",
    "output_tokens",
    "cost",
    "milliseconds",
    "first_token_milliseconds",
    "error",
    "created_at",
)
_OF_APPROVAL = (
    "action",
    "plugin",
    "arguments",
    "kind",
    "state",
    "requested_at",
    "expires_at",
    "decided_at",
    "used_at",
    "reason",
)


def turns(subject: Subject) -> Iterator[Row]:
    """Yield the work on what the person said, step by step."""
    heard = _Heard(subject)
    rows = Turn.objects.filter(person__in=subject.ids).order_by("pk")
    fields = ("pk", "message", "message__text", "agent__slug", "room", "take_count", *_OF_TURN)
    for page in _pages(rows.values(*fields)):
        ids = [row["pk"] for row in page]
        steps = _parts(Step.objects.order_by("position"), ids, _OF_STEP)
        calls = _parts(ModelCall.objects.order_by("position"), ids, _OF_CALL)
        approvals = _parts(Approval.objects.order_by("pk"), ids, _OF_APPROVAL)
        for row in page:
            is_private = row["room"] in subject.private_rooms
            heard.hear(row)
            turn = {
                "id": str(row["pk"]),
                "message": str(row["message"]) if row["message"] else None,
                "agent": row["agent__slug"],
                "room": str(row["room"]),
                "attempts": row["take_count"],
                **{name: row[name] for name in _OF_TURN},
                "steps": steps[row["pk"]],
                "model_calls": [
                    {**call, "prompt": heard.prompt(row["room"], call["prompt"], is_private=is_private)}
                    for call in calls[row["pk"]]
                ],
                "approvals": approvals[row["pk"]],
            }
            yield turn if is_private else _without_others(turn)


def _parts(rows: QuerySet[Any], turn_ids: list[UUID], fields: Sequence[str]) -> defaultdict[UUID, list[Row]]:
    found: defaultdict[UUID, list[Row]] = defaultdict(list)
    for part in rows.filter(turn__in=turn_ids).values("turn", *fields):
        found[part.pop("turn")].append(part)
    return found


def _without_others(turn: Row) -> Row:
    """Return the turn without what may be others': what was recalled, and errors, which may quote what was said."""
    for part in (turn, *turn["steps"], *turn["model_calls"]):
        part["error"] = _kind_of(part["error"])
    for step in turn["steps"]:
        if step["name"] == "recall":
            step["output"] = {"memories": len(step["output"].get("memories", ()))}
    return turn


def _kind_of(error: str) -> str:
    return error.partition(":")[0]


class _Heard:
    """Knows the person's last lines in each room, by their hashes, while turns go by in the order of their arrival."""

    def __init__(self, subject: Subject) -> None:
        self._names = [name_of(name) for name in subject.names]
        self._lines: OrderedDict[UUID, deque[bytes]] = OrderedDict()

    def hear(self, turn: Row) -> None:
        """Know what this turn answers for the person's."""
        lines = self._lines.setdefault(turn["room"], deque(maxlen=LINES_IN_MIND))
        self._lines.move_to_end(turn["room"])
        while len(self._lines) > ROOMS_IN_MIND:
            self._lines.popitem(last=False)
        lines += [_digest(f"{name}: {turn['message__text']}") for name in self._names]

    def prompt(self, room_id: UUID, lines: list[Row], *, is_private: bool) -> list[Row]:
        """Return the prompt, in rooms of others with the person's own lines alone."""
        known = set(self._lines.get(room_id, ()))
        return [
            {"role": line["role"], "content": line["content"]}
            if is_private or (line["role"] == "user" and _digest(line["content"]) in known)
            else {"role": line["role"], "content": None, "withheld_characters": len(line["content"])}
            for line in lines
        ]


def _digest(line: str) -> bytes:
    return sha256(line.encode("utf-8", "replace")).digest()
