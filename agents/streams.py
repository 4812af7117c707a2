"""What happens in a room while it happens: one Valkey stream a room, read by pages and API clients.

The pipeline writes tokens and actions, the web transport writes replies. Nothing depends on it: a stream that
can't be written is logged and forgotten, and the finished reply is always in PostgreSQL. A server that hangs
costs a turn, or whoever posts a message, one short wait; then it is left alone for a while (`agents.circuits`).

Each entry has the fields `event`, `turn`, `message` (the one that is answered), `token` (the lease's token),
`index` (within the turn and lease) and `data` (JSON). A reader drops what carries an older token than it has
seen for that turn.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from typing import Any
from uuid import UUID

import redis
import structlog
from django.conf import settings
from redis.backoff import NoBackoff
from redis.retry import Retry

from agents.circuits import cache_circuit
from agents.local_streams import LocalStreams

log = structlog.get_logger(__name__)

STREAM_LENGTH = 4000
STREAM_EXPIRES_AFTER_SECONDS = 3600
WRITE_TIMEOUT_SECONDS = 0.5
TOKEN_INTERVAL_SECONDS = 0.05
"""Pieces of text are joined for so long before they are written: a person sees no difference."""


class StreamEvent(StrEnum):
    """The names of the events, as server-sent events carry them."""

    MESSAGE = "message"
    TOKEN = "token"  # noqa: S105
    ACTION = "action"
    RESET = "reset"
    REPLY = "reply"
    ERROR = "error"
    DONE = "done"


_OUTWARD = frozenset({StreamEvent.TOKEN, StreamEvent.ACTION})


def room_stream_key(room_id: UUID | str) -> str:
    """Return the key of a room's stream."""
    return f"eliza:room:{room_id}"


@lru_cache(maxsize=1)
def client() -> redis.Redis | LocalStreams:
    """Return the process' client; short limits and no second try, as nobody waits for a stream."""
    if settings.EPHEMERAL:
        return LocalStreams()
    return redis.Redis.from_url(
        settings.REDIS_URL,
        socket_timeout=WRITE_TIMEOUT_SECONDS,
        socket_connect_timeout=WRITE_TIMEOUT_SECONDS,
        decode_responses=True,
        retry=Retry(NoBackoff(), 0),
    )


class TurnStream:
    """Writes one turn's events to its room's stream; silent where `is_on` is False.

    Unit: tokens are joined for TOKEN_INTERVAL_SECONDS.
    """

    def __init__(
        self, *, room_id: UUID, turn_id: UUID, message_id: UUID | None, lease_token: int, is_on: bool = True
    ) -> None:
        self._key = room_stream_key(room_id)
        self._head = {"turn": str(turn_id), "message": str(message_id or ""), "token": str(lease_token)}
        self._is_on = is_on
        self._index = 0
        self._text: list[str] = []
        self._written_at = time.monotonic()
        self._may_speak: Callable[[], bool] | None = None
        self.has_written = False

    def ask_before_speaking(self, may_speak: Callable[[], bool]) -> None:
        """Ask from now on whether words and actions may still be shown; those of an earlier attempt were."""
        self._may_speak = may_speak
        if self.has_written:
            may_speak()

    def token(self, text: str) -> None:
        """Add a piece of the answer's text."""
        if not self._is_on:
            return
        self._text.append(text)
        if time.monotonic() - self._written_at >= TOKEN_INTERVAL_SECONDS:
            self.flush()

    def flush(self) -> None:
        """Write what was held back."""
        if self._text:
            text = "".join(self._text)
            self._text.clear()
            self.put(StreamEvent.TOKEN, {"text": text})

    def put(self, event: StreamEvent, data: Mapping[str, Any]) -> None:
        """Write one event at once."""
        if not self._is_on:
            return
        if event in _OUTWARD and self._may_speak is not None and not self._may_speak():
            return
        self._index += 1
        self._written_at = time.monotonic()
        self.has_written = True
        entry = {**self._head, "event": event.value, "index": str(self._index), "data": json.dumps(data)}
        _write(self._key, entry)


def put_event(
    room_id: UUID,
    event: StreamEvent,
    data: Mapping[str, Any],
    *,
    turn_id: UUID | None = None,
    message_id: UUID | None = None,
) -> None:
    """Write one event that belongs to no lease: a message that came in, a reply that is final."""
    put_events(room_id, [(event, data)], turn_id=turn_id, message_id=message_id)


def put_events(
    room_id: UUID,
    events: Sequence[tuple[StreamEvent, Mapping[str, Any]]],
    *,
    turn_id: UUID | None = None,
    message_id: UUID | None = None,
) -> None:
    """Write events that belong to no lease, together and in this order."""
    entries = [
        {
            "turn": str(turn_id or ""),
            "message": str(message_id or ""),
            "token": "",
            "event": event.value,
            "index": "0",
            "data": json.dumps(data),
        }
        for event, data in events
    ]
    _write(room_stream_key(room_id), *entries)


def forget_room(room_id: UUID) -> None:
    """Forget all that happened in a room."""
    try:
        client().delete(room_stream_key(room_id))
    except redis.RedisError as error:
        log.warning("stream_not_forgotten", room=str(room_id), error=error)


def _write(key: str, *entries: Mapping[str, str]) -> None:
    circuit = cache_circuit()
    if not circuit.may_try():
        return
    try:
        with client().pipeline(transaction=False) as pipe:
            for entry in entries:
                pipe.xadd(key, dict(entry), maxlen=STREAM_LENGTH, approximate=True)  # type: ignore[arg-type]
            pipe.expire(key, STREAM_EXPIRES_AFTER_SECONDS)
            pipe.execute()
    except (redis.RedisError, OSError) as error:
        circuit.fail()
        log.warning("stream_not_written", stream=key, error=error)
    else:
        circuit.succeed()
