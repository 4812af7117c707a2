"""The stream of a room: written in Valkey, and never in a turn's way."""

from __future__ import annotations

import json
import socket
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
from structlog.testing import capture_logs

from agents import streams, work
from agents.inbox import receive
from agents.streams import StreamEvent, TurnStream, put_event, room_stream_key
from transports.models import Connection


@pytest.fixture(autouse=True)
def _fresh_client() -> Iterator[None]:
    streams.client.cache_clear()
    yield
    streams.client.cache_clear()


def entries(room_id: uuid.UUID) -> list[dict[str, str]]:
    return [fields for _id, fields in streams.client().xrange(room_stream_key(room_id))]


def test_pieces_are_joined_and_keep_their_order_lease_and_index() -> None:
    room, turn = uuid.uuid4(), uuid.uuid4()
    stream = TurnStream(room_id=room, turn_id=turn, message_id=None, lease_token=7)
    for piece in ("one ", "two ", "three"):
        stream.token(piece)
    stream.flush()
    stream.put(StreamEvent.DONE, {})
    written = entries(room)
    tokens = [entry for entry in written if entry["event"] == "token"]
    assert "".join(json.loads(entry["data"])["text"] for entry in tokens) == "one two three"
    assert [int(entry["index"]) for entry in written] == list(range(1, len(written) + 1))
    assert {entry["token"] for entry in written} == {"7"}
    assert streams.client().ttl(room_stream_key(room)) > 0


def test_a_network_without_streaming_writes_nothing() -> None:
    room = uuid.uuid4()
    stream = TurnStream(room_id=room, turn_id=uuid.uuid4(), message_id=None, lease_token=1, is_on=False)
    stream.token("secret")
    stream.flush()
    stream.put(StreamEvent.DONE, {})
    assert entries(room) == []


def test_a_valkey_that_is_away_is_logged_and_forgotten(settings: Any) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:9/0"
    streams.client.cache_clear()
    with capture_logs() as lines:
        put_event(uuid.uuid4(), StreamEvent.REPLY, {"text": "hello"})
        put_event(uuid.uuid4(), StreamEvent.REPLY, {"text": "hello"})
    assert [line["event"] for line in lines] == ["stream_not_written"], "once, and then it is left alone"


def test_a_valkey_that_hangs_is_waited_for_once_and_then_left_alone(settings: Any) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        settings.REDIS_URL = f"redis://127.0.0.1:{silent.getsockname()[1]}/0"
        streams.client.cache_clear()
        put_event(uuid.uuid4(), StreamEvent.REPLY, {"text": "hello"})
        first, _address = silent.accept()
        for _event in range(20):
            put_event(uuid.uuid4(), StreamEvent.REPLY, {"text": "hello"})
        first.close()
        silent.settimeout(0.1)
        with pytest.raises(TimeoutError):
            silent.accept()


def test_a_turn_that_is_taken_again_resets_the_page(
    connection: Connection, incoming: Any, model: Any
) -> None:
    from agents import lanes
    from agents.models import Lane

    Connection.objects.update(supports_streaming=True)
    receipt = receive(incoming())
    lanes.claim(receipt.lane_id)
    Lane.objects.update(lease_until=None)
    work.drain_lane(receipt.lane_id)
    names = [entry["event"] for entry in entries(receipt.room_id)]
    assert names[0] == "reset"
    assert "token" in names
