"""A turn that is taken again goes on from its last finished step: a recorded answer is not asked for again."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import IntegrityError, OperationalError

from agents import work
from agents.inbox import receive
from agents.llm.router import answering_with
from agents.llm.scripted import ScriptedModel
from agents.models import ModelCall, Step, Turn
from agents.pipeline import reply
from agents.trace import StepRecord, Trace
from plugins.api import Plugin, Provider
from tests.doubles.acting import acting_with, drain, said

STEPS = ["store", "recall", "providers", "respond", "generate", "act:0:REPLY", "reply"]


class Cut(OperationalError):
    """Stands for a database that went away in the middle."""


@pytest.fixture
def broken_end(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Let the transaction that ends a turn fail, as often as there are entries, after all of it was written."""
    breaks: list[str] = []
    coming: list[str] = []
    hear, save = reply.hear, Trace.save

    def hear_and_arm(drafts: Any, **named: Any) -> None:
        hear(drafts, **named)
        coming.extend([breaks.pop()] if breaks else [])

    def save_and_break(self: Trace, **named: Any) -> None:
        save(self, **named)
        if coming:
            raise Cut(coming.pop())

    monkeypatch.setattr(reply, "hear", hear_and_arm)
    monkeypatch.setattr(Trace, "save", save_and_break)
    return breaks


def test_an_answer_whose_turn_could_not_be_ended_is_not_asked_for_again(
    incoming: Any, model: ScriptedModel, broken_end: list[str]
) -> None:
    receipt = receive(incoming())
    broken_end += ["once", "twice"]
    drain(receipt)
    turn = Turn.objects.get()
    assert (turn.state, turn.error_count, said()) == ("waiting", 0, []), "an outage is no error"
    assert Step.objects.get(name="generate").output["text"] == "Hello to you too."
    drain(receipt)
    drain(receipt)

    assert len(model.requests) == 1
    assert said() == ["Hello to you too."]
    assert Turn.objects.get().state == "done"
    assert [step.name for step in Turn.objects.get().steps.all()] == STEPS
    assert ModelCall.objects.count() == 1, "the trace has each request once"


def test_a_model_that_judged_whether_to_answer_is_not_asked_again(incoming: Any) -> None:
    receipt = receive(incoming("any news?", room="hall", room_type="GROUP", is_addressed=False))

    def answer(request: Any) -> Any:
        if "RESPOND or IGNORE" in request.messages[0].content:
            return "RESPOND"
        asked.append(request)
        if len(asked) == 1:
            raise Cut("no answer")
        return "There is."

    asked: list[Any] = []
    with answering_with(ScriptedModel(answer)) as model:
        drain(receipt)
        assert Turn.objects.get().state == "waiting"
        drain(receipt)
        purposes = ModelCall.objects.order_by("position").values_list("purpose", flat=True)
        assert len(model.requests) == 3  # type: ignore[attr-defined]
    assert [purpose for purpose in purposes if purpose == "respond"] == ["respond"]
    assert said() == ["There is."]


def test_the_row_of_a_recorded_answer_stays_as_it_was(
    incoming: Any, model: ScriptedModel, broken_end: list[str]
) -> None:
    receipt = receive(incoming())
    broken_end.append("once")
    drain(receipt)
    before = Step.objects.filter(name__in=["respond", "generate"]).order_by("position").values()
    first = list(before)
    drain(receipt)
    assert list(before.all()) == first


def test_providers_are_not_asked_for_a_prompt_that_nobody_will_read(
    incoming: Any, model: ScriptedModel, broken_end: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []
    provider = Provider(name="WEATHER", get=lambda context: asked.append("asked") or "It rains.")
    with acting_with(monkeypatch, Plugin(name="weather", description="", providers=(provider,))):
        receipt = receive(incoming())
        broken_end.append("once")
        drain(receipt)
        drain(receipt)
    assert asked == ["asked"]
    assert Step.objects.get(name="providers").output["characters"]["WEATHER"] == 9, "the first row stands"
    assert said() == ["Hello to you too."]


def test_a_failed_step_is_done_anew_in_its_own_place(incoming: Any) -> None:
    receipt = receive(incoming())
    with answering_with(ScriptedModel([Cut("the network"), "Here I am."])) as model:
        drain(receipt)
        assert Step.objects.get(name="generate").state == "failed"
        place = Step.objects.get(name="generate").position
        drain(receipt)
        assert len(model.requests) == 2  # type: ignore[attr-defined]
    step = Step.objects.get(name="generate")
    assert (step.state, step.position, step.error) == ("done", place, "")
    assert [step.name for step in Turn.objects.get().steps.all()] == STEPS


def test_a_turn_that_was_put_back_uncounted_goes_on_from_its_steps_too(
    incoming: Any, model: ScriptedModel, broken_end: list[str]
) -> None:
    receipt = receive(incoming())
    broken_end.append("once")
    drain(receipt)
    Turn.objects.update(error_count=0)
    drain(receipt)
    assert len(model.requests) == 1
    assert said() == ["Hello to you too."]


def test_what_a_failed_save_held_is_written_by_the_next(
    db: None, incoming: Any, model: ScriptedModel
) -> None:
    receipt = receive(incoming())
    trace = Trace(receipt.turn_id)
    with trace.step("store"):
        pass
    with pytest.raises(Cut), trace.saving():
        raise Cut("before the end")
    with pytest.raises(IntegrityError), trace.saving(also=StepRecord(position=-1, name="refused")):
        pass
    assert Step.objects.count() == 0
    with trace.saving():
        pass
    assert Step.objects.get().name == "store"


def test_a_plain_turn_saves_nothing_before_its_end(
    incoming: Any, model: ScriptedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[int] = []
    end = reply.turns.end
    monkeypatch.setattr(
        reply.turns, "end", lambda *given, **named: seen.append(Step.objects.count()) or end(*given, **named)
    )
    work.drain_lane(receive(incoming()).lane_id)
    assert seen == [0]
