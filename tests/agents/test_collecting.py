"""Collecting: what waits of one person is one turn, whose set stands before the work begins."""

from __future__ import annotations

from typing import Any

import pytest

from agents import collecting, lanes, work
from agents.inbox import receive
from agents.lanes import Fenced
from agents.llm.base import ModelError, ModelFailure
from agents.llm.router import answering_with
from agents.llm.scripted import ScriptedModel
from agents.models import Agent, Lane, Message, Turn
from agents.outcomes import ended_turns
from memory.models import Memory


@pytest.fixture
def collecting_agent(agent: Agent) -> Agent:
    Agent.objects.filter(pk=agent.pk).update(double_texting=Agent.DoubleTexting.COLLECT)
    return agent


def drain(receipt: Any) -> None:
    Lane.objects.update(lease_until=None, next_run_at="2020-01-01T00:00:00Z")
    work.drain_lane(receipt.lane_id)


def asked(model: Any) -> list[str]:
    return [request.messages[-1].content for request in model.requests]


def ends() -> list[tuple[str, str]]:
    return list(Turn.objects.order_by("sequence").values_list("state", "outcome"))


def test_what_waits_is_one_turn_that_answers_the_last(
    collecting_agent: Agent, incoming: Any, model: ScriptedModel
) -> None:
    texts = ["I have a cat", "She is black", "What is her name?"]
    receipts = [receive(incoming(text, external_id=f"m{number}")) for number, text in enumerate(texts)]
    drain(receipts[0])

    assert asked(model) == ["\n".join(texts)], "asked once, with all of them in order"
    assert ends() == [("done", "collected"), ("done", "collected"), ("done", "replied")]
    last = Turn.objects.get(pk=receipts[2].turn_id)
    assert [turn.message.text for turn in last.collected.order_by("sequence")] == texts[:2]
    assert Turn.objects.filter(ended_at=None).count() == 0
    reply = Message.objects.get(direction="out")
    assert (reply.turn_id, reply.reply_to_external_id) == (last.pk, "m2")
    kept = Memory.objects.order_by("said_at").values_list("text", flat=True)
    assert sorted(kept) == sorted([*texts, "Hello to you too."])
    assert Lane.objects.get().lease_until is None
    assert [turn.result for turn in ended_turns([receipts[0].turn_id])] == ["collected"]


def test_a_collected_message_stands_in_the_history_of_the_next_turn(
    collecting_agent: Agent, incoming: Any, model: ScriptedModel
) -> None:
    for text in ("one", "two"):
        receipt = receive(incoming(text))
    drain(receipt)
    drain(receive(incoming("three")))
    said = [line.content for line in model.requests[-1].messages[1:]]
    assert said == ["one", "two", "Hello to you too.", "three"]


def test_only_what_one_person_said_in_one_room_is_collected(
    collecting_agent: Agent, incoming: Any, model: ScriptedModel
) -> None:
    for text, room in (("a1", "one"), ("a2", "one"), ("b1", "other"), ("a3", "one")):
        receipt = receive(incoming(text, room=room))
    drain(receipt)
    assert asked(model) == ["a1\na2", "b1", "a3"]


def test_in_a_rooms_lane_another_persons_words_come_between(
    collecting_agent: Agent, incoming: Any, model: ScriptedModel
) -> None:
    Agent.objects.update(lane_scope=Agent.LaneScope.ROOM)
    for text, person in (("a1", "ann"), ("b1", "bob"), ("b2", "bob"), ("a2", "ann")):
        receipt = receive(incoming(text, person=person, room="all", room_type="GROUP", is_addressed=True))
    drain(receipt)
    assert asked(model) == ["Ann: a1", "Bob: b1\nb2", "Ann: a2"]


def test_what_an_unverified_sender_said_is_not_mixed_with_the_rest(
    collecting_agent: Agent, incoming: Any, model: ScriptedModel
) -> None:
    for text, is_verified in (("sure", True), ("unsure", False)):
        receipt = receive(incoming(text, is_verified=is_verified))
    drain(receipt)
    assert asked(model) == ["sure", "unsure"]


def test_together_they_are_no_longer_than_one_message_may_be(
    collecting_agent: Agent, incoming: Any, model: ScriptedModel, settings: Any
) -> None:
    settings.MESSAGE_MAX_CHARACTERS = 10
    for text in ("aaaa", "bbbb", "cccc"):
        receipt = receive(incoming(text))
    drain(receipt)
    assert asked(model) == ["aaaa\nbbbb", "cccc"]


