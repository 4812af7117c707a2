"""Who works a forgetting holds a lease; one that nobody works is found; what others began before is waited for."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from django.db import connection as database

from agents import dispatcher, forgetting, tasks, work
from agents.forgetting import holding, quiet, removal
from agents.forgetting.holding import Lost
from agents.inbox import receive
from agents.llm.router import answering_with
from agents.llm.scripted import ScriptedModel
from agents.models import Forgetting, Lane, Message, ModelCall, Turn
from memory.models import Memory
from tests.doubles.lives import MARK, columns_with

GROUP = {"room": "group", "room_type": "GROUP", "is_addressed": True}


def begin(receipt: Any) -> Forgetting:
    return forgetting.begin(receipt.person_id, by="ada", why="Asked.")


def test_it_is_worked_by_one_at_a_time(incoming: Any) -> None:
    begun = begin(receive(incoming("zebra")))
    claimed = holding.claim(begun.pk, lambda _progress: None)
    assert claimed is not None
    assert not forgetting.go_on(begun.pk)
    assert forgetting.find_due(10) == []
    Forgetting.objects.update(lease_until="2020-01-01T00:00:00Z")
    assert forgetting.go_on(begun.pk)
    assert forgetting.go_on(begun.pk), "it has ended"


def test_who_lost_the_lease_changes_nothing_more(incoming: Any) -> None:
    begun = begin(receive(incoming("zebra")))
    first = holding.claim(begun.pk, lambda _progress: None)
    assert first is not None
    Forgetting.objects.update(lease_until=None)
    assert holding.claim(begun.pk, lambda _progress: None) is not None
    with pytest.raises(Lost):
        removal.remove(*first)
    assert Message.objects.filter(text="zebra").exists()


def test_what_nobody_works_is_found_by_the_dispatcher_and_worked_by_the_task(
    incoming: Any, monkeypatch: Any
) -> None:
    begun = begin(receive(incoming("zebra")))
    woken: list[tuple[str, Any]] = []
    monkeypatch.setattr(dispatcher, "wake", lambda name, **arguments: woken.append((name, arguments)) or True)
    dispatcher.dispatch_once()
    assert woken == [], "whoever began it is about to work it"
    Forgetting.objects.update(began_at="2020-01-01T00:00:00Z")
    dispatcher.dispatch_once()
    assert woken == [("agents.forget_person", {"forgetting_id": str(begun.pk)})]
    tasks.forget_person(**woken[0][1])
    assert not Forgetting.objects.exists()
    assert not Message.objects.exists()


def test_one_that_meets_a_server_that_is_away_goes_on_later(incoming: Any, monkeypatch: Any) -> None:
    import redis

    from agents import streams

    begun = begin(receive(incoming("zebra")))

    def away() -> Any:
        raise redis.ConnectionError("away")

    monkeypatch.setattr("agents.forgetting.ending.streams.client", away)
    monkeypatch.setattr(streams, "forget_room", lambda _room: None)
    with pytest.raises(redis.ConnectionError):
        forgetting.go_on(begun.pk)
    assert Forgetting.objects.get().stage == "swept"
    monkeypatch.undo()
    Forgetting.objects.update(lease_until=None)
    assert forgetting.go_on(begun.pk)
    assert not Forgetting.objects.exists()


def in_background(job: Any) -> threading.Thread:
    def run() -> None:
        try:
            job()
        finally:
            database.close()

    thread = threading.Thread(target=run)
    thread.start()
    return thread


def until(is_so: Any) -> None:
    deadline = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.django_db(transaction=True)
def test_anothers_turn_that_had_read_her_words_is_waited_for_and_cut(incoming: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(quiet, "LOOK_SECONDS", 0.02)
    with answering_with(ScriptedModel("Noted.")):
        ann = receive(incoming(f"My word is {MARK}", person="ann", **GROUP))
        work.drain_lane(ann.lane_id)
    threads = []

    def answer(request: Any) -> str:
        assert MARK in str(request.messages), "Bob's turn has read it"
        threads.append(in_background(lambda: forgetting.go_on(begin(ann).pk)))
        until(lambda: Forgetting.objects.filter(stage="removed").exists())
        time.sleep(0.2)
        assert Forgetting.objects.filter(stage="removed").exists(), "it waits for this turn"
        return f"Ann's word is {MARK}."

    bob = receive(incoming("What is the word?", person="bob", **GROUP))
    with answering_with(ScriptedModel(answer)):
        assert work.drain_lane(bob.lane_id) == 1
    threads[0].join(30)
    assert not Forgetting.objects.exists()
    assert columns_with(MARK) == set()
    reply = Message.objects.get(direction="out", person__name="Bob")
    assert reply.text == "[…]'s word is […]."
    assert ModelCall.objects.get(turn=bob.turn_id).prompt == []
    assert not Memory.objects.filter(text__contains="word is").exists()


@pytest.mark.django_db(transaction=True)
def test_anothers_turn_that_does_not_end_is_fenced_and_answered_anew(incoming: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(quiet, "LOOK_SECONDS", 0.02)
    monkeypatch.setattr(quiet, "PATIENCE_SECONDS", 0.1)
    with answering_with(ScriptedModel("Noted.")):
        ann = receive(incoming(f"My word is {MARK}", person="ann", **GROUP))
        work.drain_lane(ann.lane_id)
    bob = receive(incoming("What is the word?", person="bob", **GROUP))
    prompts: list[str] = []

    def answer(request: Any) -> str:
        prompts.append(str(request.messages))
        if len(prompts) == 1:
            thread = in_background(lambda: forgetting.go_on(begin(ann).pk))
            thread.join(30)
            assert not Forgetting.objects.exists()
        return "I know of none." if MARK not in prompts[-1] else f"It is {MARK}."

    with answering_with(ScriptedModel(answer)):
        work.drain_lane(bob.lane_id)
        Lane.objects.update(next_run_at="2020-01-01T00:00:00Z")
        assert Turn.objects.get(pk=bob.turn_id).state == "waiting"
        assert work.drain_lane(bob.lane_id) == 1
    assert MARK in prompts[0]
    assert MARK not in prompts[1]
    assert columns_with(MARK) == set()
    turn = Turn.objects.get(pk=bob.turn_id)
    assert (turn.outcome, turn.error_count, turn.crash_count, turn.suspect_count) == ("replied", 0, 0, 0)


def test_an_evaluation_that_had_read_her_words_is_fenced_and_done_anew(
    incoming: Any, model: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(quiet, "LOOK_SECONDS", 0.01)
    monkeypatch.setattr(quiet, "PATIENCE_SECONDS", 0.05)
    ann = receive(incoming("zebra", person="ann", **GROUP))
    bob = receive(incoming("Hello", person="bob", **GROUP))
    work.drain_lane(bob.lane_id)
    Turn.objects.filter(pk=bob.turn_id).update(
        evaluation="due",
        evaluation_token=4,
        evaluation_attempts=1,
        evaluation_lease_until="2999-01-01T00:00:00Z",
    )
    assert forgetting.go_on(begin(ann).pk)
    turn = Turn.objects.get(pk=bob.turn_id)
    assert (turn.evaluation, turn.evaluation_token, turn.evaluation_attempts) == ("due", 5, 0)
    assert turn.evaluation_lease_until is None


@pytest.mark.django_db(transaction=True)
def test_indexes_are_cleaned_of_her_vectors(incoming: Any, model: Any) -> None:
    receipt = receive(incoming("zebra"))
    work.drain_lane(receipt.lane_id)
    assert Memory.objects.exclude(embedding=None).exists()
    assert forgetting.go_on(begin(receipt).pk)
    with database.cursor() as cursor:
        cursor.execute("SELECT pg_stat_force_next_flush()")
        cursor.execute("SELECT relname FROM pg_stat_user_tables WHERE vacuum_count > 0")
        assert {("memory_memory",), ("agents_message",), ("agents_modelcall",)} <= set(cursor.fetchall())


def test_a_message_of_hers_that_is_stored_late_goes_too(
    incoming: Any, connection: Any, monkeypatch: Any
) -> None:
    """One that had read the account as it began, and was held up for long before it was written."""
    receipt = receive(incoming("zebra", **GROUP))
    begun = begin(receipt)
    remove, calls = removal.remove, []

    def remove_and_let_one_come(*given: Any) -> None:
        remove(*given)
        calls.append(1)
        if len(calls) == 1:
            Message.objects.create(
                agent=connection.agent, connection=connection, room_id=receipt.room_id, person_id=receipt.person_id,
                direction="in", text="late zebra", said_at=begun.began_at, received_at=begun.began_at,
            )  # fmt: skip

    monkeypatch.setattr(removal, "remove", remove_and_let_one_come)
    assert forgetting.go_on(begun.pk)
    assert len(calls) == 2, "it was removed once more"
    assert not Message.objects.exists()
