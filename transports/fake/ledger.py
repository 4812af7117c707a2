"""The fake network's ledger: a file with a line for each attempt to send, in the order in which they came.

It is the truth of a fault test: what stands here as shown is what a person saw, whatever the database thinks.
The fake transports write it; `transports.verdicts` compares. Any number of processes share one file.
"""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Callable
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path

from django.utils import timezone

from agents.envelopes import Outgoing


class Answer(StrEnum):
    """What the network does with an attempt.

    `timeout` never reaches it; `lost_acknowledgement` does, though its sender sees a failure in both.
    """

    ACKNOWLEDGED = "acknowledged"
    SLOW = "slow"
    LOST_ACKNOWLEDGEMENT = "lost_acknowledgement"
    TEMPORARY = "temporary"
    PERMANENT = "permanent"
    TIMEOUT = "timeout"


TAKEN = frozenset({Answer.ACKNOWLEDGED, Answer.SLOW, Answer.LOST_ACKNOWLEDGEMENT})
"""The answers to attempts whose message the network has."""


@dataclass(frozen=True, kw_only=True)
class Arrival:
    """One attempt. `is_shown` is False where the network took nothing, or knew the nonce again."""

    at: str
    connection: str
    room: str
    message: str
    reply_to: str
    nonce: str
    attempt: int
    answer: str
    is_shown: bool

    @property
    def is_suppressed(self) -> bool:
        """Tell whether the network had this message already, and showed it no second time."""
        return self.answer in TAKEN and not self.is_shown


def note(
    path: Path,
    outgoing: Outgoing,
    *,
    connection: str,
    is_keyed: bool,
    choose: Callable[[int], Answer],
) -> Arrival:
    """Write an attempt down and return what became of it; `choose` is told which attempt of its message it is.

    With `is_keyed`, a message is shown once a nonce, however often it comes.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        earlier = _earlier(descriptor, outgoing.nonce)
        answer = choose(len(earlier) + 1)
        arrival = Arrival(
            at=timezone.now().isoformat(),
            connection=connection,
            room=outgoing.room_external_id,
            message=str(outgoing.message_id),
            reply_to=outgoing.reply_to_external_id,
            nonce=outgoing.nonce,
            attempt=len(earlier) + 1,
            answer=answer.value,
            is_shown=answer in TAKEN and not (is_keyed and any(one.is_shown for one in earlier)),
        )
        # One write, so that a process killed in it leaves a whole line or none.
        os.write(descriptor, (json.dumps(asdict(arrival)) + "\n").encode())
    finally:
        os.close(descriptor)
    return arrival


def read(path: Path) -> list[Arrival]:
    """Return all attempts in their order; none where no attempt was ever made."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError:
        return []
    return [Arrival(**json.loads(line)) for line in lines]


def _earlier(descriptor: int, nonce: str) -> list[Arrival]:
    """Find the earlier attempts of this message; only their lines are parsed."""
    written = os.pread(descriptor, os.fstat(descriptor).st_size, 0)
    key = json.dumps(nonce).encode()
    if key not in written:
        return []
    return [Arrival(**json.loads(line)) for line in written.splitlines() if key in line]
