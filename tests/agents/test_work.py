"""Working a lane: one answer a message, in order, whatever fails."""

from __future__ import annotations

from typing import Any

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from agents import facts, lanes, turns, work
from agents.inbox import receive
from agents.llm.base import ModelError, ModelFailure
from agents.llm.router import answering_with
from agents.llm.scripted import ScriptedModel
from agents.models import Agent, Character, CharacterVersion, Delivery, Lane, Message, ModelCall, Step, Turn
from agents.models.agent import DEFAULT_APOLOGY
from memory.models import Memory
from tests.doubles.storing import open_meanwhile
from transports.delivery import deliver_room

STEPS = ["store", "recall", "providers", "respond", "generate", "act:0:REPLY", "reply"]


def release_lanes() -> None:
    """Let the lanes' leases end and their delays pass."""
    Lane.objects.update(lease_until=None, next_run_at="2020-01-01T00:00:00Z")


def replies() -> list[str]:
    return list(
        Message.objects.filter(direction="out").order_by("received_at").values_list("text", flat=True)
    )


def test_a_message_is_answered_once_and_every_step_leaves_a_row(incoming: Any, model: ScriptedModel) -> None:
    receipt = receive(incoming("hello"))
    assert work.drain_lane(receipt.lane_id) == 1
    assert work.drain_lane(receipt.lane_id) == 0

    turn = Turn.objects.get(pk=receipt.turn_id)
    assert (turn.state, turn.outcome, turn.error) == ("done", "replied", "")
    assert turn.character_version is not None
    assert replies() == ["Hello to you too."]
    assert [step.name for step in turn.steps.all()] == STEPS
    assert all(step.state == "done" and step.milliseconds >= 0 for step in turn.steps.all())
    call = turn.model_calls.get()
    assert (call.purpose, call.answer, call.parse_path) == ("answer", "Hello to you too.", "text")
    assert call.cost is None
    assert call.output_tokens == 4
    assert Delivery.objects.get().state == "pending"
    assert Lane.objects.get().lease_until is None


def test_a_plain_turn_costs_at_most_fourteen_statements_from_receipt_to_delivery(
    incoming: Any, model: ScriptedModel, connection: Any
) -> None:
    def whole_way() -> list[str]:
        with CaptureQueriesContext(database) as captured:
            receipt = receive(incoming("hello"))
            work.drain_lane(receipt.lane_id)
            deliver_room(connection.pk, receipt.room_id)
        return [
            query["sql"]
            for query in captured
            if not query["sql"].startswith(("SAVEPOINT", "RELEASE SAVEPOINT"))
        ]

    whole_way()
    statements = whole_way()
    assert Delivery.objects.filter(state="sent").count() == 2
    assert len(statements) <= 14, "\n".join(statements)


def test_a_lanes_messages_are_answered_in_their_order(incoming: Any) -> None:
    with answering_with(ScriptedModel(lambda request: f"to {request.messages[-1].content}")):
        for number in range(5):
            receipt = receive(incoming(f"m{number}"))
        assert work.drain_lane(receipt.lane_id) == 5
    assert replies() == [f"to m{number}" for number in range(5)]


def test_a_lane_gives_way_after_its_budget(incoming: Any, model: Any, monkeypatch: Any) -> None:
    woken: list[str] = []
    monkeypatch.setattr(work, "wake", lambda name, **arguments: woken.append(name))
    monkeypatch.setattr(work, "DRAIN_BUDGET_TURNS", 2)
    for _number in range(3):
        receipt = receive(incoming())
    assert work.drain_lane(receipt.lane_id) == 2
    assert woken == ["agents.drain_lane"]
    assert work.drain_lane(receipt.lane_id) == 1
    assert woken == ["agents.drain_lane"], "an empty lane wakes nobody"


def test_a_lane_gives_way_after_its_time(incoming: Any, model: Any, monkeypatch: Any) -> None:
    woken: list[str] = []
    monkeypatch.setattr(work, "wake", lambda name, **arguments: woken.append(name))
    monkeypatch.setattr(work, "DRAIN_BUDGET_SECONDS", 0.0)
    for _number in range(2):
        receipt = receive(incoming())
    assert work.drain_lane(receipt.lane_id) == 1
    assert (woken, Lane.objects.get().lease_until) == (["agents.drain_lane"], None)
    assert work.drain_lane(receipt.lane_id) == 1
    assert Turn.objects.filter(state="done").count() == 2


