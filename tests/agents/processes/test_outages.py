"""An outage is no fault of a message: its turn is put back uncounted, and never answered twice."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from django.db import OperationalError, transaction
from django.db import connection as database
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.models import F

from agents import lanes, outbox, turns, work
from agents.databases import is_away, is_short
from agents.inbox import receive
from agents.lanes import ClaimedTurn
from agents.llm.base import CompletionRequest
from agents.llm.router import answering_with
from agents.llm.scripted import ScriptedModel
from agents.models import Delivery, Lane, Message, ModelCall, Turn
from agents.processes import keeper, outages
from agents.trace import Trace, open_trace

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: Any) -> None:
    monkeypatch.setattr(outages, "RETRY_SECONDS", 0.05)


def replies() -> list[str]:
    return list(
        Message.objects.filter(direction="out").order_by("received_at").values_list("text", flat=True)
    )


def counts() -> tuple[str, int, int]:
    turn = Turn.objects.order_by("sequence")[0]
    return turn.state, turn.error_count, turn.crash_count


def terminate_this_backend() -> None:
    with database.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        (pid,) = cursor.fetchone()

    def terminate() -> None:
        with database.cursor() as cursor:
            cursor.execute("SELECT pg_terminate_backend(%s, 5000)", [pid])
        database.close()

    thread = threading.Thread(target=terminate)
    thread.start()
    thread.join()


def test_a_connection_that_is_cut_while_the_turn_ends_costs_no_attempt(
    incoming: Any, model: ScriptedModel, monkeypatch: Any
) -> None:
    receipt = receive(incoming())
    real, cuts = outbox.put, [True]

    def put(*given: Any) -> Any:
        if cuts:
            cuts.pop()
            terminate_this_backend()
        return real(*given)

    monkeypatch.setattr(outbox, "put", put)
    work.drain_lane(receipt.lane_id)
    assert counts() == ("waiting", 0, 0)
    assert Lane.objects.get().lease_until is None
    assert work.drain_lane(receipt.lane_id) == 1
    assert (replies(), Delivery.objects.count()) == (["Hello to you too."], 1)


def test_a_commit_whose_answer_was_lost_is_read_again_and_not_assumed(
    incoming: Any, model: ScriptedModel, monkeypatch: Any
) -> None:
    for text in ("one", "two"):
        receipt = receive(incoming(text))
    real, losses = BaseDatabaseWrapper._commit, [True]

    def commit(self: Any) -> None:
        real(self)
        if losses:
            losses.pop()
            self.connection.close()
            raise OperationalError("the connection is lost")

    monkeypatch.setattr(BaseDatabaseWrapper, "_commit", commit)
    assert work.drain_lane(receipt.lane_id) == 2, "the lane is held still, and goes on"
    assert replies() == ["Hello to you too."] * 2
    assert set(Turn.objects.values_list("state", "error_count", "crash_count")) == {("done", 0, 0)}


def test_an_answer_whose_commit_was_not_heard_of_is_recorded_once(
    incoming: Any, model: ScriptedModel, monkeypatch: Any
) -> None:
    receipt = receive(incoming())
    real, losses = Trace.save, [True]

    def save(trace: Trace, **more: Any) -> None:
        real(trace, **more)
        if losses:
            losses.pop()
            transaction.on_commit(lose)

    def lose() -> None:
        raise OperationalError("the connection is lost")

    monkeypatch.setattr(Trace, "save", save)
    claimed = lanes.claim(receipt.lane_id)
    assert claimed is not None
    assert claimed[1] is not None
    trace = Trace(claimed[1].id)
    request = CompletionRequest(model="m", messages=(), max_tokens=1, temperature=0.0, timeout_seconds=1.0)
    with trace.step("generate"):
        trace.model_call("answer", request, provider="scripted", milliseconds=1.0)
    with pytest.raises(OperationalError), trace.saving():
        pass
    assert ModelCall.objects.count() == 1
    with trace.saving():
        trace.model_call("answer", request, provider="scripted", milliseconds=1.0)
    assert list(ModelCall.objects.values_list("position", flat=True)) == [0, 1]
    again = open_trace(claimed[1].id, is_second_attempt=True)
    again.model_call("answer", request, provider="scripted", milliseconds=1.0)
    again.save()
    assert list(ModelCall.objects.values_list("position", flat=True)) == [0, 1, 2]


def test_a_failure_that_cannot_be_recorded_waits_until_it_can(incoming: Any, monkeypatch: Any) -> None:
    receipt = receive(incoming())
    real, outage = turns.put_back, [True, True, True]

    def put_back(*given: Any, **more: Any) -> None:
        if outage:
            outage.pop()
            raise OperationalError("could not connect to server")
        real(*given, **more)

    monkeypatch.setattr(turns, "put_back", put_back)
    with answering_with(ScriptedModel([RuntimeError("broken")])):  # type: ignore[list-item]
        work.drain_lane(receipt.lane_id)
    assert counts() == ("waiting", 0, 0)


def test_what_somebody_else_has_taken_meanwhile_is_left_to_them(incoming: Any, monkeypatch: Any) -> None:
    receipt = receive(incoming())

    def answer(_request: Any) -> str:
        Lane.objects.update(lease_token=99)
        raise OperationalError("the server closed the connection unexpectedly")

    with answering_with(ScriptedModel(answer)):
        assert work.drain_lane(receipt.lane_id) == 1
    assert (counts(), replies()) == (("running", 0, 0), [])


def test_an_error_of_a_statement_counts_as_one(incoming: Any, monkeypatch: Any) -> None:
    receipt = receive(incoming())

    def put(*_given: Any) -> None:
        sleep_too_long()

    monkeypatch.setattr(outbox, "put", put)
    with answering_with(ScriptedModel("Hello.")):
        work.drain_lane(receipt.lane_id)
    assert counts() == ("waiting", 1, 0)


def test_a_worker_whose_lease_may_be_over_starts_nothing_more_and_puts_the_turn_back(
    incoming: Any, settings: Any, monkeypatch: Any
) -> None:
    """Its keeper is stuck, and a model took longer than the lease: the next model is not asked."""
    settings.LANE_LEASE_SECONDS = 0.3
    monkeypatch.setattr(keeper._Keeper, "_look", lambda self, watches: None)
    receipt = receive(incoming("What do you think?", room="group", room_type="GROUP"))

    def answer(_request: Any) -> str:
        time.sleep(0.4)
        return "RESPOND"

    with answering_with(ScriptedModel(answer)) as model:
        work.drain_lane(receipt.lane_id)
        assert len(model.requests) == 1  # type: ignore[attr-defined]
    assert (counts(), replies()) == (("waiting", 0, 0), [])


def test_a_fenced_worker_stops_to_stream(incoming: Any, settings: Any, monkeypatch: Any) -> None:
    settings.LANE_LEASE_SECONDS = 0.3
    monkeypatch.setattr(keeper._Keeper, "_look", lambda self, watches: None)
    streamed: list[str] = []

    def token(_stream: Any, text: str) -> None:
        streamed.append(text)
        time.sleep(0.1)

    monkeypatch.setattr("agents.streams.TurnStream.token", token)
    receipt = receive(incoming())
    with answering_with(ScriptedModel(" ".join(["word"] * 50))):
        work.drain_lane(receipt.lane_id)
    assert 0 < len(streamed) < 10
    assert (counts(), replies()) == (("waiting", 0, 0), [])


def test_a_turn_is_given_up_when_the_database_stays_away(incoming: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(outages, "PATIENCE_SECONDS", 0.2)
    monkeypatch.setattr(
        turns, "put_back", lambda *given, **more: (_ for _ in ()).throw(OperationalError("away"))
    )
    receipt = receive(incoming())
    claimed = lanes.claim(receipt.lane_id)
    assert claimed is not None
    assert isinstance(claimed[1], ClaimedTurn)
    assert outages.hand_back(claimed[1], Trace(claimed[1].id), reason="away") is True


def test_a_full_disk_counts_no_attempt_and_the_answer_waits_for_room(
    incoming: Any, model: ScriptedModel, monkeypatch: Any
) -> None:
    receipt = receive(incoming())
    real, full = outbox.put, [True]

    def put(*given: Any) -> Any:
        if full:
            full.pop()
            run_short("53100")
        return real(*given)

    monkeypatch.setattr(outbox, "put", put)
    work.drain_lane(receipt.lane_id)
    assert counts() == ("waiting", 0, 0)
    assert work.drain_lane(receipt.lane_id) == 0, "there may be no room yet"
    Lane.objects.update(next_run_at=F("woke_at"))
    assert work.drain_lane(receipt.lane_id) == 1
    assert replies() == ["Hello to you too."]
    assert len(model.requests) == 1


@pytest.mark.parametrize("state", ["53100", "53200", "53300"])
def test_a_database_that_is_short_of_something_is_as_good_as_away(state: str) -> None:
    with pytest.raises(OperationalError) as caught:
        run_short(state)
    assert is_away(caught.value)
    assert is_short(caught.value)
    assert not is_short(OperationalError("connection refused"))


def run_short(state: str) -> None:
    with transaction.atomic(), database.cursor() as cursor:
        cursor.execute(f"DO $$ BEGIN RAISE EXCEPTION 'no more' USING ERRCODE = '{state}'; END $$")


def test_a_database_that_refuses_is_not_away() -> None:
    assert is_away(OperationalError("connection refused"))
    assert not is_away(ValueError("no"))
    with pytest.raises(OperationalError, match="canceling statement") as caught:
        sleep_too_long()
    assert not is_away(caught.value)


def sleep_too_long() -> None:
    with transaction.atomic(), database.cursor() as cursor:
        cursor.execute("SET LOCAL statement_timeout = 10")
        cursor.execute("SELECT pg_sleep(1)")
