"""The ASGI handler: one thread a request, none for a stream, bounded bodies."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest
from django.core import signals
from django.http import HttpRequest, HttpResponse, JsonResponse, StreamingHttpResponse
from django.urls import path

from eliza_site import threaded
from eliza_site.threaded import ThreadedHandler

left: list[str] = []


def echo(request: HttpRequest) -> HttpResponse:
    return JsonResponse({"body": request.body.decode(), "method": request.method})


def stream(request: HttpRequest) -> StreamingHttpResponse:
    async def words() -> AsyncIterator[bytes]:
        try:
            yield b"one "
            await asyncio.sleep(0.05)
            yield b"two"
            await asyncio.sleep(30 if "long" in request.GET else 0)
        finally:
            left.append("stream")

    return StreamingHttpResponse(words())


def plain_parts(request: HttpRequest) -> StreamingHttpResponse:
    return StreamingHttpResponse(iter([b"a", b"b"]), status=203, headers={"X-Part": "yes"})


def broken(request: HttpRequest) -> HttpResponse:
    raise RuntimeError("a defect")


urlpatterns = [path("echo", echo), path("stream", stream), path("parts", plain_parts), path("broken", broken)]


class Request:
    """One request by the ASGI protocol."""

    def __init__(self, handler: ThreadedHandler, target: str, body: tuple[bytes, ...] = (b"",)) -> None:
        where, _, query = target.partition("?")
        self.handler = handler
        self.scope = {
            "type": "http",
            "method": "POST",
            "path": where,
            "query_string": query.encode(),
            "headers": [(b"host", b"localhost")],
        }
        self.parts = list(body)
        self.leaves = asyncio.Event()
        self.sent: list[dict[str, Any]] = []

    async def receive(self) -> dict[str, Any]:
        if self.parts:
            part = self.parts.pop(0)
            return {"type": "http.request", "body": part, "more_body": bool(self.parts)}
        await self.leaves.wait()
        return {"type": "http.disconnect"}

    async def send(self, message: dict[str, Any]) -> None:
        self.sent.append(message)

    async def run(self) -> tuple[int, bytes]:
        await self.handler(self.scope, self.receive, self.send)
        return self.sent[0]["status"], b"".join(sent.get("body", b"") for sent in self.sent[1:])


@pytest.fixture
def handler(settings: Any, tmp_path: Any) -> ThreadedHandler:
    settings.ROOT_URLCONF = __name__
    settings.MIDDLEWARE = ["django.middleware.common.CommonMiddleware"]
    settings.WEB_THREADS = 1
    left.clear()
    return ThreadedHandler()


def test_a_body_in_parts_reaches_the_view(handler):
    async def run() -> tuple[int, bytes]:
        return await Request(handler, "/echo", (b"he", b"llo")).run()

    status, body = asyncio.run(run())
    assert (status, json.loads(body)) == (200, {"body": "hello", "method": "POST"})


def test_a_body_over_the_limit_is_refused_before_it_is_read_to_its_end(handler, monkeypatch):
    monkeypatch.setattr(threaded, "MAX_BODY_BYTES", 10)

    async def run() -> tuple[tuple[int, bytes], int]:
        request = Request(handler, "/echo", (b"12345", b"678901", b"never read"))
        return await request.run(), len(request.parts)

    (status, body), unread = asyncio.run(run())
    assert status == 413
    assert b"larger" in body
    assert unread == 1


def test_a_stream_holds_no_thread_and_no_connection(handler):
    ended: list[object] = []

    def note(**_named: object) -> None:
        ended.append(1)

    signals.request_finished.connect(note)

    async def run() -> None:
        open_stream = Request(handler, "/stream?long")
        reading = asyncio.ensure_future(open_stream.run())
        while len(open_stream.sent) < 3:
            await asyncio.sleep(0.01)
        # Django gave the database connection back, and the only thread is free for another request.
        assert ended == [1]
        status, _body = await asyncio.wait_for(Request(handler, "/echo").run(), 2)
        assert status == 200
        assert left == []
        open_stream.leaves.set()
        await asyncio.wait_for(reading, 2)
        assert left == ["stream"]

    try:
        asyncio.run(run())
    finally:
        signals.request_finished.disconnect(note)


def test_a_stream_that_ends_by_itself_is_complete(handler):
    async def run() -> tuple[int, bytes]:
        return await Request(handler, "/stream").run()

    assert asyncio.run(run()) == (200, b"one two")


def test_a_plain_iterator_is_sent_whole_with_its_headers(handler):
    async def run() -> Request:
        request = Request(handler, "/parts")
        assert await request.run() == (203, b"ab")
        return request

    assert (b"X-Part", b"yes") in asyncio.run(run()).sent[0]["headers"]


def test_a_defect_in_a_view_is_a_500_and_no_more(handler):
    async def run() -> tuple[int, bytes]:
        return await Request(handler, "/broken").run()

    status, body = asyncio.run(run())
    assert status == 500
    assert b"RuntimeError" not in body