def test_a_message_to_the_agent_makes_all_of_them_be_to_it(
    collecting_agent: Agent, incoming: Any, model: ScriptedModel
) -> None:
    for text, is_addressed in (("hey you", True), ("are you there?", False)):
        receipt = receive(incoming(text, room="all", room_type="GROUP", is_addressed=is_addressed))
    drain(receipt)
    assert [request.messages[-1].content for request in model.requests] == ["Ann: hey you\nare you there?"]


def test_a_message_that_comes_after_the_pick_waits_for_its_own_turn(
    collecting_agent: Agent, incoming: Any
) -> None:
    receipt = receive(incoming("one"))

    def answer(request: Any) -> str:
        if request.messages[-1].content == "one":
            receive(incoming("two"))
            receive(incoming("three"))
        return "Yes."

    with answering_with(ScriptedModel(answer)) as model:
        drain(receipt)
    assert asked(model) == ["one", "two\nthree"]


def test_a_turn_that_is_taken_again_has_the_same_set(collecting_agent: Agent, incoming: Any) -> None:
    for text in ("one", "two"):
        receipt = receive(incoming(text))
    failure = ModelError("slow", failure=ModelFailure.TIMEOUT)
    with answering_with(ScriptedModel([failure, "Yes."])) as model:
        drain(receipt)
        receive(incoming("three"))
        drain(receipt)
    assert asked(model) == ["one\ntwo", "one\ntwo", "three"]


def test_a_turn_that_was_picked_alone_stays_alone(collecting_agent: Agent, incoming: Any) -> None:
    receipt = receive(incoming("one"))
    failure = ModelError("slow", failure=ModelFailure.TIMEOUT)
    with answering_with(ScriptedModel([failure, "Yes."])) as model:
        drain(receipt)
        receive(incoming("two"))
        drain(receipt)
    assert asked(model) == ["one", "one", "two"]


def test_a_death_after_the_set_was_stored_leaves_it_as_it_is(
    collecting_agent: Agent, incoming: Any, model: ScriptedModel
) -> None:
    for text in ("one", "two"):
        receipt = receive(incoming(text))
    _lease, turn = lanes.claim(receipt.lane_id) or (None, None)
    assert turn is not None
    assert collecting.collect(turn)
    receive(incoming("three"))  # and then the worker dies
    drain(receipt)
    assert asked(model) == ["one\ntwo", "three"]


def test_a_death_while_the_set_is_stored_changes_nothing(
    collecting_agent: Agent, incoming: Any, model: ScriptedModel, monkeypatch: Any
) -> None:
    for text in ("one", "two", "three"):
        receipt = receive(incoming(text))
    _lease, turn = lanes.claim(receipt.lane_id) or (None, None)
    assert turn is not None
    with monkeypatch.context() as patch:
        patch.setattr(collecting, "message_drafts", lambda ids: 1 / 0)
        with pytest.raises(ZeroDivisionError):
            collecting.collect(turn)
    assert [state for state, _outcome in ends()] == ["running", "waiting", "waiting"]
    drain(receipt)
    assert asked(model) == ["one\ntwo\nthree"]


def test_a_holder_that_lost_its_lease_collects_nothing(collecting_agent: Agent, incoming: Any) -> None:
    for text in ("one", "two"):
        receipt = receive(incoming(text))
    _lease, turn = lanes.claim(receipt.lane_id) or (None, None)
    assert turn is not None
    Lane.objects.update(lease_token=99)
    with pytest.raises(Fenced):
        collecting.collect(turn)
    assert not Turn.objects.exclude(collected_into=None).exists()
    assert not Turn.objects.exclude(collected_at=None).exists()


def test_a_dead_letter_speaks_for_all_of_its_set(collecting_agent: Agent, incoming: Any) -> None:
    for text in ("one", "two"):
        receipt = receive(incoming(text))
    with answering_with(ScriptedModel([ModelError("no", failure=ModelFailure.REFUSED, permanent=True)])):
        drain(receipt)
    assert ends() == [("done", "collected"), ("dead", "apologised")]
    assert Message.objects.filter(direction="out").count() == 1
    assert sorted(Memory.objects.values_list("text", flat=True)) == ["one", "two"]