def test_what_was_said_before_is_in_the_prompt_once_and_in_order(incoming: Any, model: ScriptedModel) -> None:
    for text in ("first", "second", "third"):
        receipt = receive(incoming(text))
        work.drain_lane(receipt.lane_id)
    said = [(message.role, message.content) for message in model.requests[-1].messages[1:]]
    assert said == [
        ("user", "first"),
        ("assistant", "Hello to you too."),
        ("user", "second"),
        ("assistant", "Hello to you too."),
        ("user", "third"),
    ]


def test_the_message_and_the_reply_become_memories(incoming: Any, model: ScriptedModel) -> None:
    receipt = receive(incoming("I have a cat"))
    work.drain_lane(receipt.lane_id)
    heard, said = Memory.objects.order_by("id")
    assert (heard.text, heard.speaker, heard.scope, heard.person_id) == (
        "I have a cat",
        "Ann",
        "person",
        receipt.person_id,
    )
    assert heard.embedding is not None
    assert heard.source_messages == [str(receipt.message_id)]
    assert (said.text, said.speaker) == ("Hello to you too.", "Eliza")


@pytest.mark.parametrize(
    ("error", "attempts"),
    [
        (ModelError("slow", failure=ModelFailure.TIMEOUT), 3),
        (ModelError("broken", failure=ModelFailure.SERVER_ERROR), 3),
        (ModelError("nothing", failure=ModelFailure.EMPTY), 3),
        (ModelError("{{{", failure=ModelFailure.GARBAGE), 3),
        (ModelError("wrong key", failure=ModelFailure.REFUSED, permanent=True), 1),
    ],
)
def test_a_model_that_fails_costs_one_apology_and_the_turn_says_why(
    incoming: Any, agent: Agent, error: ModelError, attempts: int
) -> None:
    receipt = receive(incoming())
    with answering_with(ScriptedModel([error])) as scripted:
        for _attempt in range(attempts + 2):
            release_lanes()
            work.drain_lane(receipt.lane_id)
        assert len(scripted.requests) == attempts  # type: ignore[attr-defined]

    turn = Turn.objects.get(pk=receipt.turn_id)
    assert (turn.state, turn.outcome) == ("dead", "apologised")
    assert str(error) in turn.error
    assert replies() == [agent.apology]
    assert ModelCall.objects.filter(turn=turn).exclude(error="").count() == attempts


def seconds_until_due() -> float:
    with database.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM next_run_at - clock_timestamp()) FROM agents_lane")
        return float(cursor.fetchone()[0])


def test_a_turn_that_failed_once_is_answered_by_the_next_attempt_after_a_delay(incoming: Any) -> None:
    receipt = receive(incoming())
    error = ModelError("broken", failure=ModelFailure.SERVER_ERROR)
    with answering_with(ScriptedModel([error, "Here I am."])):
        work.drain_lane(receipt.lane_id)
        assert Lane.objects.get().lease_until is None
        assert 0 < seconds_until_due() <= 2
        assert work.drain_lane(receipt.lane_id) == 0
        release_lanes()
        assert work.drain_lane(receipt.lane_id) == 1
    turn = Turn.objects.get()
    assert (turn.state, turn.error_count, replies()) == ("done", 1, ["Here I am."])


@pytest.mark.parametrize(
    ("failure", "retry_after", "at_least", "at_most"),
    [
        (ModelFailure.RATE_LIMITED, 30, 25, 30),
        (ModelFailure.RATE_LIMITED, 900, 890, 900),
        (ModelFailure.RATE_LIMITED, None, 5, 10),
        (ModelFailure.SERVER_ERROR, 40, 35, 40),
    ],
)
def test_waiting_for_a_rate_limit_lasts_as_long_as_the_server_says_and_never_counts(
    incoming: Any, settings: Any, failure: Any, retry_after: float | None, at_least: float, at_most: float
) -> None:
    receipt = receive(incoming())
    error = ModelError("busy", failure=failure, retry_after_seconds=retry_after)
    waits = settings.TURN_MAX_ATTEMPTS + 2
    with answering_with(ScriptedModel([*[error] * waits, "Here I am."])):
        for _wait in range(waits):
            work.drain_lane(receipt.lane_id)
            assert at_least < seconds_until_due() <= at_most
            assert work.drain_lane(receipt.lane_id) == 0, "the lane waits"
            release_lanes()
        assert work.drain_lane(receipt.lane_id) == 1
    turn = Turn.objects.get()
    assert (turn.state, turn.error_count, replies()) == ("done", 0, ["Here I am."])


