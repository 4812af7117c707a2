"""Streams in this process do as Valkey's do, for what readers and writers ask of them."""

from __future__ import annotations

import threading
import time
from typing import Any
from uuid import uuid4

import pytest

from agents import streams
from agents.local_streams import LocalStreams


@pytest.fixture(params=["valkey", "local"])
def client(request: pytest.FixtureRequest) -> Any:
    return LocalStreams() if request.param == "local" else streams.client()


def write(client: Any, key: str, *words: str, most: int = 100) -> None:
    with client.pipeline(transaction=False) as pipe:
        for word in words:
            pipe.xadd(key, {"word": word}, maxlen=most, approximate=False)
        pipe.expire(key, 60)
        pipe.execute()


def words(found: Any) -> list[str]:
    return [fields["word"] for _key, entries in found or [] for _id, fields in entries]


def test_entries_come_in_their_order_after_an_id(client: Any) -> None:
    key = str(uuid4())
    write(client, key, "one", "two", "three")
    ((name, entries),) = client.xread({key: "0-0"}, count=2, block=1)
    assert (name, words([(name, entries)])) == (key, ["one", "two"])
    assert words(client.xread({key: entries[-1][0]}, count=9, block=1)) == ["three"]
    assert words(client.xread({key: entries[0][0], str(uuid4()): "0-0"}, count=9, block=1)) == [
        "two",
        "three",
    ]
    later = f"{int(time.time() * 1000) + 60_000}-0"
    assert words(client.xread({key: later}, count=9, block=1)) == []
    client.delete(key)
    assert words(client.xread({key: "0-0"}, count=9, block=1)) == []


def test_of_too_many_the_oldest_go(client: Any) -> None:
    key = str(uuid4())
    write(client, key, *map(str, range(30)), most=10)
    assert words(client.xread({key: "0-0"}, count=99, block=1)) == [str(n) for n in range(20, 30)]


def test_who_waits_is_woken_by_the_first_entry(client: Any) -> None:
    key = str(uuid4())
    found: list[list[str]] = []
    reader = threading.Thread(
        target=lambda: found.append(words(client.xread({key: "0-0"}, count=9, block=400)))
    )
    reader.start()
    write(client, key, "one")
    reader.join(timeout=5)
    assert found == [["one"]]


def test_an_ephemeral_process_has_streams_of_its_own(settings: Any) -> None:
    settings.EPHEMERAL = True
    streams.client.cache_clear()
    try:
        assert isinstance(streams.client(), LocalStreams)
        assert streams.client() is streams.client()
    finally:
        streams.client.cache_clear()
