"""How a forgetting begins while the fleet works: lanes first; who writes now is somebody new; nothing goes on."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import pytest
from django.db import OperationalError
from django.db import connection as database
from django.utils import timezone
from psycopg.errors import DeadlockDetected

from agents import approvals, dead_letters, forgetting, lanes, outbox, work
from agents.forgetting import CannotForget, quiet, sealing
from agents.inbox import receive
from agents.learning import evaluation
from agents.llm.router import answering_with
from agents.llm.scripted import ScriptedModel
from agents.models import (
    Account,
    Agent,
    Approval,
    AuditEntry,
    Delivery,
    Forgetting,
    Lane,
    Message,
    Person,
    Turn,
)
from agents.people import merging
from agents.people.merging import CannotMerge
from memory.models import Memory
from tests.doubles.storing import open_until_waited_for
from tests.doubles.threads import in_threads
from tests.doubles.waiting import LONG_AGO

SCOPES = [Agent.LaneScope.PERSON, Agent.LaneScope.PERSON_IN_ROOM, Agent.LaneScope.ROOM]


@pytest.fixture(autouse=True)
def _short_waits(settings: Any, monkeypatch: Any) -> None:
    settings.LANE_LEASE_SECONDS = settings.EVALUATION_LEASE_SECONDS = settings.DELIVERY_LEASE_SECONDS = 1.0
    monkeypatch.setattr(quiet, "LOOK_SECONDS", 0.05)


def begin(person_id: Any) -> Forgetting:
    return forgetting.begin(person_id, by="ada", why="Asked.")


def end(begun: Forgetting) -> None:
    assert forgetting.go_on(begun.pk)


@pytest.mark.parametrize("scope", SCOPES)
@pytest.mark.parametrize("room_type", ["DM", "GROUP"])
def test_a_message_that_comes_meanwhile_makes_a_new_person_who_is_answered(
    incoming: Any, agent: Agent, model: Any, scope: str, room_type: str
) -> None:
    Agent.objects.update(lane_scope=scope)
    old = receive(incoming("Remember me", room="place", room_type=room_type, is_addressed=True))
    begun = begin(old.person_id)
    new = receive(incoming("Hello again", room="place", room_type=room_type, is_addressed=True))
    assert new.person_id != old.person_id
    assert (new.room_id == old.room_id) == (room_type == "GROUP"), "her private room is another one"
    assert work.drain_lane(new.lane_id) == 1
    end(begun)
    assert list(Message.objects.filter(direction="in").values_list("text", flat=True)) == ["Hello again"]
    assert Turn.objects.get().outcome == "replied"
    assert Person.objects.get(name="Ann").pk == new.person_id
    later = receive(incoming("And again", room="place", room_type=room_type))
    assert (later.person_id, later.room_id, later.lane_id) == (new.person_id, new.room_id, new.lane_id)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("scope", SCOPES[:2])
def test_a_message_that_waits_for_the_lane_as_it_begins_is_somebody_new(
    incoming: Any, agent: Agent, scope: str
) -> None:
    """It has read the account already: what it read may not decide."""
    Agent.objects.update(lane_scope=scope)
    old = receive(incoming("Remember me"))
    with open_until_waited_for(lambda: begin(old.person_id)):
        new = receive(incoming("Hello again"))
    assert new.person_id != old.person_id
    end(Forgetting.objects.get())
    assert Message.objects.get().text == "Hello again"


@pytest.mark.django_db(transaction=True)
def test_one_that_waits_for_a_whole_rooms_lane_was_said_before_and_goes_with_the_rest(
    incoming: Any, agent: Agent
) -> None:
    Agent.objects.update(lane_scope=Agent.LaneScope.ROOM)
    old = receive(incoming("Remember me", room="group", room_type="GROUP"))
    with open_until_waited_for(lambda: begin(old.person_id)):
        late = receive(incoming("zebra", room="group", room_type="GROUP"))
    assert late.person_id == old.person_id
    end(Forgetting.objects.get())
    assert not Message.objects.exists()
    assert not Turn.objects.exists()


def test_a_turn_that_is_worked_is_fenced_and_writes_nothing(incoming: Any, agent: Agent) -> None:
    receipt = receive(incoming("zebra"))

    def answer(_request: Any) -> str:
        begin(receipt.person_id)
        return "I heard zebra."

    with answering_with(ScriptedModel(answer)):
        work.drain_lane(receipt.lane_id)
    turn = Turn.objects.get()
    assert (turn.state, turn.stop_requested_at is None) == ("stopped", False), "a stream ends within a second"
    assert not Message.objects.filter(direction="out").exists()
    assert not Memory.objects.exists()
    begun = Forgetting.objects.get()
    assert begun.quiet_at is not None, "until then its holder may believe in its lease"
    end(begun)
    with database.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        assert cursor.fetchall()[0][0] > begun.quiet_at
    assert not Turn.objects.exists()


def test_what_waits_is_parked_or_dead_is_never_worked_again(incoming: Any, agent: Agent) -> None:
    receipts = [receive(incoming(f"message {number}")) for number in range(3)]
    Turn.objects.filter(pk=receipts[0].turn_id).update(state="parked")
    Turn.objects.filter(pk=receipts[1].turn_id).update(state="dead")
    approval = Approval.objects.create(
        turn_id=receipts[0].turn_id, position=1, step="s", plugin="p", action="PAY", argument_hash="0",
        kind="dangerous", requested_at=timezone.now(),
    )  # fmt: skip
    begin(receipts[0].person_id)
    approvals.grant(approval.pk, by="ada", why="yes")
    assert dead_letters.retry([receipts[1].turn_id], place="front", by="ada", why="again") == []
    lane_id = receipts[0].lane_id
    Lane.objects.update(next_run_at=LONG_AGO, woke_at=LONG_AGO)
    assert lanes.find_due(limit=10, patience_seconds=0) == []
    assert work.drain_lane(lane_id) == 0
    assert set(Turn.objects.values_list("state", flat=True)) == {"stopped", "discarded"}


def test_what_is_learnt_from_at_that_moment_is_not_learnt(incoming: Any, agent: Agent, model: Any) -> None:
    receipt = receive(incoming("zebra"))
    work.drain_lane(receipt.lane_id)
    Turn.objects.update(evaluation="due")
    claimed = lanes.take_turn_by(evaluation.CLAIM, {"lane": receipt.lane_id, "lease": 30})
    assert claimed is not None
    turn = claimed[1]
    assert turn is not None
    begin(receipt.person_id)
    assert not evaluation._end(turn, Turn.Evaluation.DONE)
    assert evaluation.find_due(10) == []


def test_a_reply_on_its_way_is_recorded_by_nobody(incoming: Any, connection: Any, model: Any) -> None:
    receipt = receive(incoming("zebra"))
    work.drain_lane(receipt.lane_id)
    claimed = outbox.claim(connection.pk, receipt.room_id)
    assert claimed is not None
    begin(receipt.person_id)
    assert not outbox.record_unsent(claimed, state="pending", error="again")
    assert Delivery.objects.get().state == "failed"
    assert outbox.find_due(10) == []


def test_in_a_lane_of_a_whole_room_hers_is_fenced_and_others_turns_go_on(
    incoming: Any, agent: Agent, monkeypatch: Any
) -> None:
    Agent.objects.update(lane_scope=Agent.LaneScope.ROOM)
    place = {"room": "group", "room_type": "GROUP", "is_addressed": True}
    receipt = receive(incoming("zebra", person="ann", **place))
    receive(incoming("Hello", person="bob", **place))
    woken: list[Any] = []
    monkeypatch.setattr(
        "agents.forgetting.sealing.wake_after_commit", lambda name, **arguments: woken.append(arguments)
    )

    def answer(request: Any) -> str:
        if "zebra" in request.messages[-1].content:
            begin(receipt.person_id)
        return "Well."

    with answering_with(ScriptedModel(answer)):
        assert work.drain_lane(receipt.lane_id) == 1
        assert woken == [{"lane_id": str(receipt.lane_id)}]
        assert work.drain_lane(receipt.lane_id) == 1
    assert Message.objects.get(direction="out").person is not None
    assert Turn.objects.get(person__name="Bob").outcome == "replied"


def test_another_persons_turn_in_the_same_lane_is_left_at_work(incoming: Any, agent: Agent) -> None:
    Agent.objects.update(lane_scope=Agent.LaneScope.ROOM)
    place = {"room": "group", "room_type": "GROUP", "is_addressed": True}
    bob = receive(incoming("Hello", person="bob", **place))
    ann = receive(incoming("zebra", person="ann", **place))

    def answer(_request: Any) -> str:
        begin(ann.person_id)
        return "Well."

    with answering_with(ScriptedModel(answer)):
        assert work.drain_lane(bob.lane_id) == 1
    assert Turn.objects.get(person__name="Bob").outcome == "replied"
    assert Turn.objects.get(person_id=ann.person_id).state == "stopped"


def test_it_is_refused_with_the_reason(incoming: Any, agent: Agent, connection: Any) -> None:
    ann = receive(incoming("hello")).person_id
    own = receive(incoming("hello", person="eliza"))
    connection.external_id = "eliza"
    connection.save()
    refused: list[tuple[Any, str, str]] = [
        (ann, " ", "takes a reason"),
        (ann, "Ann asked", "names the person"),
        (ann, f"for {ann}", "names the person"),
        (UUID(int=7), "x", "There is no person"),
        (own.person_id, "x", "is an agent"),
    ]
    for person_id, why, words in refused:
        with pytest.raises(CannotForget, match=words):
            forgetting.begin(person_id, by="ada", why=why)
    assert not Forgetting.objects.exists()
    assert Account.objects.filter(external_id="ann").exists()
    begin(ann)
    with pytest.raises(CannotForget, match="already"):
        begin(ann)
    assert not AuditEntry.objects.exists(), "it is written when it has happened"


def test_whoever_is_being_forgotten_is_merged_with_nobody(incoming: Any) -> None:
    ann, bea = (receive(incoming("hello", person=name)).person_id for name in ("ann", "bea"))
    begun = begin(ann)
    for pair in ((ann, bea), (bea, ann), (bea, UUID(begun.ghosts[0]))):
        with pytest.raises(CannotMerge, match="being forgotten"):
            merging.merge(*pair, by="ada", why="x")


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("scope", SCOPES)
def test_of_messages_that_come_while_it_is_worked_none_is_lost_and_nothing_locks_up(
    incoming: Any, agent: Agent, connection: Any, scope: str
) -> None:
    Agent.objects.update(lane_scope=scope)
    group = {"room": "group", "room_type": "GROUP"}
    for number in range(3):
        ann = receive(incoming(f"zebra {number}", person="ann", **group))
        receive(incoming(f"zebra {number}", person="ann"))
        receive(incoming(f"hello {number}", person="bob", **group))
    told = 15

    def say(name: str, word: str, **place: Any) -> None:
        for number in range(told):
            receive(incoming(f"{word} {number}", person=name, **place))

    def forget() -> None:
        end(begin(ann.person_id))

    outcomes = in_threads(
        lambda: say("bob", "walks", **group),
        lambda: say("cleo", "walks", **group),
        lambda: say("bob", "walks"),
        lambda: say("ann", "later"),
        forget,
    )
    assert not [outcome for outcome in outcomes if outcome is not None], outcomes
    assert not Message.objects.filter(text__contains="zebra").exists()
    assert Message.objects.filter(text__startswith="walks").count() == 3 * told
    assert Message.objects.filter(text__startswith="hello").count() == 3
    assert not Person.objects.filter(pk=ann.person_id).exists()
    # What Ann said before it began went, what she said afterwards is a new person's.
    later = Message.objects.filter(text__startswith="later")
    new = Account.objects.filter(external_id="ann").values_list("person", flat=True)
    assert set(later.values_list("person", flat=True)) <= set(new)
    assert Turn.objects.filter(state="waiting").count() == 3 * told + 3 + later.count()


@pytest.mark.django_db(transaction=True)
def test_two_who_begin_at_once_begin_once_and_a_merge_comes_before_or_after(incoming: Any) -> None:
    for number in range(4):
        ann, bea = (receive(incoming("hello", person=f"{name}{number}")).person_id for name in ("ann", "bea"))
        outcomes = in_threads(
            lambda: begin(ann) and None,  # noqa: B023
            lambda: begin(ann) and None,  # noqa: B023
            lambda: merging.merge(bea, ann, by="ada", why="x"),  # noqa: B023
        )
        failed = [type(outcome) for outcome in outcomes if outcome is not None]
        assert failed.count(CannotForget) == 1
        assert set(failed) <= {CannotForget, CannotMerge}
        begun = Forgetting.objects.get()
        is_merged = CannotMerge not in failed
        assert (str(bea) in begun.people) == is_merged
        assert Person.objects.get(pk=bea).merged_into_id == (ann if is_merged else None)
        end(begun)
        assert not Person.objects.filter(pk=ann).exists()
        assert Person.objects.filter(pk=bea).exists() == (not is_merged)


@pytest.mark.parametrize("deadlocks", [3, 4])
def test_a_deadlock_with_a_worker_is_met_by_beginning_again(
    incoming: Any, monkeypatch: pytest.MonkeyPatch, deadlocks: int
) -> None:
    receive(incoming("hello"))
    ann = Person.objects.get(name="Ann")
    really, met = sealing._begin, []

    def begin_or_meet(*arguments: Any, **named: Any) -> Forgetting:
        if len(met) < deadlocks:
            met.append(1)
            raise OperationalError("deadlock detected\nDETAIL: its processes") from DeadlockDetected()
        return really(*arguments, **named)

    monkeypatch.setattr(sealing, "_begin", begin_or_meet)
    monkeypatch.setattr(sealing.time, "sleep", lambda _seconds: None)
    if deadlocks < sealing.ATTEMPTS:
        assert begin(ann.pk).pk
    else:
        with pytest.raises(CannotForget, match=r"busy just now \(deadlock detected\)\. Please"):
            begin(ann.pk)
        assert not Forgetting.objects.exists()
