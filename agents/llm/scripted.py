"""A model that answers from a script: for tests, drills, and agents whose model is named `scripted:<answer>`.

It passes the same contract suite as the real client. `agents.llm.router` makes it for such a name. It costs
nothing and needs no server; `scripted@0.2:<answer>` takes 0.2 seconds for each word of the answer.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from agents.llm.base import Completion, CompletionRequest, ModelError, ModelFailure, Usage


@dataclass(frozen=True)
class ToolCall:
    """An answer by a call of the tool that was offered, with these arguments as JSON."""

    arguments: str


Answer = str | ToolCall | ModelError
Script = Callable[[CompletionRequest], Answer]
TOKEN = re.compile(r"\s*\S+|\s+$")
NAME = re.compile(r"scripted(?:@(?P<seconds>\d{1,3}(?:\.\d{1,3})?))?:(?P<answer>.*)", re.DOTALL)


class ScriptedModel:
    """Answers with the next of a list, whose last one repeats, or with what a function returns.

    An answer that is a `ModelError` is raised. `requests` is the ledger of what was asked.
    Unit: `token_seconds` passes before each token.
    """

    provider = "scripted"

    def __init__(self, answers: Iterable[Answer] | Script | Answer, *, token_seconds: float = 0.0) -> None:
        if isinstance(answers, str | ToolCall | ModelError):
            answers = [answers]
        self._script: Script | None = answers if callable(answers) else None
        self._answers: list[Answer] = [] if callable(answers) else list(answers)
        if self._script is None and not self._answers:
            raise ValueError("A script needs at least one answer; give ScriptedModel a list that has one.")
        self._token_seconds = token_seconds
        self._lock = threading.Lock()
        self.requests: list[CompletionRequest] = []

    def complete(
        self,
        request: CompletionRequest,
        *,
        on_token: Callable[[str], None] | None = None,
        is_cancelled: Callable[[], bool] | None = None,
    ) -> Completion:
        """Answer as the script says, token by token.

        Raises: ModelError.
        """
        started = time.monotonic()
        self._stop_if_due(request, started, is_cancelled)
        answer = self._next_answer(request)
        if isinstance(answer, ModelError):
            raise answer
        is_tool_call = isinstance(answer, ToolCall)
        text = answer.arguments if isinstance(answer, ToolCall) else answer
        tokens = TOKEN.findall(text)
        first_at: float | None = None
        for token in tokens:
            if self._token_seconds:
                time.sleep(self._token_seconds)
            self._stop_if_due(request, started, is_cancelled)
            first_at = first_at or time.monotonic()
            if on_token is not None and not is_tool_call:
                on_token(token)
        if not text.strip():
            raise ModelError("The script answered nothing.", failure=ModelFailure.EMPTY)
        return Completion(
            text=text,
            model=request.model,
            provider=self.provider,
            finish_reason="stop",
            usage=Usage(input_tokens=_words(request), output_tokens=len(tokens)),
            milliseconds=(time.monotonic() - started) * 1000,
            first_token_milliseconds=(first_at - started) * 1000 if first_at else None,
            is_tool_call=is_tool_call,
        )

    def _next_answer(self, request: CompletionRequest) -> Answer:
        with self._lock:
            self.requests.append(request)
            if self._script is None:
                return self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        return self._script(request)

    def _stop_if_due(
        self, request: CompletionRequest, started: float, is_cancelled: Callable[[], bool] | None
    ) -> None:
        if time.monotonic() - started >= request.timeout_seconds:
            message = f"The script did not finish within {request.timeout_seconds:g} s."
            raise ModelError(message, failure=ModelFailure.TIMEOUT)
        if is_cancelled is not None and is_cancelled():
            raise ModelError("The call was cancelled.", failure=ModelFailure.CANCELLED)


def is_script(name: str) -> bool:
    """Tell whether a model of this name is a script."""
    return NAME.fullmatch(name) is not None


def find_script(name: str) -> ScriptedModel | None:
    """Return the script that a model's name is, such as `scripted:Hello`; None where it names a model."""
    found = NAME.fullmatch(name)
    if found is None:
        return None
    return ScriptedModel(found["answer"], token_seconds=float(found["seconds"] or 0))


def _words(request: CompletionRequest) -> int:
    return sum(len(message.content.split()) for message in request.messages)
