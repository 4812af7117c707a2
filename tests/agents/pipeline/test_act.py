"""Acting: in order, each once, whatever dies in between."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.db import OperationalError

from agents import facts
from agents.inbox import receive
from agents.llm.router import answering_with
from agents.models import Approval, Step, Turn
from agents.pipeline import act, reply
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
from tests.doubles.acting import Died, acting_with, answer, drain, let_actions_kill, said

ran: list[str] = []


@pytest.fixture
def mortal(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an action's death be the worker's."""
    let_actions_kill(monkeypatch)


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


def misapply(_context: Context) -> ActionResult:
    ran.append("MISAPPLY")
    return ActionResult(effects=(SetGoal(name=""),))


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
        Action(
            name="DANGEROUS",
            description="No.",
            execute=forbidden,
            dangerous=True,
            validate=lambda context: False,
        ),
        Action(name="MISAPPLY", description="Want too much.", execute=misapply),
    ),
    providers=(
        Provider(name="WEATHER", get=lambda context: "It rains."),
        Provider(name="BROKEN", get=lambda context: str(1 / 0)),
    ),
)


@pytest.fixture
def acting(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The built-ins and the plugin of this test."""
    ran.clear()
    with acting_with(monkeypatch, PLUGIN):
        yield


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


def test_an_outward_action_that_may_have_been_done_waits_for_a_person(
    incoming: Any, acting: None, mortal: None
) -> None:
    receipt = receive(incoming())
    with answering_with(answer("DIE, REPLY")) as model:
        with pytest.raises(Died):
            drain(receipt)
        drain(receipt)
        assert len(model.requests) == 1  # type: ignore[attr-defined]
    assert ran == ["DIE"]
    assert said() == []
    step = Step.objects.get(name="act:0:DIE")
    assert step.state == "uncertain"
    assert "A person must decide" in step.error
    approval = Approval.objects.get()
    assert (approval.turn_id, approval.position, approval.action, approval.kind, approval.state) == (
        receipt.turn_id,
        step.position,
        "DIE",
        "uncertain",
        "pending",
    )
    assert approval.expires_at is None, "nobody knows more of it after ten minutes"
    assert Turn.objects.get().state == "parked"


def test_an_effect_that_can_never_be_applied_costs_its_action_only(incoming: Any, acting: None) -> None:
    with answering_with(answer("MISAPPLY, REPLY")):
        drain(receive(incoming()))
    assert (ran, said()) == (["MISAPPLY"], ["Well."])
    step = Step.objects.get(name="act:0:MISAPPLY")
    assert step.state == "failed"
    assert "characters" in step.error
    assert Goal.objects.count() == 0


def test_effects_that_could_not_be_saved_are_applied_by_the_next_attempt(
    incoming: Any, acting: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    receipt = receive(incoming())
    apply = act.effects.apply_effects
    broken = iter([OperationalError("the connection was cut")])

    def once_broken(*given: Any, **named: Any) -> None:
        for error in broken:
            raise error
        apply(*given, **named)

    monkeypatch.setattr(act.effects, "apply_effects", once_broken)
    with answering_with(answer("NOTE")) as model:
        drain(receipt)
        assert Turn.objects.get().state == "waiting"
        assert not Step.objects.filter(name="act:0:NOTE").exists(), "it must not count as done"
        drain(receipt)
        assert len(model.requests) == 1  # type: ignore[attr-defined]
    assert ran == ["NOTE", "NOTE"]
    assert Goal.objects.count() == 1
    assert said() == ["I noted None."]


def test_an_action_that_failed_is_over_when_its_turn_is_taken_again(
    incoming: Any, acting: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    receipt = receive(incoming())
    end = reply.turns.end
    broken = iter([OperationalError("the connection was cut")])

    def once_broken(*given: Any, **named: Any) -> None:
        for error in broken:
            raise error
        end(*given, **named)

    monkeypatch.setattr(reply.turns, "end", once_broken)
    with answering_with(answer("FAIL, REPLY")):
        drain(receipt)
        drain(receipt)
    assert ran == ["FAIL"]
    assert Step.objects.get(name="act:0:FAIL").error == "RuntimeError: broken"
    assert (Turn.objects.get().state, said()) == ("done", ["Well."])


def test_arguments_are_found_by_the_name_that_the_model_used(incoming: Any, acting: None) -> None:
    with answering_with(answer("note", arguments='{"note": {"what": "it"}}')):
        drain(receive(incoming()))
    assert said() == ["I noted it."]


def test_evaluators_learn_after_the_reply_in_the_lanes_order(
    incoming: Any, monkeypatch: Any, model: Any
) -> None:
    from agents.learning import evaluation

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
