"""What went wrong with a server of models, in one language: foreign errors in, `ModelError` out.

`agents.llm.openai` and `agents.llm.openai_embeddings` translate every error of theirs here.
"""

from __future__ import annotations

import email.utils
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass

import httpx2
import openai

from agents.llm.base import ModelError, ModelFailure

# All that the client and its connections raise.
CLIENT_ERRORS = (openai.OpenAIError, httpx2.HTTPError, httpx2.StreamError, httpx2.InvalidURL)
MAX_RETRY_AFTER_SECONDS = 86_400.0
MAX_SERVER_WORDS = 300


@dataclass(frozen=True, kw_only=True)
class SetBy:
    """Which settings say a server's address, key, model and time; a cure names them."""

    address: str
    key: str
    model: str
    seconds: str


OF_TEXT = SetBy(
    address="OPENAI_BASE_URL or LOCAL_MODEL_BASE_URL",
    key="OPENAI_API_KEY",
    model="MODEL_SMALL and MODEL_LARGE",
    seconds="MODEL_TIMEOUT_SECONDS",
)
OF_VECTORS = SetBy(
    address="EMBEDDING_BASE_URL or OPENAI_BASE_URL, or what `reembed_memories` was given",
    key="EMBEDDING_API_KEY or OPENAI_API_KEY, or what `reembed_memories` was given",
    model="EMBEDDING_MODEL, or what `reembed_memories` is given,",
    seconds="EMBEDDING_TIMEOUT_SECONDS",
)


def translate(error: Exception, *, base_url: str, model: str, set_by: SetBy = OF_TEXT) -> ModelError:
    """Make the `ModelError` of any error that the client or its connection raises."""
    if isinstance(error, openai.APIStatusError):
        return _of_status(error, base_url=base_url, model=model, set_by=set_by)
    cause = error if isinstance(error, httpx2.HTTPError) else error.__cause__
    if isinstance(error, httpx2.InvalidURL) or isinstance(cause, httpx2.UnsupportedProtocol):
        return ModelError(
            f"{base_url} is no address of a server ({cause or error}): write one like "
            f"http://127.0.0.1:11434/v1 ({set_by.address}).",
            failure=ModelFailure.REFUSED,
            permanent=True,
        )
    if isinstance(cause, httpx2.ConnectTimeout | httpx2.ConnectError | httpx2.PoolTimeout):
        reason = str(cause) or "no connection in time"
        return ModelError(
            f"{base_url} cannot be reached ({reason}). Is the server running, and is its address right "
            f"({set_by.address})?",
            failure=ModelFailure.UNREACHABLE,
        )
    if isinstance(cause, httpx2.TimeoutException):
        return ModelError(
            f"{base_url} did not answer for {model} within its time ({set_by.seconds}).",
            failure=ModelFailure.TIMEOUT,
        )
    if isinstance(cause, httpx2.DecodingError):
        return ModelError(f"{base_url} sent what cannot be decoded: {cause}", failure=ModelFailure.GARBAGE)
    return ModelError(
        f"{base_url} ended the connection without an answer ({cause or error}).",
        failure=ModelFailure.UNREACHABLE,
    )


def _of_status(error: openai.APIStatusError, *, base_url: str, model: str, set_by: SetBy) -> ModelError:
    status, words = error.status_code, words_of(error)
    wait = retry_after_seconds(error.response.headers, now=time.time())
    told = f"{base_url} answered {status} for {model}: {words}"
    if status == 429:
        # Asking again does not fill an empty account.
        is_broke = error.code == "insufficient_quota"
        cure = f" The account behind the key ({set_by.key}) has no credit left." if is_broke else ""
        failure = ModelFailure.RATE_LIMITED
        return ModelError(
            told + cure, failure=failure, permanent=is_broke, retry_after_seconds=wait, quotes_others=True
        )
    if status == 408:
        return ModelError(told, failure=ModelFailure.TIMEOUT, retry_after_seconds=wait, quotes_others=True)
    if status >= 500 or status in (409, 425):
        return ModelError(
            told, failure=ModelFailure.SERVER_ERROR, retry_after_seconds=wait, quotes_others=True
        )
    cures = {
        401: f" Give a key that this server accepts ({set_by.key}).",
        403: f" The key ({set_by.key}) may not use this model; give another key or another model.",
        404: f" Set {set_by.model} to what this server has, and let its address ({set_by.address}) end where its API"
        " begins, often in /v1.",
    }
    return ModelError(
        told + cures.get(status, ""), failure=ModelFailure.REFUSED, permanent=True, quotes_others=True
    )


def words_of(error: openai.APIStatusError) -> str:
    """Return the server's own message, cut to what a log line bears."""
    body = error.body
    message = body.get("message") if isinstance(body, Mapping) else None
    if not isinstance(message, str):
        message = error.response.text or "no explanation"
    return message.strip()[:MAX_SERVER_WORDS]


def retry_after_seconds(headers: Mapping[str, str], *, now: float) -> float | None:
    """Read how long the server asks to wait, from `retry-after-ms` or `retry-after`.

    Unit: `now` in seconds since the epoch.
    Source: RFC 9110, 10.2.3 (seconds or an HTTP date).
    """
    milliseconds = _number(headers.get("retry-after-ms"))
    if milliseconds is not None:
        return _bounded(milliseconds / 1000)
    value = headers.get("retry-after")
    seconds = _number(value)
    if seconds is not None:
        return _bounded(seconds)
    try:
        return _bounded(email.utils.parsedate_to_datetime(value).timestamp() - now) if value else None
    except ValueError:
        return None


def _number(value: str | None) -> float | None:
    try:
        number = float(value) if value else None
    except ValueError:
        return None
    return number if number is not None and math.isfinite(number) else None


def _bounded(seconds: float) -> float:
    return min(max(seconds, 0.0), MAX_RETRY_AFTER_SECONDS)
