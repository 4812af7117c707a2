"""What became of turns and of their replies: for whoever waits for answers, such as `ingest` and `talk`.

A look is one statement, over at most LOOK_SIZE turns: those that are over are told once, the others come to
the end of the line.
"""

from __future__ import annotations

import datetime as dt
from collections import deque
from dataclasses import dataclass
from itertools import groupby
from uuid import UUID

from django.db import connection

from agents.models import Delivery, Turn

LOOK_SIZE = 2000
DOUBLE_TEXTED = (Turn.Outcome.COLLECTED, Turn.Outcome.SUPERSEDED, Turn.Outcome.CONTROL)
"""A message that is answered with another one, gave way to a newer one, or was a "stop" that was obeyed."""


@dataclass(frozen=True, kw_only=True)
class Told:
    """One reply with its delivery. `replied_at` is when the network acknowledged, None where it never did."""

    text: str
    state: str
    replied_at: dt.datetime | None
    error: str


@dataclass(frozen=True, kw_only=True)
class EndedTurn:
    """A turn that is over, with its replies, which are all final; or that is parked, and may go on one day."""

    id: UUID
    state: str
    outcome: str
    error: str
    received_at: dt.datetime
    replies: tuple[Told, ...]

    @property
    def result(self) -> str:
        """Say what came of it: answered, silent, undelivered, apologised, or the state or outcome of its end."""
        if self.outcome in DOUBLE_TEXTED:
            return self.outcome
        if self.state == Turn.State.DEAD:
            return "apologised"
        if self.state in {Turn.State.STOPPED, Turn.State.DISCARDED, Turn.State.PARKED}:
            return self.state
        if not self.replies:
            return "silent"
        is_sent = all(reply.state == Delivery.State.SENT for reply in self.replies)
        return "answered" if is_sent else "undelivered"


ENDED = """
SELECT turn.id, turn.state, turn.outcome, turn.error, turn.received_at,
       message.text, delivery.state, delivery.sent_at, delivery.error
FROM agents_turn AS turn
LEFT JOIN agents_message AS message ON message.turn_id = turn.id AND message.direction = 'out'
LEFT JOIN agents_delivery AS delivery ON delivery.message_id = message.id
WHERE turn.id = ANY(%(turns)s) AND turn.state NOT IN ('waiting', 'running')
  AND NOT EXISTS (SELECT 1 FROM agents_message AS part
                  JOIN agents_delivery AS sending ON sending.message_id = part.id
                  WHERE part.turn_id = turn.id AND sending.state IN ('pending', 'sending'))
ORDER BY turn.id, message.position
"""
"""The turns that are over and whose deliveries are, with a row a reply. A parked one is told of: nobody knows
when its person decides."""


def ended_turns(turn_ids: list[UUID]) -> list[EndedTurn]:
    """Return those of the turns that are over, with all their deliveries."""
    with connection.cursor() as cursor:
        cursor.execute(ENDED, {"turns": turn_ids})
        rows = cursor.fetchall()
    return [
        EndedTurn(
            id=head[0],
            state=head[1],
            outcome=head[2],
            error=head[3],
            received_at=head[4],
            replies=tuple(
                Told(text=row[5], state=row[6], replied_at=row[7], error=row[8])
                for row in group
                if row[6] is not None
            ),
        )
        for head, group in groupby(rows, key=lambda row: row[:5])
    ]


class TurnWatch:
    """Turns that somebody waits for."""

    def __init__(self) -> None:
        self._open: deque[UUID] = deque()

    def __len__(self) -> int:
        return len(self._open)

    def add(self, turn_id: UUID) -> None:
        """Wait for this turn too."""
        self._open.append(turn_id)

    def look(self) -> list[EndedTurn]:
        """Return turns that are over, each once; no more than LOOK_SIZE are asked for at a time."""
        if not self._open:
            return []
        asked = [self._open.popleft() for _place in range(min(LOOK_SIZE, len(self._open)))]
        ended = ended_turns(asked)
        over = {turn.id for turn in ended}
        self._open.extend(turn_id for turn_id in asked if turn_id not in over)
        return ended
