"""A TCP proxy that fails as told: it resets, swallows, delays, or cuts a connection just before a commit's answer.

It runs in a thread of the test. What listens behind it may be a unix socket.
"""

from __future__ import annotations

import asyncio
import socket
import struct
import threading
from contextlib import suppress
from enum import StrEnum
from urllib.parse import quote, unquote, urlsplit, urlunsplit

COMMITTED = b"C\x00\x00\x00\x0bCOMMIT\x00"
"""PostgreSQL's CommandComplete of a COMMIT. Source: the frontend/backend protocol, message formats."""
WRITTEN = b"SELECT 1\x00Z\x00\x00\x00\x05I"
"""CommandComplete of a statement that returned one row, then ReadyForQuery outside of a transaction: among others
a statement that stored a message, committed by itself."""
PIECE_BYTES = 65536


class Mode(StrEnum):
    """What the proxy does with what passes."""

    PASS = "pass"
    RESET = "reset"
    HOLE = "hole"
    DELAY = "delay"
    CUT_AFTER_COMMIT = "cut_after_commit"
    CUT_ANSWER = "cut_answer"


class FaultProxy:
    """A context manager: `port` is where it listens; `url` leads through it.

    `cuts` counts the answers that were withheld: after one, the mode is PASS again.
    """

    def __init__(self, url: str) -> None:
        self._parts = urlsplit(url)
        self._mode = Mode.PASS
        self._seconds = 0.0
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self.cuts = 0

    @property
    def url(self) -> str:
        """The address of what is behind, by way of the proxy."""
        password = f":{quote(self._parts.password, safe='')}" if self._parts.password else ""
        user = self._parts.username or ""
        is_redis = self._parts.scheme == "unix"
        return urlunsplit(
            self._parts._replace(
                scheme="redis" if is_redis else self._parts.scheme,
                netloc=f"{user}{password}@127.0.0.1:{self.port}",
                path="/0" if is_redis else self._parts.path,
                query="" if is_redis else self._parts.query,
            )
        )

    def set(self, mode: Mode, *, seconds: float = 0.0) -> None:
        """Fail in this way from now on; `reset` ends what is open, too, and `delay` waits `seconds` a piece."""
        asyncio.run_coroutine_threadsafe(self._set(mode, seconds), self._loop).result(5)

    def __enter__(self) -> FaultProxy:
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve(ready)), daemon=True)
        self._thread.start()
        assert ready.wait(5), "The proxy does not listen."
        return self

    def __exit__(self, *_error: object) -> None:
        self._loop.call_soon_threadsafe(self._ended.set)
        self._thread.join(5)

    async def _serve(self, ready: threading.Event) -> None:
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        self._flows = asyncio.Event()
        self._flows.set()
        server = await asyncio.start_server(self._carry_pair, "127.0.0.1", 0)
        self.port = server.sockets[0].getsockname()[1]
        ready.set()
        await self._ended.wait()
        server.close()
        self._abort_all()
        for task in asyncio.all_tasks() - {asyncio.current_task()}:
            task.cancel()

    async def _set(self, mode: Mode, seconds: float) -> None:
        self._mode, self._seconds = mode, seconds
        if mode is Mode.HOLE:
            self._flows.clear()
        else:
            self._flows.set()
        if mode is Mode.RESET:
            self._abort_all()

    async def _carry_pair(self, client_reader: asyncio.StreamReader, client: asyncio.StreamWriter) -> None:
        if self._mode is Mode.RESET:
            return _reset(client)
        try:
            server_reader, server = await self._open()
        except OSError:
            return _reset(client)
        pair = client, server
        self._pairs.add(pair)
        try:
            await asyncio.gather(
                self._carry(client_reader, server, pair, is_answer=False),
                self._carry(server_reader, client, pair, is_answer=True),
            )
        finally:
            self._pairs.discard(pair)
            for writer in pair:
                writer.close()

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        host, port = unquote(self._parts.hostname or ""), self._parts.port
        if self._parts.scheme == "unix":
            return await asyncio.open_unix_connection(unquote(self._parts.path))
        if unquote(_host_of(self._parts.netloc)).startswith("/"):
            folder = unquote(_host_of(self._parts.netloc))
            return await asyncio.open_unix_connection(f"{folder}/.s.PGSQL.{port or 5432}")
        return await asyncio.open_connection(host, port)

    async def _carry(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        pair: tuple[asyncio.StreamWriter, asyncio.StreamWriter],
        *,
        is_answer: bool,
    ) -> None:
        with suppress(OSError):
            while piece := await reader.read(PIECE_BYTES):
                await self._flows.wait()
                if self._mode is Mode.DELAY:
                    await asyncio.sleep(self._seconds)
                if is_answer and self._is_to_be_cut(piece):
                    self._mode = Mode.PASS
                    self.cuts += 1
                    break
                writer.write(piece)
                await writer.drain()
        for end in pair:
            _reset(end)

    def _is_to_be_cut(self, answer: bytes) -> bool:
        """Tell whether an answer is withheld; a statement outside of a transaction commits without the word."""
        if self._mode is Mode.CUT_AFTER_COMMIT:
            return COMMITTED in answer
        return self._mode is Mode.CUT_ANSWER and WRITTEN in answer

    def _abort_all(self) -> None:
        for pair in list(self._pairs):
            for writer in pair:
                _reset(writer)


def _host_of(netloc: str) -> str:
    """Return the host in its own letters: `hostname` of a split address is in lower case."""
    return netloc.rpartition("@")[2].rpartition(":")[0] or netloc.rpartition("@")[2]


def _reset(writer: asyncio.StreamWriter) -> None:
    """End a connection without goodbye: the other side sees a reset."""
    sock = writer.get_extra_info("socket")
    if sock is not None and sock.family == socket.AF_INET:
        with suppress(OSError):
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
