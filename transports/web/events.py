"""Server-sent events: what happens in a room, read from its stream for one page or program.

The API's view makes a `Subscription` and returns `read_events(...)`, which runs on the event loop: no thread
and no database connection is held while nothing happens. Where the stream is away or silent the reader looks
into PostgreSQL, so that the finished reply always arrives.
"""

from __future__ import annotations

import asyncio
import datetime as dt
import json
import re
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from typing import Any, TypeVar
from uuid import UUID

import redis
import redis.asyncio
import structlog
from asgiref.sync import sync_to_async
from django.conf import settings
from django.db import DatabaseError, connection
from django.utils import timezone
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff

from agents import conversations
from agents.models import Message, Turn
from agents.streams import StreamEvent, room_stream_key
from transports.web import payloads

log = structlog.get_logger(__name__)

HEARTBEAT_SECONDS = 15.0
LOOK_AFTER_SILENCE_SECONDS = 5.0
POLL_SECONDS = 1.0
ENDING_SECONDS = 0.1
"""How soon to look again when `done` was announced and the database has not said so yet."""
STREAM_REST_SECONDS = 5.0
LASTS_SECONDS = 900.0
"""A reader ends after so long; it comes back by itself, and is asked anew who it is."""
REPLAY_SECONDS = 60.0
"""How far before a message's own time its events are looked for: the clocks of two servers differ."""
BATCH = 200

STREAM_ID = re.compile(r"[0-9]{1,20}-[0-9]{1,20}")
KNOWN_BEFORE = 200
"""How many entries a reader that comes back looks behind it, for the leases that it had seen."""
Result = TypeVar("Result")


@dataclass(frozen=True, kw_only=True)
class Subscription:
    """What a reader asked for: a room's events after a place in its stream, or one message's alone."""

    room_id: UUID
    after: str
    message_id: UUID | None = None
    turn_id: UUID | None = None


@dataclass(kw_only=True)
class _Progress:
    """What a reader has seen."""

    after: str
    written_at: float = field(default_factory=time.monotonic)
    has_looked: bool = False
    is_ending: bool = False
    knows_leases: bool = False
    lease_tokens: dict[str, int] = field(default_factory=dict)
    message_ids: set[str] = field(default_factory=set)


def stream_id_at(moment: dt.datetime) -> str:
    """Return the place in a stream that stands for a moment."""
    return f"{max(0, int(moment.timestamp() * 1000))}-0"


def server_sent_event(event: str, data: dict[str, Any], *, id_: str = "") -> bytes:
    """Return one event as it is written on the wire."""
    head = f"id: {id_}\n" if id_ else ""
    return f"{head}event: {event}\ndata: {json.dumps(data)}\n\n".encode()


async def read_events(subscription: Subscription) -> AsyncIterator[bytes]:
    """Yield the subscription's events as they come; with a message, until its turn is done."""
    progress = _Progress(after=subscription.after)
    ends_at = time.monotonic() + LASTS_SECONDS
    yield b"retry: 1000\n\n"
    client = redis.asyncio.Redis.from_url(
        settings.REDIS_URL,
        decode_responses=True,
        socket_connect_timeout=1.0,
        socket_timeout=LOOK_AFTER_SILENCE_SECONDS + 5.0,
        retry=Retry(NoBackoff(), 0),
        protocol=2,
    )
    try:
        while time.monotonic() < ends_at:
            async for chunk, is_done in _next_events(client, subscription, progress):
                progress.written_at = time.monotonic()
                yield chunk
                if is_done:
                    return
            if time.monotonic() - progress.written_at >= HEARTBEAT_SECONDS:
                progress.written_at = time.monotonic()
                yield b": still here\n\n"
    finally:
        await client.aclose()


Chunks = AsyncIterator[tuple[bytes, bool]]


async def _next_events(
    client: redis.asyncio.Redis, subscription: Subscription, progress: _Progress
) -> Chunks:
    """Yield what the stream brings next, and what the database knows where the stream is silent or away."""
    try:
        entries = await _read(client, subscription, progress)
    except (redis.RedisError, OSError) as error:
        log.warning("stream_not_read", room=str(subscription.room_id), error=error)
        rests_until = time.monotonic() + STREAM_REST_SECONDS
        while time.monotonic() < rests_until:
            async for chunk in _from_database(subscription, progress):
                yield chunk
            await asyncio.sleep(POLL_SECONDS)
        return
    for entry_id, entry in entries:
        progress.after = entry_id
        if not _is_wanted(entry, subscription, progress):
            continue
        if subscription.message_id is not None and entry["event"] == StreamEvent.DONE:
            progress.is_ending = True
            break
        yield server_sent_event(entry["event"], _data(entry, subscription), id_=entry_id), False
    else:
        if entries:
            return
    # A message's reader stands here after its `done`, and in every silence: the database has the last word.
    if subscription.message_id is not None:
        progress.has_looked = True
        async for chunk in _from_database(subscription, progress):
            yield chunk


