"""Text models behind any OpenAI-compatible server: OpenAI, Ollama, vLLM, llama.cpp, the local demonstration.

`agents.llm.router` makes these. A call goes through the openai client (its request, pool and errors), while
the stream is read from raw bytes by `agents.llm.streams`, which costs a fraction of the CPU.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx2
import openai

from agents.llm.base import Completion, CompletionRequest, ModelError, ModelFailure
from agents.llm.deadlines import watch
from agents.llm.failures import CLIENT_ERRORS, translate, words_of
from agents.llm.servers import Server, connection_of, get_server
from agents.llm.streams import AnswerReader
from plugins.time_limits import call_within, while_wanted

# What a server may refuse without the call losing its sense, and what is asked instead.
OPTIONAL = {
    "stream_options": None,
    "temperature": None,
    "max_tokens": "max_completion_tokens",
    # One that refuses both together names the tools, and keeps the schema.
    "tools": None,
    "response_format": None,
}

# The client ends a call at its deadline by itself; only one that does not is left this much later.
LATE_SECONDS = 5.0


class OpenAICompatibleModel:
    """The models of one server. Threads may share one; all of the same address and key share connections."""

    def __init__(
        self,
        *,
        base_url: str,
        api_key: str = "",
        provider: str = "openai",
        connect_timeout_seconds: float = 5.0,
    ) -> None:
        self.provider = provider
        self.base_url = base_url
        self._api_key = api_key
        self._connect_timeout_seconds = connect_timeout_seconds

    def complete(
        self,
        request: CompletionRequest,
        *,
        on_token: Callable[[str], None] | None = None,
        is_cancelled: Callable[[], bool] | None = None,
    ) -> Completion:
        """Answer the request, streaming.

        Raises: ModelError.
        """
        started = time.monotonic()
        deadline = started + request.timeout_seconds
        reader = AnswerReader(base_url=self.base_url)
        first_at: float | None = None
        for piece in self._pieces(request, reader, deadline=deadline, is_cancelled=is_cancelled):
            first_at = first_at or time.monotonic()
            if on_token is not None:
                on_token(piece)
        text = "".join(reader.pieces)
        is_tool_call = not text.strip() and bool(reader.call)
        text = reader.call if is_tool_call else text
        if not text.strip():
            reason = f" (it ended by {reader.finish_reason})" if reader.finish_reason else ""
            raise ModelError(
                f"{self.base_url} answered nothing for {request.model}{reason}.", failure=ModelFailure.EMPTY
            )
        return Completion(
            text=text,
            model=reader.model or request.model,
            provider=self.provider,
            finish_reason=reader.finish_reason or "stop",
            usage=reader.usage,
            milliseconds=(time.monotonic() - started) * 1000,
            first_token_milliseconds=(first_at - started) * 1000 if first_at else None,
            is_tool_call=is_tool_call,
        )

    def _pieces(
        self,
        request: CompletionRequest,
        reader: AnswerReader,
        *,
        deadline: float,
        is_cancelled: Callable[[], bool] | None,
    ) -> Iterator[str]:
        """Ask, and yield the text as it comes, until the answer, the time or the patience ends."""
        self._stop_if_due(request, deadline, is_cancelled)
        response: httpx2.Response | None = None
        try:
            response = self._ask_while_wanted(request, deadline, is_cancelled)
            with watch.over(connection_of(response), deadline=deadline, is_cancelled=is_cancelled):
                for piece in _read(response, reader):
                    yield piece
                    self._stop_if_due(request, deadline, is_cancelled)
        except ModelError as error:
            # A connection that the watch shut down may look like one that the server broke off.
            if error.failure is ModelFailure.SERVER_ERROR:
                self._stop_if_due(request, deadline, is_cancelled)
            raise
        except CLIENT_ERRORS as error:
            self._stop_if_due(request, deadline, is_cancelled)
            if reader.pieces and isinstance(error, httpx2.RemoteProtocolError | httpx2.ReadError):
                message = f"{self.base_url} broke off in the middle of its answer ({error})."
                raise ModelError(message, failure=ModelFailure.SERVER_ERROR) from error
            raise translate(error, base_url=self.base_url, model=request.model) from error
        finally:
            if response is not None:
                response.close()

    def _ask_while_wanted(
        self, request: CompletionRequest, deadline: float, is_cancelled: Callable[[], bool] | None
    ) -> httpx2.Response:
        """Send the request on another thread, so that a server which keeps its headers back can be left.

        The socket of a request is not known before its response. One that was left is closed as soon as it
        answers, which ends the server's work too.
        """
        if is_cancelled is None:
            return self._ask(request, deadline)
        answered: list[httpx2.Response] = []
        is_left = threading.Event()

        def ask() -> httpx2.Response:
            answered.append(self._ask(request, deadline))
            if is_left.is_set():
                answered[0].close()
            return answered[0]

        def go_on() -> None:
            self._stop_if_due(request, deadline, is_cancelled)

        try:
            with while_wanted(go_on):
                return call_within(max(deadline - time.monotonic(), 0.0) + LATE_SECONDS, ask)
        except ModelError:
            is_left.set()
            if answered:
                answered[0].close()
            raise

    def _ask(self, request: CompletionRequest, deadline: float) -> httpx2.Response:
        """Send the request; once more without each option that the server turns out to refuse."""
        server = get_server(self.base_url, self._api_key)
        while True:
            body = _body_of(request, server)
            try:
                return server.post(
                    "/chat/completions",
                    body,
                    seconds=deadline - time.monotonic(),
                    connect_seconds=self._connect_timeout_seconds,
                )
            except (openai.BadRequestError, openai.UnprocessableEntityError) as error:
                refused = _refused_option(error, body)
                if refused is None:
                    raise
                server.note_refusal(request.model, refused)

    def _stop_if_due(
        self, request: CompletionRequest, deadline: float, is_cancelled: Callable[[], bool] | None
    ) -> None:
        if time.monotonic() >= deadline:
            raise self._too_late(request)
        if is_cancelled is not None and is_cancelled():
            raise ModelError("The call was cancelled.", failure=ModelFailure.CANCELLED)

    def _too_late(self, request: CompletionRequest) -> ModelError:
        return ModelError(
            f"{self.base_url} did not finish its answer for {request.model} within "
            f"{request.timeout_seconds:g} s (MODEL_TIMEOUT_SECONDS).",
            failure=ModelFailure.TIMEOUT,
        )


def _read(response: httpx2.Response, reader: AnswerReader) -> Iterator[str]:
    is_plain = "content-encoding" not in response.headers
    reader.is_whole = response.headers.get("content-type", "").startswith("application/json")
    for data in response.iter_raw() if is_plain else response.iter_bytes():
        yield from reader.feed(data)
    yield from reader.finish()


def _body_of(request: CompletionRequest, server: Server) -> dict[str, Any]:
    body: dict[str, Any] = {
        "model": request.model,
        "messages": [{"role": message.role, "content": message.content} for message in request.messages],
        "max_tokens": request.max_tokens,
        "temperature": request.temperature,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
    if request.stop:
        body["stop"] = list(request.stop)
    if request.json_schema is not None:
        schema = {"name": "answer", "schema": request.json_schema, "strict": _is_strict(request.json_schema)}
        body["response_format"] = {"type": "json_schema", "json_schema": schema}
        if request.tool:
            function = {"name": request.tool, "parameters": request.json_schema}
            body["tools"] = [{"type": "function", "function": function}]
    if server.refused_options:
        for option, instead in OPTIONAL.items():
            if server.refuses(request.model, option):
                value = body.pop(option)
                if instead is not None:
                    body[instead] = value
    return body


def _refused_option(error: openai.APIStatusError, body: dict[str, Any]) -> str | None:
    """Return the option that the refusal names, if the call can do without it."""
    if error.param in OPTIONAL and error.param in body:
        return error.param
    words = words_of(error)
    return next((option for option in OPTIONAL if option in body and option in words), None)


def _is_strict(schema: Any) -> bool:
    """Tell whether the schema is closed, which servers ask for before they hold an answer to it."""
    properties = schema.get("properties", {})
    return schema.get("additionalProperties") is False and set(schema.get("required", ())) == set(properties)
