"""Reads a streamed chat completion from raw bytes: server-sent events in, pieces of text out.

`agents.llm.openai` feeds it. The client's own reader builds a typed object for each chunk, at two to three
times the CPU of a whole call read here; the fields that are used are checked here instead.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from agents.llm.base import ModelError, ModelFailure, Usage

MAX_TEXT_CHARACTERS = 1_000_000
MAX_LINE_BYTES = 4_000_000


@dataclass(kw_only=True)
class AnswerReader:
    """What has been read of one answer so far."""

    base_url: str
    pieces: list[str] = field(default_factory=list)
    finish_reason: str = ""
    model: str = ""
    usage: Usage = field(default_factory=Usage)
    is_done: bool = False
    # Some servers answer in one piece although a stream was asked for.
    is_whole: bool = False
    _rest: bytes = b""
    _characters: int = 0
    _calls: dict[int, str] = field(default_factory=dict)

    @property
    def call(self) -> str:
        """The arguments of the tool that was called, as JSON; of several calls, a list; empty without one."""
        calls = [text for _place, text in sorted(self._calls.items()) if text.strip()]
        return calls[0] if len(calls) == 1 else f"[{', '.join(calls)}]" if calls else ""

    def feed(self, data: bytes) -> Iterator[str]:
        """Yield the pieces of text that became whole with these bytes.

        Raises: ModelError where the bytes are no such stream.
        """
        if self.is_whole:
            lines, self._rest = [], self._rest + data
        else:
            *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > MAX_LINE_BYTES:
            raise self._garbage(f"a line longer than {MAX_LINE_BYTES} bytes")
        for line in lines:
            yield from self._read_line(line)

    def finish(self) -> Iterator[str]:
        """Yield what stood in a last line without an end.

        Raises: ModelError where the stream broke off before the answer ended.
        """
        rest, self._rest = self._rest, b""
        yield from self._read_whole(rest) if self.is_whole else self._read_line(rest)
        if not self.is_done and not self.finish_reason:
            raise ModelError(
                f"{self.base_url} broke off in the middle of its answer.", failure=ModelFailure.SERVER_ERROR
            )

    def _read_whole(self, body: bytes) -> Iterator[str]:
        payload = self._decode(body)
        choice = self._choice(payload)
        message = choice.get("message")
        if not isinstance(message, dict):
            raise self._garbage("an answer without a message")
        self.is_done = True
        self._note(payload, choice)
        self._take_calls(message.get("tool_calls"))
        yield self._take(message.get("content"))

    def _read_line(self, line: bytes) -> Iterator[str]:
        if not line.startswith(b"data:"):
            return
        data = line[5:].strip()
        if data == b"[DONE]":
            self.is_done = True
        elif data:
            payload = self._decode(data)
            choice = self._choice(payload)
            self._note(payload, choice)
            delta = choice.get("delta") or {}
            if not isinstance(delta, dict):
                raise self._garbage("a chunk whose delta is no object")
            self._take_calls(delta.get("tool_calls"))
            piece = self._take(delta.get("content"))
            if piece:
                yield piece

    def _decode(self, data: bytes) -> dict[str, Any]:
        try:
            payload = json.loads(data)
        except (ValueError, RecursionError):
            raise self._garbage(f"no JSON: {data[:80]!r}") from None
        if not isinstance(payload, dict):
            raise self._garbage(f"JSON that is no object: {data[:80]!r}")
        if payload.get("error"):
            error = payload["error"]
            words = error.get("message") if isinstance(error, dict) else error
            raise ModelError(
                f"{self.base_url} failed while it answered: {str(words)[:300]}",
                failure=ModelFailure.SERVER_ERROR,
                quotes_others=True,
            )
        return payload

    def _choice(self, payload: dict[str, Any]) -> dict[str, Any]:
        choices = payload.get("choices") or [{}]
        if not isinstance(choices, list) or not isinstance(choices[0], dict):
            raise self._garbage("choices that are no list of objects")
        return choices[0]

    def _note(self, payload: dict[str, Any], choice: dict[str, Any]) -> None:
        finish_reason, usage = choice.get("finish_reason"), payload.get("usage")
        if isinstance(finish_reason, str):
            self.finish_reason = finish_reason
        if not self.model and isinstance(payload.get("model"), str):
            self.model = payload["model"]
        if isinstance(usage, dict):
            self.usage = Usage(
                input_tokens=_count(usage.get("prompt_tokens")),
                output_tokens=_count(usage.get("completion_tokens")),
            )

    def _take(self, content: object) -> str:
        if content is None:
            return ""
        if not isinstance(content, str):
            raise self._garbage(f"content that is no text but {type(content).__name__}")
        self._count(content)
        if content:
            self.pieces.append(content)
        return content

    def _take_calls(self, calls: object) -> None:
        """Join the arguments of the tools that are called, which come in pieces as the words do."""
        if calls is None:
            return
        if not isinstance(calls, list):
            raise self._garbage(f"tool calls that are no list but {type(calls).__name__}")
        for place, call in enumerate(calls):
            function = call.get("function") if isinstance(call, dict) else None
            if not isinstance(function, dict):
                raise self._garbage("a tool call without a function")
            index, arguments = call.get("index", place), function.get("arguments")
            # Some servers send them as an object.
            text = arguments if isinstance(arguments, str) else json.dumps(arguments) if arguments else ""
            self._count(text)
            place = index if isinstance(index, int) else place
            self._calls[place] = self._calls.get(place, "") + text

    def _count(self, text: str) -> None:
        self._characters += len(text)
        if self._characters > MAX_TEXT_CHARACTERS:
            raise self._garbage(f"an answer longer than {MAX_TEXT_CHARACTERS} characters")

    def _garbage(self, what: str) -> ModelError:
        return ModelError(f"{self.base_url} sent {what}.", failure=ModelFailure.GARBAGE)


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
