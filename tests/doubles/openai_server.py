"""An OpenAI-compatible server on loopback, for tests and benchmarks: real HTTP, chosen answers and faults.

Run it apart with `python tests/doubles/openai_server.py --port 0 --latency-ms 200` (the first line printed is
its port), or in a thread with `with OpenAIServer() as server: server.base_url`. It parses by hand and sends
prepared bytes, so that a benchmark measures the caller and not the stub.

A model named `fail:<fault>` brings a fault, `echo` answers the last message, `exact:<text>` answers the text;
`settings.fault` brings the fault for every model. Faults: a status code such as `401` or `429`, or one of
`hang`, `half`, `garbage`, `types`, `empty`, `huge`, `silence`, `drip`, `error-event`, `no-usage`,
`no-stream-options`, `no-stream`, `modern`, `late-silence`, `quota`, `dimensions`, `not-finite`, `no-base64`,
`refuses-base64`, `refuses-tools`, `refuses-schema`. With `settings.calls_tools`, the answer comes as a call of the
tool that was offered. `settings.drop_next` closes the connection at the next request.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import hashlib
import json
import signal
import threading
from collections import Counter, deque
from dataclasses import dataclass, field
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np

DIMENSIONS = 384
ANSWER = "That is a good question, and I am glad that you asked me here today."


@dataclass
class Settings:
    """What the server does; changed at will while it runs."""

    latency_ms: float = 0.0
    embedding_latency_ms: float | None = None  # None: as late as the answers
    gap_ms: float = 0.0
    chunks: int = 12
    answer: str = ANSWER
    fault: str = ""
    retry_after: dict[str, str] = field(default_factory=dict)
    drop_next: bool = False
    calls_tools: bool = False


# What it answers -----------------------------------------------------------------------------------------


def instance_of(schema: dict[str, Any], words: str) -> Any:
    """Make a value that the JSON schema allows; free strings become `words`."""
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return schema["enum"][0]
    kind = schema.get("type", "string")
    kind = kind[0] if isinstance(kind, list) else kind
    if kind == "object":
        return {key: instance_of(value, words) for key, value in schema.get("properties", {}).items()}
    if kind == "array":
        return [instance_of(schema.get("items", {}), words)] * schema.get("minItems", 0)
    return {"integer": 1, "number": 1.0, "boolean": True, "null": None}.get(kind, words)


def pieces_of(text: str, count: int) -> list[str]:
    """Cut the text into `count` pieces, fewer where it is too short."""
    count = max(1, min(count, len(text)))
    edges = [len(text) * index // count for index in range(count + 1)]
    return [text[start:end] for start, end in pairwise(edges)]


def event(payload: Any) -> bytes:
    """Make one server-sent event in one HTTP chunk."""
    data = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    body = b"data: " + data + b"\n\n"
    return b"%x\r\n%s\r\n" % (len(body), body)


@lru_cache(maxsize=4096)
def stream_of(model: str, text: str, chunks: int, with_usage: bool) -> tuple[bytes, ...]:
    """Make the events of a streamed answer."""
    common = {"id": "chatcmpl-1", "object": "chat.completion.chunk", "created": 1, "model": model}

    def chunk(delta: dict[str, str], finish: str | None = None) -> bytes:
        return event({**common, "choices": [{"index": 0, "delta": delta, "finish_reason": finish}]})

    events = [chunk({"content": piece}) for piece in pieces_of(text, chunks)]
    events[0] = chunk({"role": "assistant", "content": pieces_of(text, chunks)[0]})
    events.append(chunk({}, "stop"))
    if with_usage:
        usage = {"prompt_tokens": 21, "completion_tokens": chunks, "total_tokens": 21 + chunks}
        events.append(event({**common, "choices": [], "usage": usage}))
    return (*events, event(b"[DONE]") + b"0\r\n\r\n")


@lru_cache(maxsize=65536)
def _word_vector(word: str) -> np.ndarray:
    noise = np.frombuffer(
        hashlib.shake_128(word.encode("utf-8", "replace")).digest(DIMENSIONS), dtype=np.uint8
    )
    return noise.astype(np.float32) - 127.5


def vector_of(text: str) -> np.ndarray:
    """Make the text's vector: the sum of its words' own, so that texts that share words lie near."""
    vector = np.sum([_word_vector(word) for word in text.lower().split() or [""]], axis=0)
    return vector / np.linalg.norm(vector)


def reply(status: int, payload: Any, headers: dict[str, str] | None = None) -> bytes:
    """Make a whole HTTP response."""
    body = payload if isinstance(payload, bytes) else json.dumps(payload).encode()
    lines = [f"HTTP/1.1 {status} X", "content-type: application/json", f"content-length: {len(body)}"]
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def tool_calls_of(model: str, text: str, chunks: int) -> tuple[bytes, ...]:
    """Make the events of a streamed answer that calls a tool; an answer that is a JSON list is a call for each."""
    calls = [json.dumps(part) for part in json.loads(text)] if text.startswith("[") else [text]
    events = []
    for index, arguments in enumerate(calls):
        head = {"index": index, "id": f"call-{index}", "type": "function"}
        deltas = [{**head, "function": {"name": "answer", "arguments": ""}}]
        deltas += [
            {"index": index, "function": {"arguments": piece}} for piece in pieces_of(arguments, chunks)
        ]
        events += [{"delta": {"tool_calls": [delta]}, "finish_reason": None} for delta in deltas]
    events.append({"delta": {}, "finish_reason": "tool_calls"})
    made = [event({"model": model, "choices": [{"index": 0, **choice}]}) for choice in events]
    return (*made, event(b"[DONE]") + b"0\r\n\r\n")


STREAM_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream; charset=utf-8\r\ntransfer-encoding: chunked\r\n\r\n"
)
STREAM_FAULTS: dict[str, tuple[bytes, ...]] = {
    "garbage": (event(b"{not json"), event(b"[DONE]") + b"0\r\n\r\n"),
    "types": (event({"choices": {"delta": 7}}), event(b"[DONE]") + b"0\r\n\r\n"),
    "empty": (event({"choices": []}), event(b"[DONE]") + b"0\r\n\r\n"),
    "error-event": (event({"error": {"message": "The engine fell over."}}), b"0\r\n\r\n"),
}


# How it answers ------------------------------------------------------------------------------------------


class Connection(asyncio.Protocol):
    """One client's connection, kept alive; answers are sent in the order of the requests."""

    def __init__(self, server: OpenAIServer) -> None:
        self.server = server
        self.buffer = b""
        self.timers: list[asyncio.TimerHandle] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport
        self.server.connections.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        self.server.connections.discard(self)
        for timer in self.timers:
            timer.cancel()

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        while True:
            end = self.buffer.find(b"\r\n\r\n")
            if end < 0:
                return
            head = self.buffer[:end]
            at = head.lower().find(b"content-length:")
            length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
            if len(self.buffer) < end + 4 + length:
                return
            body = self.buffer[end + 4 : end + 4 + length]
            self.buffer = self.buffer[end + 4 + length :]
            self.answer(head, body)

    def answer(self, head: bytes, body: bytes) -> None:
        method, path, _ = head.split(b"\r\n", 1)[0].decode().split(" ")
        if method == "GET" and not path.endswith(("/ledger", "/v1/models")):
            return self.transport.write(reply(404, {"error": {"message": "Not here."}}))
        if method == "GET":
            return self.transport.write(reply(200, self.server.describe(path)))
        request = json.loads(body)
        if path == "/control":
            self.server.control(request)
            return self.transport.write(reply(200, {}))
        self.server.note(path, head, request)
        settings = self.server.settings
        model = request.get("model", "")
        fault = model.removeprefix("fail:") if model.startswith("fail:") else settings.fault
        if settings.drop_next:
            settings.drop_next = False
            return self.transport.close()
        if fault == "hang":
            return None
        if fault == "quota":
            error = {"message": "You exceeded your current quota.", "code": "insufficient_quota"}
            return self.transport.write(reply(429, {"error": error}))
        if fault.isdigit():
            error = {"error": {"message": f"The stub answers {fault}.", "type": "stub"}}
            return self.later(settings.latency_ms, reply(int(fault), error, settings.retry_after))
        if path.endswith("/embeddings"):
            return self.embed(request, fault)
        return self.complete(request, fault)

    def later(self, milliseconds: float, data: bytes) -> None:
        """Send at once where there is nothing to wait for."""
        self.timers = [timer for timer in self.timers if not timer.cancelled()][-64:]
        if milliseconds <= 0:
            return self.transport.write(data)
        loop = self.server.loop
        self.timers.append(loop.call_later(milliseconds / 1000, self.transport.write, data))
        return None

    def embed(self, request: dict[str, Any], fault: str) -> None:
        texts = [request["input"]] if isinstance(request["input"], str) else request["input"]
        vectors = [vector_of(text) for text in texts]
        if fault == "dimensions":
            vectors = [vector[:100] for vector in vectors]
        if fault == "not-finite":
            vectors = [vector * np.nan for vector in vectors]
        if fault == "garbage":
            return self.transport.write(reply(200, b"{not json"))
        if fault == "types":
            return self.transport.write(reply(200, {"data": [{"index": 0, "embedding": "*"}]}))
        packed = request.get("encoding_format") == "base64" and fault != "no-base64"
        if packed and fault == "refuses-base64":
            return self.refuse("encoding_format is not supported.")
        data = [
            {
                "object": "embedding",
                "index": index,
                "embedding": base64.b64encode(vector.astype("<f4").tobytes()).decode()
                if packed
                else vector.tolist(),
            }
            for index, vector in enumerate(vectors)
        ]
        usage = {"prompt_tokens": len(texts), "total_tokens": len(texts)}
        payload = {"object": "list", "data": data, "model": request["model"], "usage": usage}
        settings = self.server.settings
        wait = settings.latency_ms if settings.embedding_latency_ms is None else settings.embedding_latency_ms
        return self.later(wait, reply(200, payload))

    def complete(self, request: dict[str, Any], fault: str) -> None:
        settings = self.server.settings
        model, wants_usage = request["model"], "stream_options" in request
        if fault == "no-stream-options" and wants_usage:
            return self.refuse("Unknown parameter: 'stream_options'.")
        if fault == "modern" and "max_tokens" in request:
            return self.refuse("Unsupported parameter: 'max_tokens'. Use 'max_completion_tokens' instead.")
        if fault == "modern" and "temperature" in request:
            return self.refuse("Unsupported value: 'temperature'. Only the default (1) value is supported.")
        if fault == "refuses-tools" and "tools" in request:
            return self.refuse("Cannot use custom grammar constraints with tools.")
        if fault == "refuses-schema" and "response_format" in request:
            return self.refuse("This response_format type is unavailable now")
        if settings.calls_tools and "tools" in request:
            text = settings.answer
            return self.transport.write(STREAM_HEAD + b"".join(tool_calls_of(model, text, settings.chunks)))
        if not request.get("stream") or fault == "no-stream":
            choice = {"index": 0, "finish_reason": "stop"}
            choice["message"] = {"role": "assistant", "content": self.text_for(request)}
            return self.later(settings.latency_ms, reply(200, {"model": model, "choices": [choice]}))
        if fault == "huge":
            return self.transport.write(
                STREAM_HEAD + event({"choices": [{"delta": {"content": "x" * 999_999}}]}) * 12
            )
        if fault in STREAM_FAULTS:
            return self.transport.write(STREAM_HEAD + b"".join(STREAM_FAULTS[fault]))
        events = stream_of(
            model, self.text_for(request), settings.chunks, wants_usage and fault != "no-usage"
        )
        if fault == "half":
            self.transport.write(STREAM_HEAD + b"".join(events[:3]))
            return self.transport.close()
        if fault == "silence":
            return self.transport.write(STREAM_HEAD + b"".join(events[:3]))
        if fault == "late-silence":
            return self.later(settings.latency_ms, STREAM_HEAD + b"".join(events[:3]))
        if fault == "drip":
            return self.send_slowly(events[:1] * 1000, 20)
        if settings.gap_ms:
            return self.send_slowly(events, settings.gap_ms)
        return self.later(settings.latency_ms, STREAM_HEAD + b"".join(events))

    def refuse(self, message: str) -> None:
        self.transport.write(reply(400, {"error": {"message": message, "type": "stub"}}))

    def send_slowly(self, events: tuple[bytes, ...], gap_ms: float) -> None:
        start = self.server.settings.latency_ms
        self.later(start, STREAM_HEAD)
        for index, data in enumerate(events):
            self.later(start + index * gap_ms, data)

    def text_for(self, request: dict[str, Any]) -> str:
        model = request["model"]
        text = self.server.settings.answer
        if model == "echo":
            text = request["messages"][-1]["content"]
        elif model.startswith("exact:"):
            text = model.removeprefix("exact:")
        wanted = request.get("response_format", {}).get("json_schema", {}).get("schema")
        return json.dumps(instance_of(wanted, text)) if wanted else text