async def _read(
    client: redis.asyncio.Redis, subscription: Subscription, progress: _Progress
) -> list[tuple[str, dict[str, str]]]:
    if not progress.knows_leases:
        await _learn_leases(client, subscription, progress)
    # A message's reader does not wait the first time: its turn may be over already.
    waits = progress.has_looked or subscription.message_id is None
    seconds = ENDING_SECONDS if progress.is_ending else LOOK_AFTER_SILENCE_SECONDS
    answer: Any = await client.xread(
        {room_stream_key(subscription.room_id): progress.after},
        count=BATCH,
        block=int(seconds * 1000) if waits else None,
    )
    entries: list[tuple[str, dict[str, str]]] = answer[0][1] if answer else []
    return entries


async def _learn_leases(client: redis.asyncio.Redis, subscription: Subscription, progress: _Progress) -> None:
    """Learn which leases stand before the reader's place, so that one who comes back knows what is stale."""
    earlier: Any = await client.xrevrange(
        room_stream_key(subscription.room_id), max=progress.after, count=KNOWN_BEFORE
    )
    for _entry_id, entry in reversed(earlier):
        _is_stale(entry, progress)
    progress.knows_leases = True


def _is_wanted(entry: dict[str, str], subscription: Subscription, progress: _Progress) -> bool:
    turn, event = entry.get("turn", ""), entry.get("event", "")
    if subscription.message_id is not None and not (
        (turn and turn == str(subscription.turn_id)) or entry.get("message") == str(subscription.message_id)
    ):
        return False
    if _is_stale(entry, progress):
        return False
    if event in (StreamEvent.REPLY, StreamEvent.MESSAGE):
        return _is_new(json.loads(entry["data"]).get("id", ""), progress)
    return True


def _is_stale(entry: dict[str, str], progress: _Progress) -> bool:
    """Tell whether a worker wrote this that had lost the turn by then; what belongs to no lease is never stale."""
    turn, token = entry.get("turn", ""), int(entry.get("token") or 0)
    if not turn or not token:
        return False
    is_stale = token < progress.lease_tokens.get(turn, 0)
    if not is_stale:
        progress.lease_tokens[turn] = token
    return is_stale


def _is_new(message_id: str, progress: _Progress) -> bool:
    if message_id in progress.message_ids:
        return False
    progress.message_ids.add(message_id)
    return True


def _data(entry: dict[str, str], subscription: Subscription) -> dict[str, Any]:
    """Return an entry's own data with the turn, the message and the lease that it belongs to."""
    data: dict[str, Any] = {"turn": entry["turn"], **json.loads(entry["data"])}
    if entry.get("token"):
        data |= {"lease_token": int(entry["token"]), "index": int(entry.get("index") or 0)}
    answered = entry.get("message") or str(subscription.message_id or "")
    if answered and entry["event"] != StreamEvent.MESSAGE:
        data.setdefault("in_reply_to", answered)
    return data


async def _from_database(subscription: Subscription, progress: _Progress) -> Chunks:
    """Yield what PostgreSQL knows and the reader has not seen; at a message's end its `done`."""
    try:
        if subscription.message_id is None:
            said, state = await _off_loop(_said_lately, subscription.room_id), ""
        else:
            said, state = await _off_loop(_outcome, subscription.message_id, subscription.turn_id)
    except DatabaseError as error:
        log.warning("events_not_read", room=str(subscription.room_id), error=error)
        return
    for event, data in said:
        if _is_new(data["id"], progress):
            yield server_sent_event(event, data), False
    if state:
        done = {
            "turn": str(subscription.turn_id or ""),
            "in_reply_to": str(subscription.message_id),
            "state": state,
        }
        yield server_sent_event(StreamEvent.DONE, done, id_=progress.after), True


async def _off_loop(question: Callable[..., Result], *arguments: Any) -> Result:
    """Ask the database on a thread, and give its connection back at once."""

    def ask() -> Result:
        try:
            return question(*arguments)
        finally:
            connection.close()

    return await sync_to_async(ask, thread_sensitive=False)()


Said = list[tuple[str, dict[str, Any]]]


def _outcome(message_id: UUID, turn_id: UUID | None) -> tuple[Said, str]:
    """Return what was said and the state in which the turn ended or was parked; no state while it is open."""
    turn = Turn.objects.filter(pk=turn_id).only("state").first() if turn_id else None
    if turn is None:
        return [], "gone"
    if turn.state in Turn.OPEN_STATES:
        return [], ""
    replies = [
        payloads.reply_event(
            message_id=reply.pk,
            text=reply.text,
            turn_id=turn.pk,
            in_reply_to=message_id,
            said_at=reply.received_at,
        )
        for reply in conversations.replies_of(turn.pk)
    ]
    return [(StreamEvent.REPLY, reply) for reply in replies], turn.state


def _said_lately(room_id: UUID) -> Said:
    since = timezone.now() - dt.timedelta(seconds=REPLAY_SECONDS)
    return [_event_of(said) for said in conversations.messages_since(room_id, since)]


def _event_of(said: conversations.Said) -> tuple[str, dict[str, Any]]:
    message = said.message
    if message.direction == Message.Direction.OUT:
        return StreamEvent.REPLY, payloads.reply_event(
            message_id=message.pk,
            text=message.text,
            turn_id=said.turn_id,
            in_reply_to=said.in_reply_to,
            said_at=message.received_at,
        )
    return StreamEvent.MESSAGE, payloads.message_event(
        message_id=message.pk,
        text=message.text,
        client_id=payloads.client_id_of(message.external_id),
        said_at=message.received_at,
    )
