"""Acting: in order, each once, whatever dies in between."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest

from agents import facts, work
from agents.inbox import receive
from agents.llm.router import answering_with
from agents.llm.scripted import ScriptedModel
from agents.models import Lane, Message, Step, Turn
from memory.models import Goal, Memory
from plugins.api import (
    Action,
    ActionResult,
    Context,
    EvaluationResult,
    Evaluator,
    Plugin,
    Provider,
    Remember,
    Say,
    SetGoal,
    SetPluginState,
)
from plugins.models import PluginState
from plugins.registry import Components, Registered, components_for

ran: list[str] = []


class Died(BaseException):
    """Stands for the death of the worker: nothing catches it."""


@pytest.fixture
def mortal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an action's death be the worker's, instead of that of the action's thread alone."""
    monkeypatch.setattr(
        "agents.pipeline.act.call_within", lambda _seconds, function, *given: function(*given)
    )


def note(context: Context) -> ActionResult:
    ran.append("NOTE")
    return ActionResult(
        text="noted",
        effects=(
            SetGoal(name="learn French", objectives=("find a book",)),
            SetPluginState(state={"count": 1}),
            Say(text=f"I noted {context.arguments.get('what')}."),
        ),
    )


def fail(_context: Context) -> ActionResult:
    ran.append("FAIL")
    raise RuntimeError("broken")


def hang(_context: Context) -> ActionResult:
    ran.append("HANG")
    time.sleep(1)
    return ActionResult()


def die(_context: Context) -> ActionResult:
    ran.append("DIE")
    if ran.count("DIE") == 1:
        raise Died
    return ActionResult(effects=(Say(text="Done after all."),))


def forbidden(_context: Context) -> ActionResult:
    ran.append("FORBIDDEN")
    return ActionResult()


PLUGIN = Plugin(
    name="acting",
    description="For tests.",
    actions=(
        Action(name="NOTE", description="Note something.", execute=note),
        Action(name="FAIL", description="Fail.", execute=fail),
        Action(name="HANG", description="Hang.", execute=hang, time_limit_seconds=0.05),
        Action(name="DIE", description="Die.", execute=die, works_outward=True),
        Action(name="DIE_SAFELY", description="Die.", execute=die, works_outward=True, idempotent=True),
        Action(name="FORBIDDEN", description="No.", execute=forbidden, validate=lambda context: False),
        Action(name="DANGEROUS", description="No.", execute=forbidden, dangerous=True),
    ),
    providers=(
        Provider(name="WEATHER", get=lambda context: "It rains."),
        Provider(name="BROKEN", get=lambda context: str(1 / 0)),
    ),
)


@pytest.fixture
def acting(monkeypatch: Any) -> Iterator[None]:
    """The built-ins and the plugin of this test."""
    ran.clear()
    built_in = components_for(())

    def components(_names: tuple[str, ...]) -> Components:
        def mine(kind: str) -> tuple[Any, ...]:
            return tuple(Registered(plugin="acting", component=part) for part in getattr(PLUGIN, kind))

        return Components(
            actions=built_in.actions + mine("actions"), providers=built_in.providers + mine("providers")
        )

    monkeypatch.setattr(facts, "components_for", components)
    monkeypatch.setattr("agents.pipeline.act.check_effects", lambda plugin, effects: None)
    facts.agent_facts.cache_clear()
    yield
    facts.agent_facts.cache_clear()


def answer(actions: str, text: str = "Well.", arguments: str = "{}") -> ScriptedModel:
    return ScriptedModel(
        f"<response><actions>{actions}</actions><arguments>{arguments}</arguments><text>{text}</text></response>"
    )


def drain(receipt: Any) -> None:
    Lane.objects.update(lease_until=None, next_run_at="2020-01-01T00:00:00Z")
    work.drain_lane(receipt.lane_id)


def said() -> list[str]:
    return list(Message.objects.filter(direction="out").order_by("position").values_list("text", flat=True))


def test_actions_are_taken_in_their_order_with_their_effects(incoming: Any, acting: None) -> None:
    receipt = receive(incoming())
    with answering_with(answer("REPLY, NOTE", arguments='{"NOTE": {"what": "it"}}')) as model:
        drain(receipt)
    assert said() == ["Well.", "I noted it."]
    assert Goal.objects.get().objectives.get().description == "find a book"
    assert PluginState.objects.get().person_id == receipt.person_id
    prompt = model.requests[0].messages[0].content  # type: ignore[attr-defined]
    assert "NOTE: Note something." in prompt
    assert "FORBIDDEN" not in prompt
    assert "DANGEROUS" not in prompt
    assert "It rains." in prompt


