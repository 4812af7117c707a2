"""The trace of a turn: a row for each step and each request to a model, written with the next commit.

The pipeline's steps record into it; `save` writes what is new, in one statement. Steps that an
earlier attempt finished are found here and are not done again.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import connection, transaction
from django.db.models import OuterRef, Subquery

from agents import metrics
from agents.cleaning import clean_json
from agents.llm.base import Completion, CompletionRequest
from agents.models import ModelCall, Step


@dataclass(kw_only=True)
class StepRecord:
    """One step while it is done; what it sets here stands in its row."""

    position: int
    name: str
    input: Mapping[str, Any] = field(default_factory=dict)
    output: Mapping[str, Any] = field(default_factory=dict)
    state: str = Step.State.DONE
    milliseconds: float = 0.0
    error: str = ""


@dataclass(kw_only=True)
class ModelCallRecord:
    """One request to a model, with what came of it; its place in the turn is given once, and its row's key."""

    position: int
    purpose: str
    request: CompletionRequest
    provider: str
    completion: Completion | None
    milliseconds: float
    error: str
    parse_path: str = ""


class Trace:
    """Records what a turn does. `finished` are the steps of earlier attempts, by name; `call_count` says how many
    requests to a model those recorded."""

    def __init__(
        self, turn_id: UUID, *, finished: Mapping[str, StepRecord] | None = None, call_count: int = 0
    ) -> None:
        self._turn_id = turn_id
        self.finished = dict(finished or {})
        self._positions = {name: step.position for name, step in self.finished.items()}
        self._unsaved: dict[int, StepRecord] = {}
        self._unsaved_calls: list[ModelCallRecord] = []
        self._call_count = call_count

    @contextmanager
    def step(self, name: str, **input_: Any) -> Iterator[StepRecord]:
        """Record the block as a step; an error that leaves it is recorded and goes on."""
        record = StepRecord(position=self._place_of(name), name=name, input=input_)
        started = time.perf_counter()
        try:
            yield record
        except Exception as error:
            if record.state != Step.State.UNCERTAIN:
                record.state = Step.State.FAILED
            record.error = f"{type(error).__name__}: {error}"
            raise
        finally:
            record.milliseconds = (time.perf_counter() - started) * 1000
            self._unsaved[record.position] = record
            metrics.STEP.labels(step=name.split(":")[0]).observe(record.milliseconds / 1000)

    @property
    def has_answer(self) -> bool:
        """Tell whether an earlier attempt recorded the model's answer."""
        return self.find_finished("generate") is not None

    def find_finished(self, name: str) -> StepRecord | None:
        """Return the step of this name that an earlier attempt finished, or None."""
        record = self.finished.get(name)
        return record if record is not None and record.state == Step.State.DONE else None

    def model_call(
        self,
        purpose: str,
        request: CompletionRequest,
        *,
        provider: str,
        completion: Completion | None = None,
        milliseconds: float,
        error: str = "",
    ) -> None:
        """Record one request to a model."""
        self._unsaved_calls.append(
            ModelCallRecord(
                position=self._call_count,
                purpose=purpose,
                request=request,
                provider=provider,
                completion=completion,
                milliseconds=milliseconds,
                error=error,
            )
        )
        self._call_count += 1

    def note_parse_path(self, parse_path: str) -> None:
        """Note how the last answer was read."""
        if self._unsaved_calls:
            self._unsaved_calls[-1].parse_path = parse_path

    def save(self, *, also: StepRecord | None = None) -> None:
        """Write what is new, in the caller's transaction; `also` a step that is still being done."""
        steps, self._unsaved = list(self._unsaved.values()), {}
        if also is not None:
            steps.append(also)
        calls, self._unsaved_calls = self._unsaved_calls, []
        if steps or calls:
            _insert(self._turn_id, steps, calls)

    @contextmanager
    def saving(self, *, also: StepRecord | None = None) -> Iterator[None]:
        """Run the block in a transaction that ends by saving what is new; where it fails, that stays new.

        So an answer that was heard outlives a turn's end that failed: whatever is saved next writes it.
        """
        steps, calls = dict(self._unsaved), list(self._unsaved_calls)
        try:
            with transaction.atomic():
                yield
                self.save(also=also)
        except BaseException:
            self._unsaved, self._unsaved_calls = steps, calls
            raise

    def forget(self, name: str) -> None:
        """Leave the step as the database has it: what was recorded of it since is not known to be true."""
        self._unsaved.pop(self._place_of(name), None)

    def _place_of(self, name: str) -> int:
        return self._positions.setdefault(name, max(self._positions.values(), default=-1) + 1)


