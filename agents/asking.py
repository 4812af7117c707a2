"""Asks a model on a turn's behalf and records it. The only way from the pipeline to `agents.llm`."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from django.conf import settings

from agents import metrics
from agents.databases import release_connection
from agents.llm.base import ChatMessage, Completion, CompletionRequest, ModelClass, ModelError, ModelFailure
from agents.llm.router import choose_model
from agents.processes import keeper
from agents.processes.keeper import Stopped
from agents.scene import Scene
from agents.trace import Trace


def ask_model(
    scene: Scene,
    trace: Trace,
    messages: tuple[ChatMessage, ...],
    *,
    purpose: str,
    model_class: ModelClass,
    max_tokens: int | None = None,
    temperature: float | None = None,
    json_schema: Mapping[str, Any] | None = None,
    tool: str = "",
    timeout_seconds: float | None = None,
    on_token: Callable[[str], None] | None = None,
    is_cancelled: Callable[[], bool] | None = None,
) -> Completion:
    """Ask the agent's model of this class, with no database connection held meanwhile.

    Raises: ModelError; the failed request is recorded too. Stopped where the call was cancelled. Fenced where
    the turn's lease was lost.
    """
    keeper.require_held(scene.turn.lease)
    chosen = choose_model(model_class, small=scene.agent.model_small, large=scene.agent.model_large)
    request = CompletionRequest(
        model=chosen.name,
        messages=messages,
        max_tokens=max_tokens or scene.agent.max_tokens,
        temperature=scene.agent.temperature if temperature is None else temperature,
        json_schema=json_schema,
        tool=tool,
        timeout_seconds=settings.MODEL_TIMEOUT_SECONDS if timeout_seconds is None else timeout_seconds,
    )
    release_connection()
    started = time.perf_counter()
    try:
        completion = chosen.model.complete(request, on_token=on_token, is_cancelled=is_cancelled)
    except ModelError as error:
        metrics.AI_FAILURES.labels(model=chosen.name, reason=error.failure.value).inc()
        trace.model_call(
            purpose,
            request,
            provider=chosen.model.provider,
            milliseconds=(time.perf_counter() - started) * 1000,
            error=f"{error.failure}: {error}",
        )
        if error.failure is ModelFailure.CANCELLED:
            raise Stopped("The answer was stopped.") from error
        raise
    metrics.AI_RESPONSE.observe(completion.milliseconds / 1000)
    trace.model_call(
        purpose,
        request,
        provider=completion.provider,
        completion=completion,
        milliseconds=completion.milliseconds,
    )
    return completion