def test_a_dead_letter_does_not_hold_up_its_lane(incoming: Any, agent: Agent) -> None:
    for text in ("poison", "after"):
        receipt = receive(incoming(text))

    def answer(request: Any) -> Any:
        is_poison = request.messages[-1].content == "poison"
        return ModelError("no", failure=ModelFailure.REFUSED, permanent=True) if is_poison else "Fine."

    with answering_with(ScriptedModel(answer)):
        assert work.drain_lane(receipt.lane_id) == 2
    assert replies() == [agent.apology, "Fine."]


def test_a_turn_whose_worker_died_is_taken_again_and_answered_once(incoming: Any, model: Any) -> None:
    receipt = receive(incoming())
    lanes.claim(receipt.lane_id)  # and then the worker dies
    assert work.drain_lane(receipt.lane_id) == 0, "its lease still stands"
    release_lanes()
    assert work.drain_lane(receipt.lane_id) == 1
    turn = Turn.objects.get()
    assert (turn.state, turn.suspect_count, turn.crash_count) == ("done", 1, 0)
    assert replies() == ["Hello to you too."]


def test_a_holder_that_lost_its_lease_can_change_nothing(incoming: Any, model: ScriptedModel) -> None:
    receipt = receive(incoming())

    def answer(_request: Any) -> str:
        Lane.objects.update(lease_token=99)  # somebody else took the lane meanwhile
        return "From the past."

    with answering_with(ScriptedModel(answer)):
        assert work.drain_lane(receipt.lane_id) == 1
    assert replies() == []
    assert not Step.objects.exists()
    assert not Memory.objects.exists()
    assert Turn.objects.get().state == "running"
    release_lanes()
    work.drain_lane(receipt.lane_id)
    assert replies() == ["Hello to you too."]


def test_a_paused_agent_answers_when_it_is_started_again(
    incoming: Any, agent: Agent, model: ScriptedModel
) -> None:
    receipt = receive(incoming())
    Agent.objects.update(status=Agent.Status.PAUSED)
    assert work.drain_lane(receipt.lane_id) == 0
    Agent.objects.update(status=Agent.Status.RUNNING)
    assert work.drain_lane(receipt.lane_id) == 1


def test_a_message_that_names_others_in_a_group_is_not_answered(incoming: Any) -> None:
    receipt = receive(incoming("Bob, are you there?", room="group", room_type="GROUP", is_addressed=False))
    with answering_with(ScriptedModel("IGNORE")) as scripted:
        work.drain_lane(receipt.lane_id)
        assert len(scripted.requests) == 1  # type: ignore[attr-defined]
    turn = Turn.objects.get()
    assert (turn.state, turn.outcome, replies()) == ("done", "silent", [])
    assert ModelCall.objects.get().purpose == "respond"


@pytest.mark.parametrize(
    "changes", [{"is_addressed": True}, {"text": "What do you say, eliza?"}], ids=["addressed", "named"]
)
def test_a_message_to_the_agent_in_a_group_is_answered_with_one_request(
    incoming: Any, model: ScriptedModel, changes: dict[str, Any]
) -> None:
    receipt = receive(incoming(room="group", room_type="GROUP", **changes))
    work.drain_lane(receipt.lane_id)
    assert replies() == ["Hello to you too."]
    assert len(model.requests) == 1


def test_an_embedder_that_is_away_costs_the_memories_and_not_the_answer(
    incoming: Any, model: ScriptedModel, settings: Any
) -> None:
    settings.EMBEDDING_BASE_URL, settings.EMBEDDING_MODEL = "http://127.0.0.1:9/v1", "away"
    settings.EMBEDDING_DIMENSIONS = 384
    receipt = receive(incoming())
    work.drain_lane(receipt.lane_id)
    assert replies() == ["Hello to you too."]
    assert Step.objects.get(name="recall").error
    assert list(Memory.objects.values_list("embedding", flat=True)) == [None, None]


