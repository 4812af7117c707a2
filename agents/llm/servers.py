"""The OpenAI-compatible servers of this process: one client each, and what was learnt of the server's ways.

`agents.llm.openai` and `agents.llm.openai_embeddings` ask here; nothing is made before the first call.
"""

from __future__ import annotations

import os
import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx2
import openai

MAX_CONNECTIONS = 256
LOOPBACK_HOSTS = frozenset({"localhost", "127.0.0.1", "::1"})
# A local server wants no key, but the client refuses to start without one.
PLACEHOLDER_KEY = "none"
STALE_SECONDS = 1.0
HEADERS = {"Accept-Encoding": "identity"}


@dataclass(kw_only=True)
class Server:
    """A server's client and its habits. Threads share it: each field is only ever replaced as a whole."""

    base_url: str
    client: openai.OpenAI
    refused_options: frozenset[tuple[str, str]] = field(default=frozenset())

    def refuses(self, model: str, option: str) -> bool:
        """Tell whether the server has refused this option for this model before."""
        return (model, option) in self.refused_options

    def note_refusal(self, model: str, option: str) -> None:
        """Remember that the server refuses the option for the model."""
        self.refused_options = self.refused_options | {(model, option)}

    def post(
        self, path: str, body: Mapping[str, Any], *, seconds: float, connect_seconds: float
    ) -> httpx2.Response:
        """Send the request and return its response, unread: whoever asks has to close it.

        Unit: `seconds` bounds each silence until the headers have come.
        Raises: openai.APIError.
        """
        started = time.monotonic()
        connect = min(connect_seconds, max(seconds, 0.001))
        timeout = httpx2.Timeout(max(seconds, 0.001), connect=connect, pool=connect)
        try:
            return self._send(path, body, timeout)
        except openai.APIConnectionError as error:
            # A kept connection that the server closed in the same moment: nothing was asked yet.
            is_stale = isinstance(error.__cause__, httpx2.RemoteProtocolError | httpx2.ReadError)
            if not is_stale or time.monotonic() - started > min(STALE_SECONDS, seconds):
                raise
            return self._send(path, body, timeout)

    def _send(self, path: str, body: Mapping[str, Any], timeout: httpx2.Timeout) -> httpx2.Response:
        return self.client.post(  # type: ignore[return-value]  # `cast_to` decides what comes back
            path,
            cast_to=httpx2.Response,
            body=body,
            options={"timeout": timeout, "headers": HEADERS},
            stream=True,
            stream_cls=openai.Stream[Any],
        )


def connection_of(response: httpx2.Response) -> socket.socket | None:
    """Return the socket that the response comes by, where it comes by one."""
    stream = response.extensions.get("network_stream")
    connection: socket.socket | None = stream.get_extra_info("socket") if stream is not None else None
    return connection


_servers: dict[tuple[int, str, str], Server] = {}
_lock = threading.Lock()


def get_server(base_url: str, api_key: str) -> Server:
    """Return this process' client of the server, made on first use.

    The key holds the process' id, because a child that was forked must not speak on its parent's sockets.
    """
    key = (os.getpid(), base_url.rstrip("/"), api_key)
    server = _servers.get(key)
    if server is None:
        with _lock:
            server = _servers.get(key) or _make_server(key[1], api_key)
            _servers[key] = server
    return server


def close_servers() -> None:
    """Close this process' clients with the connections that they keep."""
    with _lock:
        servers = [_servers.pop(key) for key in list(_servers) if key[0] == os.getpid()]
    for server in servers:
        server.client.close()


def _make_server(base_url: str, api_key: str) -> Server:
    limits = httpx2.Limits(max_connections=MAX_CONNECTIONS, max_keepalive_connections=MAX_CONNECTIONS)
    # A proxy from the environment would take calls to the own machine away from it.
    is_loopback = urlsplit(base_url).hostname in LOOPBACK_HOSTS
    client = openai.OpenAI(
        base_url=base_url,
        api_key=api_key or PLACEHOLDER_KEY,
        max_retries=0,
        http_client=openai.DefaultHttpxClient(limits=limits, trust_env=not is_loopback),
    )
    return Server(base_url=base_url, client=client)
