"""Dead letters: retried at either end of their lane, or discarded, once, by somebody, for a reason."""

from __future__ import annotations

import threading
from typing import Any

import pytest
from django.db import Error, connection, transaction
from django.utils import timezone

from agents import dead_letters, work
from agents.gauges import read_gauges
from agents.inbox import receive
from agents.llm.base import ModelError, ModelFailure
from agents.llm.router import answering_with
from agents.llm.scripted import ScriptedModel
from agents.models import Agent, AuditEntry, Lane, Message, Step, Turn
from agents.outcomes import ended_turns
from agents.processes import suspects
from tests.conftest import make_agent

REFUSED = ModelError("wrong key", failure=ModelFailure.REFUSED, permanent=True)


def replies() -> list[tuple[int | None, str]]:
    said = Message.objects.filter(direction="out").order_by("received_at")
    return list(said.values_list("position", "text"))


@pytest.fixture
def dead(incoming: Any) -> Any:
    """A message of Ann's that became a dead letter."""
    receipt = receive(incoming("what happened?"))
    with answering_with(ScriptedModel([REFUSED])):
        work.drain_lane(receipt.lane_id)
    assert Turn.objects.get(pk=receipt.turn_id).state == "dead"
    return receipt


def test_a_retried_turn_is_answered_after_its_one_apology(dead: Any, agent: Agent, model: Any) -> None:
    Turn.objects.update(crash_count=2, suspect_count=0, stop_requested_at=timezone.now())
    assert dead_letters.retry([dead.turn_id], place="front", by="ada", why="the key is right now") == [
        dead.turn_id
    ]
    turn = Turn.objects.get()
    assert (turn.state, turn.outcome, turn.error_count, turn.crash_count) == ("waiting", "", 0, 0)
    assert work.drain_lane(dead.lane_id) == 1
    assert replies() == [(0, agent.apology), (1, "Hello to you too.")]
    turn = Turn.objects.get()
    assert (turn.state, turn.outcome, turn.error) == ("done", "replied", "")


def test_a_turn_that_dies_again_says_nothing_more_and_can_be_retried_again(
    dead: Any, agent: Agent, model: Any
) -> None:
    for _death in range(2):
        dead_letters.retry([dead.turn_id], place="front", by="ada", why="")
        with answering_with(ScriptedModel([REFUSED])):
            work.drain_lane(dead.lane_id)
    assert (Turn.objects.get().state, replies()) == ("dead", [(0, agent.apology)])
    dead_letters.retry([dead.turn_id], place="end", by="ada", why="")
    work.drain_lane(dead.lane_id)
    assert replies() == [(0, agent.apology), (1, "Hello to you too.")]


def asked(lane_id: Any) -> list[str]:
    with answering_with(ScriptedModel("Well.")) as model:
        work.drain_lane(lane_id)
    return [request.messages[-1].content for request in model.requests]  # type: ignore[attr-defined]


def test_at_the_front_it_goes_before_all_that_waits(dead: Any, incoming: Any) -> None:
    receive(incoming("second"))
    dead_letters.retry([dead.turn_id], place="front", by="ada", why="")
    assert asked(dead.lane_id) == ["what happened?", "second"]


def test_at_the_end_it_goes_after_all_that_waits_and_before_what_comes(dead: Any, incoming: Any) -> None:
    receive(incoming("second"))
    dead_letters.retry([dead.turn_id], place="end", by="ada", why="")
    receive(incoming("third"))
    assert asked(dead.lane_id) == ["second", "what happened?", "third"]
    assert sorted(Turn.objects.values_list("sequence", flat=True)) == [2, 3, 4]
    assert Lane.objects.get().last_sequence == 4


def test_many_of_many_lanes_keep_their_order_at_the_end(incoming: Any) -> None:
    receipts = [receive(incoming(text, person=person)) for person in ("ann", "bob") for text in "12"]
    Turn.objects.update(state="dead", ended_at=timezone.now())
    dead_letters.retry([receipt.turn_id for receipt in reversed(receipts)], place="end", by="ada", why="")
    for lane_id in {receipt.lane_id for receipt in receipts}:
        assert asked(lane_id) == ["1", "2"]
        assert Lane.objects.get(pk=lane_id).last_sequence == 4