@pytest.mark.django_db(transaction=True)
def test_a_message_that_is_stored_while_a_turn_ends_is_worked_by_the_same_worker(
    incoming: Any, model: ScriptedModel, monkeypatch: Any
) -> None:
    """The end waits for the lane's row before it looks whether the lane is empty."""
    receipt = receive(incoming("one"))
    with open_meanwhile(monkeypatch, turns, "end", lambda: receive(incoming("two"))):
        assert work.drain_lane(receipt.lane_id) == 2
    assert Turn.objects.filter(state="done").count() == 2


def test_a_lane_whose_agent_is_paused_meanwhile_is_let_go_with_what_waits_in_it(
    incoming: Any, model: ScriptedModel
) -> None:
    for text in ("one", "two"):
        receipt = receive(incoming(text))

    def answer(_request: Any) -> str:
        Agent.objects.update(status=Agent.Status.PAUSED)
        return "Good night."

    with answering_with(ScriptedModel(answer)):
        assert work.drain_lane(receipt.lane_id) == 1
    assert Turn.objects.filter(state="waiting").count() == 1
    assert Lane.objects.get().lease_until is None, "when the agent is back, nobody has to wait for a lease"


@pytest.mark.parametrize("words", ["\x00", "\ud800", "\x1b[31m"], ids=["nul", "half_a_pair", "escape"])
def test_a_failure_that_is_told_in_unstorable_words_counts_like_any_other(
    incoming: Any, agent: Agent, settings: Any, words: str
) -> None:
    receipt = receive(incoming())

    def answer(_request: Any) -> str:
        raise ModelError(words, failure=ModelFailure.SERVER_ERROR)

    with answering_with(ScriptedModel(answer)):
        for attempt in range(1, settings.TURN_MAX_ATTEMPTS + 1):
            work.drain_lane(receipt.lane_id)
            assert Turn.objects.get().error.startswith("ModelError: "), attempt
            release_lanes()
    assert (Turn.objects.get().state, replies()) == ("dead", [agent.apology])


def test_what_fails_where_nobody_expected_it_has_an_end_too(
    incoming: Any, model: Any, settings: Any, monkeypatch: Any
) -> None:
    def broken(*_given: Any, **_named: Any) -> Any:
        raise KeyError("a row that can't be read")

    monkeypatch.setattr(work, "open_trace", broken)
    receipt = receive(incoming())
    for errors in range(1, settings.TURN_MAX_ATTEMPTS):
        work.drain_lane(receipt.lane_id)
        turn = Turn.objects.get()
        assert (turn.state, turn.error_count) == ("waiting", errors)
        assert work.drain_lane(receipt.lane_id) == 0, "it waits a little between"
        release_lanes()
    work.drain_lane(receipt.lane_id)
    turn = Turn.objects.get()
    assert (turn.state, turn.outcome, replies()) == ("dead", "apologised", [DEFAULT_APOLOGY])
    assert "a row that can't be read" in turn.error
    assert Lane.objects.get().lease_until is None


def test_an_agent_whose_character_can_not_be_read_blocks_no_lane(
    incoming: Any, model: Any, settings: Any
) -> None:
    receipt = receive(incoming())
    CharacterVersion.objects.update(document=["no object"])
    Character.objects.update(document=["no object"])
    facts.agent_facts.cache_clear()
    for _attempt in range(settings.TURN_MAX_ATTEMPTS + 1):
        work.drain_lane(receipt.lane_id)
        release_lanes()
    assert (Turn.objects.get().state, replies()) == ("dead", [DEFAULT_APOLOGY])


@pytest.mark.django_db(transaction=True)
def test_who_was_woken_while_a_lane_was_let_go_is_woken_again(incoming: Any, monkeypatch: Any) -> None:
    receipt = receive(incoming("one"))
    said: list[Any] = []

    def reach(name: str) -> None:
        if name == "lane.before_release":
            said.append(receive(incoming("two")))
            assert lanes.claim(receipt.lane_id) is None, "who was woken finds the lane held"

    claimed = lanes.claim(receipt.lane_id)
    assert claimed is not None
    Turn.objects.filter(pk=receipt.turn_id).update(state="stopped")
    woken: list[str] = []
    monkeypatch.setattr(work, "reach", reach)
    monkeypatch.setattr("agents.wakeups.wake", lambda _name, **arguments: woken.append(arguments["lane_id"]))
    work._let_go(claimed[0])
    assert len(said) == 1
    assert woken == 2 * [str(receipt.lane_id)], "for the message, and for the lane that is free again"
    assert Lane.objects.get().lease_until is None
