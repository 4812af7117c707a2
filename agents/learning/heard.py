"""What a look at a conversation sees: the messages of people, the agent's replies, and who is in the room.

`agents.learning.reflection` reads it, in three statements.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection

from agents.claims import SELECT_TAKEN, ClaimedTurn, take_turn_by
from agents.learning.own_people import PLATFORM, own_person_id
from agents.tokens import count_tokens
from memory.conversations import Look
from memory.episodes import Heard
from memory.facts import Place
from memory.memories import scope_for
from plugins.api import MessageView, PersonView
from plugins.learning import LINE_CHARACTERS

OTHER_TOKENS = 1600
"""What of PROMPT_MAX_TOKENS is left to a look's instruction, people and known facts."""
LEAST_TOKENS = 200
MOST_PEOPLE = 200

READ_TURN = (
    """
WITH taken AS (
    SELECT turn.* FROM agents_turn AS turn
    WHERE turn.cause_kind = 'message' AND turn.cause_id = ANY(%(messages)s::uuid[])
    ORDER BY array_position(%(messages)s::uuid[], turn.cause_id) DESC LIMIT 1
), held AS (
    SELECT taken.lane_id AS id, -1::bigint AS lease_token, lane.bucket_count
    FROM taken JOIN agents_lane AS lane ON lane.id = taken.lane_id
)
"""
    + SELECT_TAKEN
)
"""Reads the last turn of a look, which its trace belongs to. No lane is held by it, as the turn has ended."""

READ_MESSAGES = """
WITH given AS (
    SELECT * FROM unnest(%(messages)s::uuid[]) WITH ORDINALITY AS given (id, place)
), heard AS (
    SELECT given.place, message.*, turn.id AS caused_id, turn.outcome
    FROM given JOIN agents_message AS message ON message.id = given.id
    LEFT JOIN agents_turn AS turn ON turn.cause_kind = 'message' AND turn.cause_id = given.id
)
SELECT said.place, said.id, said.is_reply, said.text, said.person_id, coalesce(person.name, ''), said.said_at,
       said.is_answered
FROM (
    SELECT place, id, false AS is_reply, text, person_id, said_at, received_at,
           outcome IN ('replied', 'collected') AS is_answered
    FROM heard
    UNION ALL
    SELECT heard.place, reply.id, true, reply.text, reply.person_id, reply.said_at, reply.received_at, false
    FROM heard JOIN agents_message AS reply ON reply.turn_id = heard.caused_id AND reply.direction = 'out'
) AS said
LEFT JOIN agents_person AS person ON person.id = said.person_id
ORDER BY said.received_at, said.id
"""

READ_PEOPLE = """
SELECT person.id, person.name, person.is_bot,
       (SELECT person_id FROM agents_account WHERE platform = %(own_platform)s AND external_id = %(agent)s)
FROM agents_participant AS participant JOIN agents_person AS person ON person.id = participant.person_id
WHERE participant.room_id = %(room)s
ORDER BY person.id = ANY(%(speakers)s::uuid[]) DESC, participant.id DESC LIMIT %(limit)s
"""


@dataclass(frozen=True, kw_only=True)
class Seen:
    """All that a look sees. `taken` counts those of its messages that found room; the rest wait for the next."""

    turn: ClaimedTurn
    place: Place
    own_person: PersonView
    messages: tuple[MessageView, ...] = ()
    people: tuple[PersonView, ...] = ()
    answered: dict[UUID, int] = field(default_factory=dict)
    heard: Heard = field(default_factory=Heard)
    taken: int = 0

    @property
    def person_ids(self) -> list[UUID]:
        """Return whom something can be learnt about."""
        return [person.id for person in self.people]


def read_turn(look: Look) -> ClaimedTurn | None:
    """Return the turn that the look's trace belongs to; None where all of its messages are gone."""
    ids = look.messages or (() if look.last_message is None else (look.last_message,))
    found = take_turn_by(READ_TURN, {"messages": list(ids)})
    return found[1] if found else None


