"""The verdict on a fault test: what was promised to senders, held against what the network showed and what is stored.

`judge` compares three witnesses: the messages that were acknowledged to their senders, the fake network's
ledger, and the rows of the database (`read_fates`). The fault tests and `manage.py drill` call it.
"""

from __future__ import annotations

import datetime as dt
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol
from uuid import UUID

from agents.models import Delivery, Turn
from transports.fake.ledger import Arrival


@dataclass(frozen=True, kw_only=True)
class Said:
    """A message that was acknowledged to its sender. Within a `conversation`, answers keep the messages' order."""

    external_id: str
    conversation: str


@dataclass(frozen=True, kw_only=True)
class Fate:
    """What the database knows of a message: its turn, and one reply with its delivery, each as far as there is one."""

    external_id: str
    turn_id: str | None = None
    state: str = ""
    outcome: str = ""
    error: str = ""
    reply_id: str | None = None
    position: int | None = None
    delivery_state: str = ""
    ended_at: dt.datetime | None = None


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of the messages. Each finding is a sentence that begins with the message's id.

    `lost` are acknowledged messages without a final state or without their answer, and innocent ones that
    became dead letters; `doubled` what a person saw twice; `uncertain` what may have been seen, and was not
    repeated; `undelivered` what the network refused, or what was held back as too late.
    Unit: `seconds_to_converge` from the end of the faults to the last final state; None where one is missing.
    """

    said: int
    received: int
    answered: int
    silent: int
    lost: tuple[str, ...] = ()
    doubled: tuple[str, ...] = ()
    out_of_order: tuple[str, ...] = ()
    uncertain: tuple[str, ...] = ()
    undelivered: tuple[str, ...] = ()
    dead_letters: tuple[str, ...] = ()
    seconds_to_converge: float | None = None

    @property
    def is_clean(self) -> bool:
        """Tell whether every promise was kept; what is uncertain is listed, and breaks none."""
        return not (self.lost or self.doubled or self.out_of_order or self.undelivered)

    def __str__(self) -> str:
        found = [
            f"{name.replace('_', ' ')}: {finding}"
            for name in ("lost", "doubled", "out_of_order", "undelivered", "uncertain", "dead_letters")
            for finding in getattr(self, name)
        ]
        heading = (
            f"{self.said} said, {self.received} received, {self.answered} answered, {self.silent} silent"
        )
        return "\n".join([heading, *found])


class Cursor(Protocol):
    """What `read_fates` needs of a cursor: Django's and psycopg's both have it."""

    def execute(self, query: Any, params: Any = None, /) -> Any:
        """Run a statement."""

    def fetchall(self) -> list[Any]:
        """Return all rows."""


FATES = """
SELECT message.external_id, turn.id::text, coalesce(turn.state, ''), coalesce(turn.outcome, ''),
       coalesce(turn.error, ''), reply.id::text, reply.position, coalesce(delivery.state, ''),
       greatest(turn.ended_at, CASE WHEN delivery.state NOT IN ('pending', 'sending')
                                    THEN delivery.next_run_at END)
