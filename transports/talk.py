"""Speaks to an agent from the terminal, by the way that every message takes. The command `talk` calls it."""

from __future__ import annotations

import datetime as dt
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, cast
from uuid import UUID

import redis
from uuid_utils.compat import uuid7

from agents import inbox, streams
from agents.cleaning import clean_words
from agents.envelopes import Incoming, IncomingPerson, IncomingRoom, Receipt
from agents.models import Agent, Room
from agents.outcomes import EndedTurn, ended_turns
from agents.streams import StreamEvent
from transports.connections import terminal_connection

LOOK_PERIOD_SECONDS = 0.1
OnToken = Callable[[str | None], None]
"""Is given each piece of text as it comes, and None where the answer begins anew."""


class NotSaid(Exception):
    """The message was not taken; the text says why."""


class NoAnswer(Exception):
    """The turn was not over in time. The message is kept, and may be answered yet."""

    def __init__(self, turn_id: UUID, seconds: float) -> None:
        super().__init__(f"No answer within {seconds:g} seconds (turn {turn_id}).")
        self.turn_id = turn_id


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What became of the message."""

    receipt: Receipt
    turn: EndedTurn

    @property
    def text(self) -> str:
        """Return all that was said, part by part."""
        return "\n\n".join(reply.text for reply in self.turn.replies)

    @property
    def seconds(self) -> float | None:
        """Return how long it took from receipt to the last acknowledgement; None where nothing was said."""
        times = [reply.replied_at for reply in self.turn.replies if reply.replied_at]
        return (max(times) - self.turn.received_at).total_seconds() if times else None


def talk(
    agent: Agent, text: str, *, person: str, room: str, timeout_seconds: float, on_token: OnToken | None
) -> Answer:
    """Say the text to the agent and wait for what becomes of it; `on_token` is given the words as they come.

    Without a `room`, they speak in the person's own chat with the agent; a named room is a group.
    Raises: NotSaid, NoAnswer.
    """
    if agent.status == Agent.Status.PAUSED:
        raise NotSaid(f"{agent.name} is paused: start it in the admin, under Agents.")
    connection = terminal_connection(agent)
    # These names are the ids of a network that is our own: one person, however a keyboard sends the accents.
    person, room = clean_words(person), clean_words(room)
    place = IncomingRoom(external_id=f"{agent.pk}/{person}", type=Room.Type.DM.value)
    if room:
        place = IncomingRoom(external_id=room, type=Room.Type.GROUP.value, name=room)
    message = Incoming(
        connection_id=connection.pk,
        external_id=str(uuid7()),
        room=place,
        person=IncomingPerson(external_id=person, name=person, username=person),
        text=text,
        said_at=dt.datetime.now(dt.UTC),
        is_addressed=True,
    )
    try:
        receipt = inbox.receive(message, is_limited=False)
    except inbox.Refused as error:
        raise NotSaid(str(error)) from error
    return Answer(receipt=receipt, turn=_wait(receipt, timeout_seconds, on_token))


def _wait(receipt: Receipt, seconds: float, on_token: OnToken | None) -> EndedTurn:
    assert receipt.turn_id is not None
    listener = _Listener(receipt, on_token) if on_token is not None else None
    deadline = time.monotonic() + seconds
    while True:
        ended = ended_turns([receipt.turn_id])
        if listener is not None:
            listener.listen(0.0 if ended else LOOK_PERIOD_SECONDS)
        elif not ended:
            time.sleep(LOOK_PERIOD_SECONDS)
        if ended:
            return ended[0]
        if time.monotonic() > deadline:
            raise NoAnswer(receipt.turn_id, seconds)


class _Listener:
    """Hears the tokens of one turn on its room's stream; where the stream is away, nothing is lost."""

    def __init__(self, receipt: Receipt, on_token: OnToken) -> None:
        self._key = streams.room_stream_key(receipt.room_id)
        self._turn = str(receipt.turn_id)
        self._on_token = on_token
        # The stream's ids are milliseconds; whatever is older belongs to an earlier turn.
        self._after = f"{int((time.time() - 60) * 1000)}-0"

    def listen(self, seconds: float) -> None:
        started = time.monotonic()
        try:
            found = streams.client().xread(
                {self._key: self._after}, count=500, block=max(1, int(seconds * 1000))
            )
        except redis.RedisError:
            found = []
        for _key, entries in cast("list[tuple[str, list[tuple[str, dict[str, Any]]]]]", found or []):
            for entry_id, fields in entries:
                self._after = entry_id
                self._hear(fields)
        # An answer that comes at once, as for other turns of the room, must not make this a busy loop.
        time.sleep(max(0.0, min(seconds, 0.02) - (time.monotonic() - started)))

    def _hear(self, fields: dict[str, Any]) -> None:
        if fields.get("turn") != self._turn:
            return
        if fields.get("event") == StreamEvent.RESET:
            self._on_token(None)
        elif fields.get("event") == StreamEvent.TOKEN:
            self._on_token(json.loads(fields["data"])["text"])
