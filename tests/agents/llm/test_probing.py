"""Asking a server whether it is there and has what the settings name."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from agents.llm.probing import ProbeResult, probe_server
from agents.llm.router import describe_models
from tests.doubles.openai_server import OpenAIServer


@contextmanager
def refusing_server(status: int) -> Iterator[str]:
    """Serve this status to whatever is asked."""

    class Refuse(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.send_header("Content-Length", "0")
            self.end_headers()

        do_POST = do_GET

        def log_message(self, *_: Any) -> None:
            """Say nothing."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Refuse) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/v1"
        server.shutdown()


def probe(settings: Any, base_url: str, **changes: str) -> Any:
    settings.OPENAI_API_KEY, settings.OPENAI_BASE_URL = "", base_url
    settings.MODEL_SMALL, settings.MODEL_LARGE = changes.get("small", ""), changes.get("large", "")
    return probe_server(describe_models())


def test_a_server_that_lists_the_models_answers(settings: Any, server: OpenAIServer) -> None:
    assert probe(settings, server.base_url).result is ProbeResult.ANSWERS


def test_a_model_that_the_server_lacks_is_named_with_those_that_it_has(
    settings: Any, server: OpenAIServer
) -> None:
    found = probe(settings, server.base_url, large="huge")
    assert (found.result, found.detail, found.listed) == (ProbeResult.LACKS_MODEL, "huge", ("stub",))


def test_a_server_that_is_not_there_is_away(settings: Any) -> None:
    found = probe(settings, "http://127.0.0.1:1/v1", large="stub")
    assert found.result is ProbeResult.AWAY
    assert "refused" in found.detail


@pytest.mark.parametrize(
    ("answer", "result"),
    [(401, ProbeResult.REFUSES_KEY), (404, ProbeResult.REFUSES_MODEL), (500, ProbeResult.REFUSES_MODEL)],
)
def test_a_server_that_refuses_is_told_by_what_it_refuses(settings: Any, answer: int, result: Any) -> None:
    with refusing_server(answer) as base_url:
        assert probe(settings, base_url, large="stub").result is result