def read_seen(look: Look, turn: ClaimedTurn, agent_name: str) -> Seen:
    """Read what the look sees, as much of it as a prompt has room for."""
    rows = _messages(look)
    kept, taken = _fitting(rows, len(look.messages))
    messages = tuple(row.view(agent_name) for row in kept)
    own, people, is_shared = _people(turn, messages, agent_name)
    said = [row for row in kept if not row.is_reply]
    answered = Counter(row.person_id for row in said if row.is_answered and row.person_id)
    return Seen(
        turn=turn,
        place=_place(turn, is_shared=is_shared),
        own_person=own,
        messages=messages,
        people=people,
        answered=dict(answered),
        heard=Heard(
            count=len(said),
            first=said[0].id if said else None,
            began_at=said[0].said_at if said else None,
            last=said[-1].id if said else look.last_message,
            ended_at=kept[-1].said_at if kept else turn.message_said_at,
            people=tuple(dict.fromkeys(row.person_id for row in said if row.person_id)),
        ),
        taken=taken,
    )


@dataclass(frozen=True, kw_only=True)
class _Row:
    place: int
    id: UUID
    is_reply: bool
    text: str
    person_id: UUID | None
    name: str
    said_at: dt.datetime
    is_answered: bool

    def view(self, agent_name: str) -> MessageView:
        return MessageView(
            id=self.id,
            text=self.text,
            speaker=agent_name if self.is_reply else self.name,
            person_id=None if self.is_reply else self.person_id,
            said_at=self.said_at,
        )


def _messages(look: Look) -> list[_Row]:
    if not look.messages:
        return []
    with connection.cursor() as cursor:
        cursor.execute(READ_MESSAGES, {"messages": list(look.messages)})
        names = ("place", "id", "is_reply", "text", "person_id", "name", "said_at", "is_answered")
        return [_Row(**dict(zip(names, row, strict=True))) for row in cursor.fetchall()]


def _fitting(rows: Sequence[_Row], given: int) -> tuple[list[_Row], int]:
    """Take the messages that fit, in the order in which they were heard, each with its replies; at least one."""
    budget = max(LEAST_TOKENS, settings.PROMPT_MAX_TOKENS - OTHER_TOKENS)
    costs: Counter[int] = Counter()
    for row in rows:
        costs[row.place] += count_tokens(row.text[:LINE_CHARACTERS]) + 8
    taken = 0
    for place in range(1, given + 1):
        budget -= costs[place]
        if budget < 0 and taken:
            break
        taken = place
    return [row for row in rows if row.place <= taken], taken


def _people(
    turn: ClaimedTurn, messages: Sequence[MessageView], agent_name: str
) -> tuple[PersonView, tuple[PersonView, ...], bool]:
    """Return the agent's own person, all who can be learnt of, and whether more than one human is there.

    They are the agent's own person, who spoke, and who was named of those who are in the room.
    """
    speakers = {message.person_id for message in messages if message.person_id}
    names: dict[str, Any] = {
        "room": turn.room_id,
        "speakers": list(speakers),
        "limit": MOST_PEOPLE,
        "own_platform": PLATFORM,
        "agent": str(turn.agent_id),
    }
    with connection.cursor() as cursor:
        cursor.execute(READ_PEOPLE, names)
        rows = cursor.fetchall()
    own_id = (rows[0][3] if rows else None) or own_person_id(turn.agent_id, agent_name)
    own = PersonView(id=own_id, name=agent_name, is_bot=True)
    there = [PersonView(id=id, name=name, is_bot=is_bot) for id, name, is_bot, _own in rows]
    words = " ".join(message.text for message in messages).casefold()
    spoken_of = [
        person
        for person in there
        if person.id != own_id and (person.id in speakers or _is_named(person.name, words))
    ]
    return own, (own, *spoken_of), sum(not person.is_bot for person in there) > 1


def _is_named(name: str, words: str) -> bool:
    return len(name) > 1 and name.casefold() in words


def _place(turn: ClaimedTurn, *, is_shared: bool) -> Place:
    """Return where what is learnt here may surface: as what was said here, and never beyond who heard it."""
    scope = scope_for(turn.room_type)
    if turn.person_id is None or is_shared:
        scope = "room"
    person_id = turn.person_id if scope == "person" else None
    return Place(agent_id=turn.agent_id, scope=scope, room_id=turn.room_id, person_id=person_id)
