"""The service `model`: lets an evaluator ask its agent's small model, on a turn's behalf.

A question is asked with no connection held and within the evaluator's time; its answer is committed under the
evaluation's own token before it is used, so that an evaluation which is begun again does not ask for it again.
Each request stands in the trace as a ModelCall of the turn. `agents.pipeline.evaluate` makes the service.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from django.conf import settings

from agents.asking import ask_model
from agents.cleaning import clean_text
from agents.crashpoints import reach
from agents.databases import release_connection
from agents.llm.base import ChatMessage, Completion, ModelClass
from agents.processes.keeper import Watch
from agents.scene import Scene
from agents.structured import read_object
from agents.tokens import count_tokens
from agents.trace import StepRecord, Trace
from plugins.api import ModelAnswer, Permission, Question
from plugins.permissions import check_permission
from plugins.registry import SERVICES

MOST_QUESTIONS = 4
"""So often one evaluator may ask within one evaluation."""
TEMPERATURE = 0.1
TOOL = "answer"
MARGIN_SECONDS = 2.0
"""What is left of an evaluator's time when its model is given up."""
MODEL = "model"

JSON_INSTRUCTION = "Answer with one JSON object of this form and nothing else:\n{form}"

Guard = Callable[[], None]
"""Asks, in the transaction that records an answer, whether the evaluation is held; it raises Fenced where not."""


class TooManyQuestions(Exception):
    """An evaluator asks its model without end."""


class EvaluatorServices:
    """The services as one evaluator reaches them: `model` is bound to its evaluation, all others are the site's."""

    def __init__(self, model: AskedModel) -> None:
        self._model = model

    def get_service(self, name: str) -> Any:
        """Return the service of this name.

        Raises: UnknownService; PermissionDenied for `model` where the plugin was not granted it.
        """
        if name != MODEL:
            return SERVICES.get_service(name)
        check_permission(self._model.plugin, Permission.CALL_MODEL, "ask a model")
        return self._model


class AskedModel:
    """The model as one evaluator asks it. `key` is the same whenever this evaluation is begun again."""

    def __init__(
        self,
        *,
        plugin: str,
        key: str,
        scene: Scene,
        trace: Trace,
        watch: Watch,
        guard: Guard,
        time_limit_seconds: float,
    ) -> None:
        self.plugin = plugin
        self._key = key
        self._scene = scene
        self._trace = trace
        self._watch = watch
        self._guard = guard
        self._deadline = time.monotonic() + time_limit_seconds - MARGIN_SECONDS
        self._asked = 0
        self._is_over = False

    def end(self) -> None:
        """Let nothing more be asked: who asks on after its time is not heard."""
        self._is_over = True

    def ask(self, question: Question) -> ModelAnswer:
        """Ask once; an answer that an earlier attempt recorded is taken as it is.

        Raises: ModelError where no answer came; TooManyQuestions; Stopped, Fenced where the evaluation is to end.
        """
        self._asked += 1
        if self._asked > MOST_QUESTIONS:
            raise TooManyQuestions(f"{self.plugin} asks more than {MOST_QUESTIONS} questions: ask fewer.")
        name = f"ask:{self._key}:{self._asked}"[:60]
        earlier = self._trace.find_finished(name)
        if earlier is not None:
            return _read(earlier, question)
        self._watch.require_held()
        completion = self._complete(question)
        reach("evaluator.answered")
        return self._record(name, question, completion)

    def _complete(self, question: Question) -> Completion:
        left = min(settings.MODEL_TIMEOUT_SECONDS, self._deadline - time.monotonic())
        return ask_model(
            self._scene,
            self._trace,
            prompt_of(question),
            purpose=question.purpose[:30],
            model_class=ModelClass.SMALL,
            max_tokens=question.max_tokens,
            temperature=TEMPERATURE,
            json_schema=question.schema,
            tool=TOOL,
            timeout_seconds=max(left, 0.1),
            is_cancelled=lambda: self._is_over or self._watch.is_cancelled(),
        )

    def _record(self, name: str, question: Question, completion: Completion) -> ModelAnswer:
        with self._trace.step(name) as step:
            step.input = {"kept": dict(question.kept)}
            step.output = {"text": clean_text(completion.text), "is_tool_call": completion.is_tool_call}
        answer = _read(step, question)
        self._trace.note_parse_path(answer.path)
        with self._trace.saving():
            self._guard()
        release_connection()
        reach("evaluator.recorded")
        return answer


def prompt_of(question: Question) -> tuple[ChatMessage, ...]:
    """Return the question as a prompt.

    Unit: at most PROMPT_MAX_TOKENS by estimate; the end of its text is cut.
    """
    instruction = f"{question.instruction}\n\n{JSON_INSTRUCTION.format(form=_form(question.schema))}"
    text, most = question.text, settings.PROMPT_MAX_TOKENS - count_tokens(instruction)
    while len(text) > 1 and count_tokens(text) > most:
        text = text[: int(len(text) * 0.9)]
    return (ChatMessage(role="system", content=instruction), ChatMessage(role="user", content=text))


def _form(schema: Any) -> str:
    """Sketch the schema as small models understand it: an example in place of a definition."""
    if schema.get("type") == "object":
        inner = ", ".join(f'"{name}": {_form(part)}' for name, part in schema.get("properties", {}).items())
        return "{" + inner + "}"
    if schema.get("type") == "array":
        return f"[{_form(schema.get('items', {}))}]"
    if "enum" in schema:
        return " or ".join(f'"{value}"' for value in schema["enum"])
    kinds = schema.get("type", "string")
    kinds = kinds if isinstance(kinds, list) else [kinds]
    examples = {"string": '"…"', "integer": "1", "number": "0.9"}
    return " or ".join(examples.get(kind, str(kind)) for kind in kinds)


def _read(step: StepRecord, question: Question) -> ModelAnswer:
    text, is_tool_call = str(step.output.get("text", "")), bool(step.output.get("is_tool_call"))
    value, path = read_object(text, question, is_tool_call=is_tool_call)
    kept = step.input.get("kept")
    return ModelAnswer(value=value, path=path, kept=kept if isinstance(kept, dict) else {})
