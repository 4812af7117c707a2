"""Interrupting: a newer message ends the running turn, as long as that has done nothing outward."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from agents import lanes, streams, turns, work
from agents.inbox import receive
from agents.llm.base import Completion, ModelError, ModelFailure, Usage
from agents.llm.router import answering_with
from agents.llm.scripted import ScriptedModel
from agents.models import Agent, Lane, Message, Step, Turn
from agents.outcomes import ended_turns
from agents.processes.keeper import Watch
from memory.models import Memory
from transports.models import Connection


@pytest.fixture
def interrupting(agent: Agent, hearing: None) -> Agent:
    Agent.objects.filter(pk=agent.pk).update(double_texting=Agent.DoubleTexting.INTERRUPT)
    return agent


def drain(receipt: Any) -> None:
    Lane.objects.update(lease_until=None, next_run_at="2020-01-01T00:00:00Z")
    work.drain_lane(receipt.lane_id)


def said() -> list[str]:
    return list(
        Message.objects.filter(direction="out").order_by("received_at").values_list("text", flat=True)
    )


def ends() -> list[tuple[str, str]]:
    return list(Turn.objects.order_by("sequence").values_list("state", "outcome"))


class Chatting:
    """A model while whose first answer the person says more: before its first word, or after it."""

    provider = "chatting"

    def __init__(self, say_more: Any, *, after_first_word: bool) -> None:
        self._say_more = say_more
        self._after_first_word = after_first_word
        self.requests: list[Any] = []

    def complete(self, request: Any, *, on_token: Any = None, is_cancelled: Any = None) -> Completion:
        self.requests.append(request)
        is_first = len(self.requests) == 1
        if is_first and not self._after_first_word:
            self._say_more()
        for word in ("Well, ", "yes."):
            if is_cancelled():
                raise ModelError("cancelled", failure=ModelFailure.CANCELLED)
            on_token(word)
            if is_first and self._after_first_word and word == "Well, ":
                self._say_more()
        return Completion(
            text="Well, yes.",
            model="m",
            provider="p",
            finish_reason="stop",
            usage=Usage(),
            milliseconds=1.0,
        )


def test_a_newer_message_ends_the_turn_and_is_answered_with_it(interrupting: Agent, incoming: Any) -> None:
    receipt = receive(incoming("What is the capital of"))
    with answering_with(Chatting(lambda: receive(incoming("France?")), after_first_word=False)) as model:  # type: ignore[arg-type]
        drain(receipt)

    assert ends() == [("stopped", "superseded"), ("done", "replied")]
    assert said() == ["Well, yes."]
    prompt = model.requests[-1].messages  # type: ignore[attr-defined]
    assert [(line.role, line.content) for line in prompt[1:]] == [
        ("user", "What is the capital of"),
        ("user", "France?"),
    ]
    assert "a message before this one and got no answer yet" in prompt[0].content
    assert "got no answer" not in model.requests[0].messages[0].content  # type: ignore[attr-defined]
    assert Memory.objects.filter(text="What is the capital of").count() == 1
    assert [turn.result for turn in ended_turns([receipt.turn_id])] == ["superseded"]
    assert Lane.objects.get().lease_until is None


@pytest.mark.parametrize("first", ["person", "model"])
def test_text_that_streams_is_outward_and_what_is_ended_shows_none(
    interrupting: Agent, incoming: Any, connection: Connection, monkeypatch: Any, first: str
) -> None:
    Connection.objects.update(supports_streaming=True)
    monkeypatch.setattr(streams, "TOKEN_INTERVAL_SECONDS", 0.0)
    receipt = receive(incoming("one"))
    model = Chatting(lambda: receive(incoming("two")), after_first_word=first == "model")
    with answering_with(model):  # type: ignore[arg-type]
        drain(receipt)

    shown = streams.client().xrange(streams.room_stream_key(receipt.room_id))
    of_first = [entry["event"] for _id, entry in shown if entry["turn"] == str(receipt.turn_id)]
    if first == "model":
        assert ends() == [("done", "replied"), ("done", "replied")]
        assert "token" in of_first
    else:
        assert ends() == [("stopped", "superseded"), ("done", "replied")]
        assert of_first == ["done"], "what was held back is not shown any more"


def test_a_turn_that_is_ended_says_nothing_and_one_that_has_spoken_is_not_ended(incoming: Any) -> None:
    receipt = receive(incoming("one"))
    _lease, turn = lanes.claim(receipt.lane_id) or (None, None)
    assert turn is not None
    ended, spoken = Watch(turn), Watch(turn)
    ended.is_interrupted = True
    assert ended.is_cancelled()
    assert not ended.may_go_outward()
    assert spoken.may_go_outward()
    spoken.is_interrupted = True
    assert not spoken.is_cancelled()
    spoken.is_stopped = True
    assert spoken.is_cancelled(), "a person's word ends it nevertheless"
    spoken.is_stopped = False
    assert spoken.is_cancelled(), "what is over stays over"


def test_at_most_so_many_turns_in_a_row_make_way(interrupting: Agent, incoming: Any) -> None:
    receipt = receive(incoming("m0"))
    asked: list[str] = []

    def answer(request: Any) -> str:
        asked.append(request.messages[-1].content)
        if len(asked) < 6:
            receive(incoming(f"m{len(asked)}"))
        return "Yes."

    with answering_with(ScriptedModel(answer)):
        drain(receipt)
    outcomes = [outcome for _state, outcome in ends()]
    assert outcomes == ["superseded"] * turns.MAX_INTERRUPTS + ["replied", "superseded", "replied"]
    assert list(Turn.objects.order_by("sequence").values_list("interrupt_count", flat=True)) == [
        0,
        1,
        2,
        3,
        0,
        1,
    ]


def test_a_turn_that_still_waits_makes_way_without_asking_the_model(
    interrupting: Agent, incoming: Any, model: ScriptedModel
) -> None:
    for text in ("one", "two", "three"):
        receipt = receive(incoming(text))
    drain(receipt)
    assert [outcome for _state, outcome in ends()] == ["superseded", "superseded", "replied"]
    assert [line.content for line in model.requests[0].messages[1:]] == ["one", "two", "three"]
    assert "2 messages before this one" in model.requests[0].messages[0].content
    assert len(model.requests) == 1


def test_another_room_and_another_person_interrupt_nobody(interrupting: Agent, incoming: Any) -> None:
    Agent.objects.update(lane_scope=Agent.LaneScope.PERSON)
    receipt = receive(incoming("one", room="here"))

    def others_speak() -> None:
        receive(incoming("elsewhere", room="there"))
        receive(incoming("mine", person="bob", room="here"))

    with answering_with(Chatting(others_speak, after_first_word=False)):  # type: ignore[arg-type]
        drain(receipt)
    assert not Turn.objects.filter(outcome="superseded").exists()
    assert not Turn.objects.exclude(interrupt_requested_at=None).exists()


def test_a_turn_whose_newer_message_is_gone_is_answered_after_all(interrupting: Agent, incoming: Any) -> None:
    receipt = receive(incoming("one"))

    def speak_and_take_back() -> None:
        newer = receive(incoming("two"))
        assert turns.request_stop(newer.turn_id)

    with answering_with(Chatting(speak_and_take_back, after_first_word=False)) as model:  # type: ignore[arg-type]
        drain(receipt)
    assert ends() == [("done", "replied"), ("stopped", "")]
    assert len(model.requests) == 2  # type: ignore[attr-defined]
    assert Turn.objects.get(pk=receipt.turn_id).crash_count == 0


def test_a_holder_that_lost_its_lease_makes_no_way(interrupting: Agent, incoming: Any) -> None:
    receipt = receive(incoming("one"))

    def speak_and_lose() -> None:
        receive(incoming("two"))
        Lane.objects.update(lease_token=99)

    with answering_with(Chatting(speak_and_lose, after_first_word=False)):  # type: ignore[arg-type]
        drain(receipt)
    assert ends() == [("running", ""), ("waiting", "")]
    assert not Step.objects.exists()


def test_an_agent_that_queues_pays_nothing_for_it(incoming: Any, agent: Agent, model: ScriptedModel) -> None:
    def statements() -> list[str]:
        with CaptureQueriesContext(database) as captured:
            receive(incoming("hello"))
        return [query["sql"] for query in captured if "SAVEPOINT" not in query["sql"]]

    statements()
    assert len(statements()) == 1
    assert not any("interrupt_requested_at = " in statement for statement in statements())
