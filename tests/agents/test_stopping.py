"""Stopping: a person's word ends the turn that is worked for them, wherever it stands, and is never answered."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from agents import facts, lanes, turns, work
from agents.inbox import Refused, receive
from agents.llm.base import ModelError, ModelFailure
from agents.llm.router import answering_with
from agents.llm.scripted import ScriptedModel
from agents.models import Agent, Lane, Message, Step, Turn
from agents.outcomes import ended_turns
from memory.models import Memory
from plugins.api import Action, ActionResult, Provider, SetPluginState
from plugins.models import PluginState
from plugins.registry import Components, Registered, components_for


def drain(receipt: Any) -> None:
    Lane.objects.update(lease_until=None, next_run_at="2020-01-01T00:00:00Z")
    work.drain_lane(receipt.lane_id)


def said() -> list[str]:
    return list(
        Message.objects.filter(direction="out").order_by("received_at").values_list("text", flat=True)
    )


def ends() -> list[tuple[str, str, str]]:
    rows = Turn.objects.order_by("sequence").values_list("message__text", "state", "outcome")
    return list(rows)


def saying_while_it_answers(*texts: str, incoming: Any) -> ScriptedModel:
    """A model while whose first answer these messages come."""
    left = [list(texts)]

    def answer(_request: Any) -> str:
        for text in left.pop() if left else ():
            receive(incoming(text))
        return "A long answer."

    return ScriptedModel(answer)


def test_stop_ends_the_running_turn_and_what_waits_behind_it_goes_on(incoming: Any, hearing: None) -> None:
    receipt = receive(incoming("tell me everything"))
    with answering_with(saying_while_it_answers("and then?", "Stop!", incoming=incoming)) as model:
        drain(receipt)
    assert ends() == [
        ("tell me everything", "stopped", ""),
        ("and then?", "done", "replied"),
        ("Stop!", "done", "control"),
    ]
    assert said() == ["A long answer."]
    assert len(model.requests) == 2  # type: ignore[attr-defined]
    assert not Turn.objects.filter(ended_at=None).exists()
    assert Lane.objects.get().lease_until is None
    heard = Memory.objects.exclude(speaker="Eliza").values_list("text", flat=True)
    assert sorted(heard) == ["and then?", "tell me everything"], "a command is no memory"


def test_stop_is_stored_once_and_its_second_copy_stops_nothing(incoming: Any, hearing: None) -> None:
    receipt = receive(incoming("one"))
    stop = incoming("stop")
    with answering_with(ScriptedModel(lambda _request: receive(stop) and "Yes.")):
        drain(receipt)
    next_one = receive(incoming("two"))
    again = receive(stop)
    assert not again.is_new
    assert Turn.objects.get(pk=next_one.turn_id).stop_requested_at is None
    assert Message.objects.filter(text="stop").count() == 1
    assert [turn.result for turn in ended_turns([again.turn_id])] == ["control"]


def test_where_nothing_runs_stop_is_a_message_like_any_other(incoming: Any, model: ScriptedModel) -> None:
    receipt = receive(incoming("stop"))
    assert not receipt.is_obeyed
    drain(receipt)
    assert said() == ["Hello to you too."]


def test_a_networks_own_stop_is_never_answered(incoming: Any, model: ScriptedModel) -> None:
    receipt = receive(incoming("", control="stop"))
    assert receipt.is_obeyed
    drain(receipt)
    assert (ends(), said()) == ([("", "done", "control")], [])
    with pytest.raises(Refused):
        receive(incoming(""))


def test_an_agent_can_be_told_not_to_hear_the_word(incoming: Any, agent: Agent, hearing: None) -> None:
    Agent.objects.update(hears_stop=False)
    receipt = receive(incoming("one"))
    with answering_with(saying_while_it_answers("stop", incoming=incoming)):
        drain(receipt)
    assert [outcome for _text, _state, outcome in ends()] == ["replied", "replied"]


def test_stop_passes_the_limit_of_messages(incoming: Any, settings: Any) -> None:
    settings.PERSON_MESSAGES_PER_MINUTE = 1
    receipt = receive(incoming("one"))
    assert receive(incoming("stop")).is_obeyed
    assert Turn.objects.get(pk=receipt.turn_id).state == "stopped"


def test_in_a_rooms_lane_a_person_stops_only_their_own(incoming: Any, agent: Agent, hearing: None) -> None:
    Agent.objects.update(lane_scope=Agent.LaneScope.ROOM)
    place = {"room": "all", "room_type": "GROUP", "is_addressed": True}
    receipt = receive(incoming("ann's", person="ann", **place))

    def answer(request: Any) -> str:
        if request.messages[-1].content == "Ann: ann's":
            receive(incoming("bob's", person="bob", **place))
            receive(incoming("stop", person="bob", **place))
        return "Yes."

    with answering_with(ScriptedModel(answer)):
        drain(receipt)
    assert ends() == [
        ("ann's", "done", "replied"),
        ("bob's", "stopped", ""),
        ("stop", "done", "control"),
    ]


def test_a_turn_that_waits_ends_at_once_and_its_lane_goes_on(incoming: Any) -> None:
    receipt = receive(incoming("one"))
    failure = ModelError("busy", failure=ModelFailure.RATE_LIMITED, retry_after_seconds=200)
    with answering_with(ScriptedModel([failure, "Two it is."])) as model:
        work.drain_lane(receipt.lane_id)
        receive(incoming("two"))
        assert work.drain_lane(receipt.lane_id) == 0, "it waits, as the server asked"
        assert turns.request_stop(receipt.turn_id)
        assert Turn.objects.get(pk=receipt.turn_id).state == "stopped"
        assert Turn.objects.get(pk=receipt.turn_id).ended_at is not None
        assert Memory.objects.get().text == "one"
        assert work.drain_lane(receipt.lane_id) == 1
        assert len(model.requests) == 2  # type: ignore[attr-defined]
    assert said() == ["Two it is."]
    assert turns.request_stop(receipt.turn_id) is False, "it has ended"


def test_stopping_what_waits_further_back_leaves_the_lanes_delay(incoming: Any) -> None:
    receive(incoming("one"))
    second = receive(incoming("two"))
    Lane.objects.update(next_run_at="2999-01-01T00:00:00Z")
    assert turns.request_stop(second.turn_id)
    assert work.drain_lane(second.lane_id) == 0


def test_a_turn_that_was_to_stop_when_its_worker_died_ends_without_asking(
    incoming: Any, model: ScriptedModel
) -> None:
    receipt = receive(incoming("one"))
    lanes.claim(receipt.lane_id)  # and then the worker dies
    assert turns.request_stop(receipt.turn_id)
    assert Turn.objects.get().state == "running", "somebody may still hold it"
    drain(receipt)
    assert (ends(), model.requests) == ([("one", "stopped", "")], [])


free = threading.Event()
begun = threading.Event()


def wait_long(_context: Any) -> str:
    begun.set()
    free.wait(30)
    return "The weather, much too late."


def act_long(_context: Any) -> ActionResult:
    begun.set()
    free.wait(30)
    return ActionResult(effects=(SetPluginState(state={"acted": True}),))


@pytest.fixture
def slow(monkeypatch: Any, request: Any) -> Iterator[None]:
    """An agent whose provider or action hangs until the test is over, or longer than any test."""
    built_in = components_for(())
    slow_provider = Provider(name="WEATHER", get=wait_long, time_limit_seconds=60)
    slow_actions = [
        Action(name="ACT", description="Act.", execute=act_long, time_limit_seconds=60),
        Action(name="SEND", description="Send.", execute=act_long, time_limit_seconds=60, works_outward=True),
    ]
    of_provider = (slow_provider,) if request.param == "provider" else ()

    def components(_names: tuple[str, ...]) -> Components:
        def registered(parts: Any) -> tuple[Any, ...]:
            return tuple(Registered(plugin="slow", component=part) for part in parts)

        return Components(
            actions=built_in.actions + registered(slow_actions),
            providers=built_in.providers + registered(of_provider),
        )

    monkeypatch.setattr(facts, "components_for", components)
    monkeypatch.setattr("agents.pipeline.act.check_effects", lambda plugin, effects: None)
    facts.agent_facts.cache_clear()
    free.clear()
    begun.clear()
    yield
    free.set()
    facts.agent_facts.cache_clear()


def stop_once_begun(receipt: Any, monkeypatch: Any) -> None:
    """Have the turn stopped at the first look after its slow part began."""
    find_requests = turns.find_requests

    def look(turn_ids: Any) -> Any:
        if begun.is_set():
            turns.request_stop(receipt.turn_id)
        return find_requests(turn_ids)

    monkeypatch.setattr(turns, "find_requests", look)


@pytest.mark.parametrize("slow", ["provider"], indirect=True)
def test_a_provider_that_hangs_is_left(
    incoming: Any, slow: None, hearing: None, model: ScriptedModel, monkeypatch: Any
) -> None:
    receipt = receive(incoming("one"))
    stop_once_begun(receipt, monkeypatch)
    drain(receipt)
    assert not free.is_set()
    assert (ends(), model.requests) == ([("one", "stopped", "")], [])
    assert Step.objects.get(name="providers").state == "failed"


@pytest.mark.parametrize("slow", ["action"], indirect=True)
@pytest.mark.parametrize(("action", "state"), [("ACT", "failed"), ("SEND", "uncertain")])
def test_an_action_that_hangs_is_left_and_its_result_thrown_away(
    incoming: Any, slow: None, hearing: None, monkeypatch: Any, action: str, state: str
) -> None:
    receipt = receive(incoming("one"))
    stop_once_begun(receipt, monkeypatch)
    words = f"<response><actions>{action}, REPLY</actions><text>Done.</text></response>"
    with answering_with(ScriptedModel(words)):
        drain(receipt)
    free.set()
    assert (ends(), said()) == ([("one", "stopped", "")], [])
    assert Step.objects.get(name=f"act:0:{action}").state == state
    assert not Step.objects.filter(name="act:1:REPLY").exists()
    assert not PluginState.objects.exists()


class HangingEmbedder:
    name, dimensions = "hashed", 8

    def embed(self, texts: Any) -> list[list[float]]:
        begun.set()
        free.wait(30)
        return [[1.0] * 8 for _text in texts]


@pytest.mark.parametrize("slow", [""], indirect=True)
def test_an_embedder_that_hangs_is_left(
    incoming: Any, slow: None, hearing: None, model: ScriptedModel, monkeypatch: Any
) -> None:
    monkeypatch.setattr("agents.pipeline.recall.get_embedder", HangingEmbedder)
    receipt = receive(incoming("one"))
    stop_once_begun(receipt, monkeypatch)
    drain(receipt)
    assert not free.is_set()
    assert (ends(), model.requests) == ([("one", "stopped", "")], [])


@pytest.mark.parametrize("slow", ["action"], indirect=True)
def test_an_outward_action_that_began_is_not_interrupted(
    incoming: Any, agent: Agent, slow: None, hearing: None, monkeypatch: Any
) -> None:
    Agent.objects.update(double_texting=Agent.DoubleTexting.INTERRUPT)
    receipt = receive(incoming("one"))
    find_requests = turns.find_requests

    def look(turn_ids: Any) -> Any:
        if begun.is_set() and not free.is_set():
            receive(incoming("two"))
            free.set()
        return find_requests(turn_ids)

    monkeypatch.setattr(turns, "find_requests", look)
    sends = "<response><actions>SEND, REPLY</actions><text>Sent.</text></response>"
    with answering_with(ScriptedModel([sends, "Two."])):
        drain(receipt)
    assert [outcome for _text, _state, outcome in ends()] == ["replied", "replied"]
    assert said() == ["Sent.", "Two."]