def open_trace(turn_id: UUID, *, is_second_attempt: bool) -> Trace:
    """Open the turn's trace, with the steps of earlier attempts where there were any."""
    if not is_second_attempt:
        return Trace(turn_id)
    calls = ModelCall.objects.filter(turn_id=OuterRef("turn_id")).order_by("-position")
    rows = list(
        Step.objects.filter(turn_id=turn_id).annotate(last_call=Subquery(calls.values("position")[:1]))
    )
    finished = {
        row.name: StepRecord(
            position=row.position,
            name=row.name,
            input=row.input,
            output=row.output,
            state=row.state,
            milliseconds=row.milliseconds,
            error=row.error,
        )
        for row in rows
    }
    last_call = rows[0].last_call if rows else None
    return Trace(turn_id, finished=finished, call_count=0 if last_call is None else last_call + 1)


INSERT_STEPS = """
INSERT INTO agents_step (turn_id, position, name, state, input, output, milliseconds, error, created_at)
SELECT %s, position, name, state, input, output, milliseconds, error, clock_timestamp()
FROM jsonb_to_recordset(%s::jsonb)
     AS step (position smallint, name text, state text, input jsonb, output jsonb, milliseconds float, error text)
ON CONFLICT (turn_id, position) DO UPDATE
SET state = excluded.state, input = excluded.input, output = excluded.output,
    milliseconds = excluded.milliseconds, error = excluded.error, created_at = excluded.created_at
"""
"""All rows come as one JSON text, which costs a third of an array for each column."""

INSERT_MODEL_CALLS = """
INSERT INTO agents_modelcall (turn_id, position, purpose, provider, model, prompt, answer, parse_path,
                              finish_reason, input_tokens, output_tokens, milliseconds,
                              first_token_milliseconds, error, created_at)
SELECT %s, position, purpose, provider, model, prompt, answer, parse_path, finish_reason, input_tokens,
       output_tokens, milliseconds, first_token_milliseconds, error, clock_timestamp()
FROM jsonb_to_recordset(%s::jsonb)
     AS call (position smallint, purpose text, provider text, model text, prompt jsonb, answer text,
              parse_path text, finish_reason text, input_tokens int, output_tokens int, milliseconds float,
              first_token_milliseconds float, error text)
ON CONFLICT (turn_id, position) DO NOTHING
"""
"""What a COMMIT that broke off had recorded is there already when it is written again."""


INSERT_BOTH = f"WITH steps AS ({INSERT_STEPS}) {INSERT_MODEL_CALLS}"


def _insert(turn_id: UUID, steps: list[StepRecord], calls: list[ModelCallRecord]) -> None:
    """Insert steps and model calls, in one statement."""
    statement = INSERT_BOTH if steps and calls else INSERT_STEPS if steps else INSERT_MODEL_CALLS
    parameters: list[Any] = []
    if steps:
        parameters += [turn_id, _json([vars(step) for step in steps])]
    if calls:
        parameters += [turn_id, _json([_call_row(call) for call in calls])]
    with connection.cursor() as cursor:
        cursor.execute(statement, parameters)


def _call_row(call: ModelCallRecord) -> dict[str, Any]:
    answer = call.completion
    return {
        "position": call.position,
        "purpose": call.purpose,
        "provider": call.provider,
        "model": answer.model if answer else call.request.model,
        "prompt": [vars(message) for message in call.request.messages],
        "answer": answer.text if answer else "",
        "parse_path": call.parse_path,
        "finish_reason": answer.finish_reason if answer else "",
        "input_tokens": answer.usage.input_tokens if answer else None,
        "output_tokens": answer.usage.output_tokens if answer else None,
        "milliseconds": call.milliseconds,
        "first_token_milliseconds": answer.first_token_milliseconds if answer else None,
        "error": call.error,
    }


def _json(value: Any) -> str:
    return json.dumps(clean_json(value), default=str)