FROM agents_message AS message
LEFT JOIN agents_turn AS turn ON turn.message_id = message.id
LEFT JOIN agents_message AS reply ON reply.turn_id = turn.id AND reply.direction = 'out'
LEFT JOIN agents_delivery AS delivery ON delivery.message_id = reply.id
WHERE message.direction = 'in' AND message.external_id = ANY(%(ids)s)
"""
"""A row a message and reply. A delivery's last `next_run_at` is when its end was recorded, by the database's
clock; `sent_at` is the network's word.
"""
OF_CONNECTIONS = " AND message.connection_id = ANY(%(connections)s)"
IN_ORDER = " ORDER BY turn.id, reply.position"


def read_fates(
    cursor: Cursor, external_ids: Iterable[str], *, connections: Sequence[UUID] | None = None
) -> list[Fate]:
    """Read what became of the messages with these ids of their networks.

    Named `connections` let an index find them, among however many other messages.
    """
    statement = FATES if connections is None else FATES + OF_CONNECTIONS
    cursor.execute(statement + IN_ORDER, {"ids": list(external_ids), "connections": connections})
    return [
        Fate(
            external_id=row[0],
            turn_id=row[1],
            state=row[2],
            outcome=row[3],
            error=row[4],
            reply_id=row[5],
            position=row[6],
            delivery_state=row[7],
            ended_at=row[8],
        )
        for row in cursor.fetchall()
    ]


def find_open(said: Sequence[Said], fates: Sequence[Fate]) -> set[str]:
    """Return the messages that have no final state yet, or a reply that has none."""
    final = {fate.external_id for fate in fates if _is_final(fate)}
    unfinished = {fate.external_id for fate in fates if not _is_final(fate)}
    return {one.external_id for one in said if one.external_id not in final or one.external_id in unfinished}


def judge(
    said: Sequence[Said],
    arrivals: Sequence[Arrival],
    fates: Sequence[Fate],
    *,
    guilty: Collection[str] = (),
    faults_ended_at: dt.datetime | None = None,
) -> Verdict:
    """Compare what was acknowledged with what was shown and what is stored.

    `said` stands in the order in which each conversation's messages were said; the ids in `guilty` are of
    messages that are meant to become dead letters.
    """
    by_message: dict[str, list[Fate]] = defaultdict(list)
    for fate in fates:
        by_message[fate.external_id].append(fate)
    shown = [arrival for arrival in arrivals if arrival.is_shown]
    times_shown = Counter(arrival.message for arrival in shown)
    found = _Findings(times_shown)
    for one in said:
        found.look_at(one.external_id, by_message[one.external_id], is_guilty=one.external_id in guilty)
    return Verdict(
        said=len(said),
        received=sum(bool(by_message[one.external_id]) for one in said),
        answered=found.answered,
        silent=found.silent,
        lost=tuple(found.lost),
        doubled=(*found.doubled, *_shown_twice(said, shown, fates)),
        out_of_order=tuple(_inversions(said, shown, fates)),
        uncertain=tuple(found.uncertain),
        undelivered=tuple(found.undelivered),
        dead_letters=tuple(found.dead),
        seconds_to_converge=_seconds(fates, faults_ended_at) if not find_open(said, fates) else None,
    )


class _Findings:
    """What is found of single messages."""

    def __init__(self, times_shown: Mapping[str, int]) -> None:
        self._times_shown = times_shown
        self.answered = self.silent = 0
        self.lost: list[str] = []
        self.doubled: list[str] = []
        self.uncertain: list[str] = []
        self.undelivered: list[str] = []
        self.dead: list[str] = []

    def look_at(self, name: str, fates: Sequence[Fate], *, is_guilty: bool) -> None:
        """Find out what became of one message."""
        turns = {fate.turn_id for fate in fates if fate.turn_id}
        if not turns:
            self.lost.append(f"{name} is stored without a turn" if fates else f"{name} is not stored")
            return
        if len(turns) > 1:
            self.doubled.append(f"{name} was worked as {len(turns)} turns")
        turn = fates[0]
        if turn.state in Turn.OPEN_STATES:
            self.lost.append(f"{name} is still {turn.state}")
            return
        if turn.state == Turn.State.DEAD:
            self.dead.append(f"{name} became a dead letter: {turn.error}")
            if not is_guilty:
                self.lost.append(f"{name} became a dead letter without being at fault")
        self._look_at_replies(name, turn, [fate for fate in fates if fate.reply_id is not None])

    def _look_at_replies(self, name: str, turn: Fate, replies: Sequence[Fate]) -> None:
        if not replies:
            if turn.outcome == Turn.Outcome.REPLIED:
                self.lost.append(f"{name} ended as replied, without a reply")
            else:
                self.silent += 1
            return
        for reply in replies:
            times = self._times_shown.get(reply.reply_id or "", 0)
            match reply.delivery_state:
                case Delivery.State.SENT if not times:
                    self.lost.append(f"{name} has a reply that is marked as sent, and was never shown")
                case Delivery.State.SENT:
                    pass
                case Delivery.State.UNCERTAIN:
                    word = "was shown" if times else "was not shown"
                    self.uncertain.append(f"{name} has an uncertain reply, which {word}")
                case Delivery.State.FAILED | Delivery.State.EXPIRED:
                    self.undelivered.append(f"{name} has a reply that {reply.delivery_state}")
                case _:
                    self.lost.append(f"{name} has a reply that is still {reply.delivery_state or 'nowhere'}")
        is_answered = all(self._times_shown.get(reply.reply_id or "", 0) for reply in replies)
        self.answered += is_answered and turn.state != Turn.State.DEAD


def _shown_twice(said: Sequence[Said], shown: Sequence[Arrival], fates: Sequence[Fate]) -> list[str]:
    """Find what a person saw more than once, or saw of a turn that the database knows nothing of."""
    names = {one.external_id for one in said}
    inbound = {fate.reply_id: fate.external_id for fate in fates if fate.reply_id}
    counts = Counter(arrival.message for arrival in shown if inbound.get(arrival.message) in names)
    twice = [
        f"{inbound[message]} has a reply that was shown {count} times"
        for message, count in counts.items()
        if count > 1
    ]
    unknown = [
        f"{arrival.reply_to} was answered by a message that is not stored"
        for arrival in shown
        if arrival.reply_to in names and arrival.message not in inbound
    ]
    return twice + unknown


def _inversions(said: Sequence[Said], shown: Sequence[Arrival], fates: Sequence[Fate]) -> list[str]:
    """Find replies that a person saw after the reply to something that they had said later."""
    places = {one.external_id: place for place, one in enumerate(said)}
    conversations = {one.external_id: one.conversation for one in said}
    replies = {fate.reply_id: fate for fate in fates if fate.reply_id and fate.external_id in places}
    last: dict[str, tuple[int, int]] = {}
    found, seen = [], set()
    for arrival in shown:
        reply = replies.get(arrival.message)
        if reply is None or arrival.message in seen:
            continue
        seen.add(arrival.message)
        conversation = conversations[reply.external_id]
        place = places[reply.external_id], reply.position or 0
        earlier = last.get(conversation)
        if earlier is not None and place < earlier:
            found.append(f"{reply.external_id} was answered after {said[earlier[0]].external_id}")
        else:
            last[conversation] = place
    return found


def _seconds(fates: Sequence[Fate], faults_ended_at: dt.datetime | None) -> float | None:
    ended = [fate.ended_at for fate in fates if fate.ended_at is not None]
    if faults_ended_at is None or not ended:
        return None
    return max(0.0, (max(ended) - faults_ended_at).total_seconds())


def _is_final(fate: Fate) -> bool:
    is_turn_over = fate.turn_id is not None and fate.state not in Turn.OPEN_STATES
    return is_turn_over and (fate.reply_id is None or fate.delivery_state not in {"", *Delivery.OPEN_STATES})