def test_a_goal_and_a_plugins_state_are_known_to_the_next_turn(incoming: Any, acting: None) -> None:
    with answering_with(answer("NOTE")):
        drain(receive(incoming()))
    with answering_with(answer("REPLY")) as model:
        drain(receive(incoming()))
    assert "learn French" in model.requests[0].messages[0].content  # type: ignore[attr-defined]


def test_what_fails_hangs_or_is_unknown_costs_its_own_part_only(incoming: Any, acting: None) -> None:
    with answering_with(answer("FAIL, HANG, NO_SUCH, FORBIDDEN, DANGEROUS, REPLY")):
        drain(receive(incoming()))
    assert said() == ["Well."]
    assert ran == ["FAIL", "HANG"]
    steps = {step.name: step for step in Step.objects.all()}
    assert steps["act:0:FAIL"].error == "RuntimeError: broken"
    assert "0.05 s" in steps["act:1:HANG"].error
    assert "no action" in steps["act:2:NO_SUCH"].output["error"]
    assert "not allowed" in steps["act:3:FORBIDDEN"].output["error"]
    assert "not allowed" in steps["act:4:DANGEROUS"].output["error"]
    assert "ZeroDivisionError" in steps["providers"].error
    assert Turn.objects.get().state == "done"


def test_a_finished_action_is_not_done_twice_and_the_answer_not_asked_for_again(
    incoming: Any, acting: None, mortal: None
) -> None:
    receipt = receive(incoming())
    with answering_with(answer("NOTE, DIE_SAFELY")) as model:
        with pytest.raises(Died):
            drain(receipt)
        assert Turn.objects.get().state == "running"
        drain(receipt)
        assert len(model.requests) == 1  # type: ignore[attr-defined]
    assert ran == ["NOTE", "DIE", "DIE"]
    assert said() == ["I noted None.", "Done after all."]
    assert Goal.objects.count() == 1
    turn = Turn.objects.get()
    assert (turn.state, turn.suspect_count, turn.crash_count) == ("done", 1, 0)


def test_an_outward_action_that_may_have_been_done_is_not_done_again(
    incoming: Any, acting: None, mortal: None
) -> None:
    receipt = receive(incoming())
    with answering_with(answer("DIE, REPLY")):
        with pytest.raises(Died):
            drain(receipt)
        drain(receipt)
    assert ran == ["DIE"]
    assert said() == ["Well."]
    step = Step.objects.get(name="act:0:DIE")
    assert step.state == "uncertain"
    assert "A person must decide" in step.error


def test_evaluators_learn_after_the_reply_in_the_lanes_order(
    incoming: Any, monkeypatch: Any, model: Any
) -> None:
    from agents import evaluation

    seen: list[str] = []

    def learn(context: Context) -> EvaluationResult:
        seen.append(context.message.text)
        return EvaluationResult(note="ok", effects=(Remember(text=f"learnt from {context.message.text}"),))

    def broken(_context: Context) -> EvaluationResult:
        raise RuntimeError("no")

    evaluators = tuple(
        Registered(plugin="acting", component=Evaluator(name=name, evaluate=function))
        for name, function in (("BROKEN", broken), ("LEARN", learn))
    )
    built_in = components_for(())
    monkeypatch.setattr(
        facts,
        "components_for",
        lambda names: Components(
            actions=built_in.actions, providers=built_in.providers, evaluators=evaluators
        ),
    )
    monkeypatch.setattr("agents.pipeline.evaluate.check_effects", lambda plugin, effects: None)
    facts.agent_facts.cache_clear()
    for text in ("one", "two"):
        receipt = receive(incoming(text))
    drain(receipt)
    assert set(Turn.objects.values_list("evaluation", flat=True)) == {"due"}
    assert seen == []
    assert evaluation.evaluate_lane(receipt.lane_id) == 2
    assert evaluation.evaluate_lane(receipt.lane_id) == 0
    assert seen == ["one", "two"]
    assert set(Turn.objects.values_list("evaluation", flat=True)) == {"done"}
    learnt = Memory.objects.filter(kind="fact")
    assert sorted(learnt.values_list("text", flat=True)) == ["learnt from one", "learnt from two"]
    assert learnt[0].source_messages
    assert Step.objects.filter(name="evaluate:BROKEN", state="failed").count() == 2
    facts.agent_facts.cache_clear()
