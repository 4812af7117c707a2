"""Serves Django under ASGI on one thread a request; `eliza_site.asgi` starts it.

Django's own ASGI handler hops between the event loop and fresh threads for each middleware: a small POST took
5.5 ms of CPU there and takes 0.8 ms here (`docs/decisions/web-requests-on-one-thread.md`). The synchronous
request, from signal to signal, is worked on one pooled thread. A view whose work is to wait (server-sent
events) returns a StreamingHttpResponse over an asynchronous iterator: that is iterated on the event loop,
when thread and database connection have been given back.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Awaitable, Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context
from typing import IO, Any, cast

from django.conf import settings
from django.core import signals
from django.core.exceptions import RequestAborted
from django.core.handlers.asgi import ASGIHandler, get_script_prefix
from django.core.handlers.base import BaseHandler
from django.http import HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.urls import set_script_prefix

Receive = Callable[[], Awaitable[Mapping[str, Any]]]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]

MAX_BODY_BYTES = 10 * 1024 * 1024


class BodyTooLarge(Exception):
    """The request's body is larger than MAX_BODY_BYTES."""


class ThreadedHandler(ASGIHandler):
    """An ASGI application that works each request on one thread of a pool."""

    def __init__(self) -> None:
        BaseHandler.__init__(self)
        self.load_middleware(is_async=False)
        self._threads = ThreadPoolExecutor(settings.WEB_THREADS, thread_name_prefix="web")

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer one request."""
        if scope["type"] != "http":
            raise ValueError(f"This site speaks HTTP alone, not {scope['type']!r}.")
        response: HttpResponseBase
        try:
            body = await self.read_body(receive)
        except RequestAborted:
            return
        except BodyTooLarge:
            response = HttpResponse(
                json.dumps({"detail": f"The request is larger than {MAX_BODY_BYTES // 1024**2} MB."}),
                content_type="application/json",
                status=413,
            )
        else:
            work = copy_context().run
            response = await asyncio.get_running_loop().run_in_executor(
                self._threads, work, self._respond, scope, body
            )
        if response.streaming:
            await self._stream(response, receive, send)
        else:
            await self.send_response(response, send)

    async def read_body(self, receive: Receive) -> IO[bytes]:
        """Read the request's body, up to MAX_BODY_BYTES.

        Raises: RequestAborted where the client left, BodyTooLarge.
        """
        body: IO[bytes] = tempfile.SpooledTemporaryFile(  # noqa: SIM115
            max_size=settings.FILE_UPLOAD_MAX_MEMORY_SIZE
        )
        size, more = 0, True
        while more:
            message = await receive()
            size += len(message.get("body", b""))
            if message["type"] == "http.disconnect" or size > MAX_BODY_BYTES:
                body.close()
                raise RequestAborted if message["type"] == "http.disconnect" else BodyTooLarge
            body.write(message.get("body", b""))
            more = message.get("more_body", False)
        body.seek(0)
        return body

    def _respond(self, scope: dict[str, Any], body: IO[bytes]) -> HttpResponseBase:
        set_script_prefix(get_script_prefix(scope))
        signals.request_started.send(sender=self.__class__, scope=scope)
        request, refusal = self.create_request(scope, body)
        response = cast("HttpResponseBase", refusal if request is None else self.get_response(request))
        answer = response
        if isinstance(response, StreamingHttpResponse) and not response.is_async:
            answer = _joined(response)
        # Sends request_finished, upon which Django gives this thread's database connection back.
        response.close()
        body.close()
        return answer

    async def _stream(self, response: HttpResponseBase, receive: Receive, send: Send) -> None:
        """Send an asynchronous response until it ends or the client leaves."""
        sending = asyncio.ensure_future(self.send_response(response, send))
        leaving = asyncio.ensure_future(receive())
        try:
            await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            leaving.cancel()
            sending.cancel()
            sent, _ = await asyncio.gather(sending, leaving, return_exceptions=True)
        if isinstance(sent, Exception):
            raise sent


def _joined(response: StreamingHttpResponse) -> HttpResponse:
    """Read a file or another plain iterator to its end while its thread is there."""
    joined = HttpResponse(b"".join(cast("Iterable[bytes]", response.streaming_content)))
    joined.status_code = response.status_code
    joined.headers = response.headers
    joined.cookies = response.cookies
    return joined
