"""The contract of a text model: what is asked, what is answered, and how it fails."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Literal, Protocol


class ModelClass(StrEnum):
    """elizaOS' classes of model; each agent maps them to models."""

    SMALL = "TEXT_SMALL"
    LARGE = "TEXT_LARGE"
    EMBEDDING = "TEXT_EMBEDDING"


@dataclass(frozen=True, kw_only=True)
class ChatMessage:
    """One line of a prompt."""

    role: Literal["system", "user", "assistant"]
    content: str


@dataclass(frozen=True, kw_only=True)
class CompletionRequest:
    """What is asked of a model.

    `model` is the model's name at its server. With `json_schema`, the answer is asked for as JSON of it; with
    `tool` too, it may come as a call of a tool of that name, whose arguments have the schema.
    Unit: `timeout_seconds` bounds the whole call, streaming included.
    """

    model: str
    messages: tuple[ChatMessage, ...]
    max_tokens: int = 512
    temperature: float = 0.7
    stop: tuple[str, ...] = ()
    json_schema: Mapping[str, Any] | None = None
    tool: str = ""
    timeout_seconds: float = 90.0


@dataclass(frozen=True, kw_only=True)
class Usage:
    """Tokens of a call; None where the server did not say, never 0 for unknown."""

    input_tokens: int | None = None
    output_tokens: int | None = None


@dataclass(frozen=True, kw_only=True)
class Completion:
    """What a model answered. Where it called the tool, `text` has the call's arguments.

    Unit: `milliseconds` of the whole call, `first_token_milliseconds` until the first text.
    """

    text: str
    model: str
    provider: str
    finish_reason: str
    usage: Usage
    milliseconds: float
    first_token_milliseconds: float | None = None
    is_tool_call: bool = False


class ModelFailure(StrEnum):
    """Why a call failed; the label of `eliza_ai_failures_total`."""

    TIMEOUT = "timeout"
    UNREACHABLE = "unreachable"
    RATE_LIMITED = "rate_limited"
    REFUSED = "refused"
    SERVER_ERROR = "server_error"
    EMPTY = "empty"
    GARBAGE = "garbage"
    CANCELLED = "cancelled"


class ModelError(Exception):
    """A call that brought no answer.

    `permanent` tells that asking again can't help (a wrong key, an unknown model). `retry_after_seconds` is
    the server's own word, where it gave one. `quotes_others` tells that the text has the server's own words, which
    may repeat what it was asked; no log shows them.
    """

    def __init__(
        self,
        message: str,
        *,
        failure: ModelFailure,
        permanent: bool = False,
        retry_after_seconds: float | None = None,
        quotes_others: bool = False,
    ) -> None:
        super().__init__(message)
        self.failure = failure
        self.quotes_others = quotes_others or failure is ModelFailure.GARBAGE
        self.permanent = permanent
        self.retry_after_seconds = retry_after_seconds


class TextModel(Protocol):
    """A server of models. Threads may share one."""

    provider: str

    def complete(
        self,
        request: CompletionRequest,
        *,
        on_token: Callable[[str], None] | None = None,
        is_cancelled: Callable[[], bool] | None = None,
    ) -> Completion:
        """Answer the request; `on_token` is called with each piece of text as it comes.

        `is_cancelled` is asked between pieces and ends the call with ModelFailure.CANCELLED.
        Raises: ModelError.
        """