def test_a_finished_step_is_kept_and_the_one_that_failed_is_done_again(dead: Any, model: Any) -> None:
    finished = Step.objects.filter(turn=dead.turn_id, state="done", name="store").get()
    Step.objects.filter(pk=finished.pk).update(output={"kept": True})
    assert Step.objects.get(name="generate").state == "failed"
    dead_letters.retry([dead.turn_id], place="front", by="ada", why="")
    work.drain_lane(dead.lane_id)
    assert (Step.objects.get(name="generate").state, len(model.requests)) == ("done", 1)


def test_a_recorded_answer_is_not_asked_for_again(dead: Any, model: Any) -> None:
    Step.objects.filter(name="generate").update(
        state="done",
        error="",
        output={
            "text": "As I was saying.",
            "actions": ["REPLY"],
            "thought": "",
            "parse_path": "text",
            "arguments": {},
        },
    )
    dead_letters.retry([dead.turn_id], place="front", by="ada", why="")
    work.drain_lane(dead.lane_id)
    assert (replies()[-1], model.requests) == ((1, "As I was saying."), [])


def test_what_killed_processes_is_worked_alone_from_the_first(incoming: Any) -> None:
    receipt = receive(incoming())
    Turn.objects.update(state="dead", crash_count=3, suspect_count=suspects.SHARED_CRASHES)
    dead_letters.retry([receipt.turn_id], place="front", by="ada", why="")
    turn = Turn.objects.get()
    assert (turn.crash_count, turn.suspect_count) == (0, suspects.SHARED_CRASHES)


def test_only_what_is_dead_is_decided_on(dead: Any, incoming: Any) -> None:
    waiting = receive(incoming("waits"))
    both = [dead.turn_id, waiting.turn_id]
    assert dead_letters.discard(both, by="ada", why="spam") == [dead.turn_id]
    assert dead_letters.discard(both, by="ada", why="spam") == []
    assert dead_letters.retry(both, place="front", by="ada", why="") == []
    assert list(Turn.objects.order_by("sequence").values_list("state", flat=True)) == ["discarded", "waiting"]
    assert AuditEntry.objects.count() == 1


def test_a_discarded_letter_leaves_the_gauge_and_is_told_of(dead: Any) -> None:
    assert read_gauges().dead_letters == 1
    dead_letters.discard([dead.turn_id], by="ada", why="spam")
    assert read_gauges().dead_letters == 0
    (ended,) = ended_turns([dead.turn_id]) or [None]
    assert ended is None, "its apology is still on its way"
    Message.objects.get(direction="out").delivery.delete()
    assert ended_turns([dead.turn_id])[0].result == "discarded"


def test_who_and_why_are_kept_and_nobody_changes_them(dead: Any) -> None:
    dead_letters.retry([dead.turn_id], place="end", by="ada", why="the key is right now")
    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.verb, entry.object_kind, entry.object_id, entry.reason) == (
        "ada",
        "retry_end",
        "turn",
        str(dead.turn_id),
        "the key is right now",
    )
    assert entry.details == {"error": "ModelError", "errors": 0, "crashes": 0}
    with pytest.raises(Error, match="never changed"), transaction.atomic():
        AuditEntry.objects.update(reason="other")
    with pytest.raises(Error, match="never changed"), transaction.atomic():
        entry.delete()


def test_dead_letters_are_found_by_agent_time_and_id(dead: Any, agent: Agent) -> None:
    (turn,) = dead_letters.find()
    assert dead_letters.find(agent=agent) == [turn]
    assert dead_letters.find(agent=make_agent(name="Iris")) == []
    assert turn.ended_at is not None
    assert dead_letters.find(since=turn.ended_at) == [turn]
    assert dead_letters.find(since=timezone.now()) == []
    assert dead_letters.find(turn_ids=[dead.turn_id]) == [turn]
    assert dead_letters.find(turn_ids=[dead.message_id]) == []


@pytest.mark.django_db(transaction=True)
def test_two_who_decide_at_once_never_wait_for_ever_and_decide_once(incoming: Any) -> None:
    ids = [receive(incoming(person=f"p{number}")).turn_id for number in range(6)]
    Turn.objects.update(state="dead", ended_at=timezone.now())
    changed: list[Any] = []

    def decide(chosen: list[Any]) -> None:
        changed.extend(dead_letters.retry(chosen, place="end", by="ada", why=""))
        connection.close()

    threads = [threading.Thread(target=decide, args=(chosen,)) for chosen in (ids, ids[::-1]) * 3]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert sorted(changed) == sorted(ids)
    assert AuditEntry.objects.count() == 6