class OpenAIServer:
    """The server, its settings and its ledger; a context manager that runs it in a thread."""

    def __init__(
        self, *, port: int = 0, ledger_length: int = 1000, counts_texts: bool = True, **settings: Any
    ) -> None:
        self.settings = Settings(**settings)
        self.ledger: deque[dict[str, Any]] = deque(maxlen=ledger_length)
        self.request_count = 0
        self.asked: Counter[str] = Counter()
        self.connections: set[Connection] = set()
        self.port = port
        self.counts_texts = counts_texts

    @property
    def base_url(self) -> str:
        """The address that a client is given."""
        return f"http://127.0.0.1:{self.port}/v1"

    def note(self, path: str, head: bytes, request: dict[str, Any]) -> None:
        """Write the request into the ledger; the headers stay bytes, which costs nothing.

        `asked` counts each last message of a chat without end, so that a second question about it shows.
        """
        self.request_count += 1
        if self.counts_texts and request.get("messages"):
            self.asked[request["messages"][-1]["content"]] += 1
        self.ledger.append({"path": path, "head": head, "request": request})

    def control(self, changes: dict[str, Any]) -> None:
        """Change the settings, as `POST /control` asks."""
        for name, value in changes.items():
            setattr(self.settings, name, value)

    def describe(self, path: str) -> Any:
        """Answer `GET /ledger` and `GET /v1/models`."""
        if path.endswith("/ledger"):
            entries = [{"path": entry["path"], "request": entry["request"]} for entry in self.ledger]
            return {"count": self.request_count, "entries": entries, "asked": self.asked}
        return {"object": "list", "data": [{"id": "stub", "object": "model"}]}

    async def serve(self, on_ready: Any) -> None:
        """Listen until `stop` is called."""
        self.loop = asyncio.get_running_loop()
        self.stopped = asyncio.Event()
        listener = await self.loop.create_server(
            lambda: Connection(self), "127.0.0.1", self.port, backlog=1024
        )
        self.port = listener.sockets[0].getsockname()[1]
        on_ready()
        await self.stopped.wait()
        listener.close()
        for connection in list(self.connections):
            connection.transport.abort()
        await asyncio.sleep(0)

    def __enter__(self) -> OpenAIServer:
        ready = threading.Event()
        self.thread = threading.Thread(target=lambda: asyncio.run(self.serve(ready.set)), daemon=True)
        self.thread.start()
        ready.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self.stopped.set)
        self.thread.join(5)


def main() -> None:
    """Serve until SIGTERM or SIGINT; print the port first."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--latency-ms", type=float, default=0.0)
    parser.add_argument("--gap-ms", type=float, default=0.0)
    parser.add_argument("--chunks", type=int, default=12)
    parser.add_argument("--answer", default=ANSWER)
    options = vars(parser.parse_args())
    server = OpenAIServer(port=options.pop("port"), ledger_length=100, counts_texts=False, **options)

    def ready() -> None:
        for number in (signal.SIGTERM, signal.SIGINT):
            server.loop.add_signal_handler(number, server.stopped.set)
        print(server.port, flush=True)  # noqa: T201

    asyncio.run(server.serve(ready))


if __name__ == "__main__":
    main()
