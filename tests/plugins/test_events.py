import datetime as dt
import threading

import pytest
from django.db import connection, transaction
from django.utils import timezone

from plugins import events
from plugins.models import Event
from plugins.registry import get_registry, register_service


class Wakeups:
    def __init__(self):
        self.sent = []

    def wake_after_commit(self, name, **_arguments):
        transaction.on_commit(lambda: self.sent.append(name))


@pytest.fixture
def wakeups():
    from plugins.apps import _wakeups

    fake = Wakeups()
    register_service("wakeups", lambda: fake, replace=True)
    yield fake
    register_service("wakeups", _wakeups, replace=True)


def heard(stranger):
    return [call[1] for call in stranger.calls if call[0] == "event"]


def let_leases_end():
    Event.objects.update(lease_until=timezone.now() - dt.timedelta(seconds=1))


@pytest.mark.django_db
def test_an_event_that_nobody_hears_costs_no_statement(stranger, django_assert_num_queries):
    with django_assert_num_queries(0):
        assert events.emit("goal:completed", {"goal": "1"}) is False


@pytest.mark.django_db
def test_without_a_listener_there_is_nothing_to_look_for(load, django_assert_num_queries):
    load()
    with django_assert_num_queries(0):
        assert events.handle_due_events() == 0
        assert events.has_due_events() is False


@pytest.mark.django_db(transaction=True)
def test_an_event_is_stored_with_what_it_tells_of_and_wakes_after_the_commit(stranger, wakeups):
    class Undone(Exception):
        pass

    def emit_and_undo():
        with transaction.atomic():
            events.emit("dice:rolled", {"eyes": 1})
            raise Undone

    with pytest.raises(Undone):
        emit_and_undo()
    assert not Event.objects.exists()
    with transaction.atomic():
        assert events.emit("dice:rolled", {"eyes": 6})
        assert wakeups.sent == []
    assert wakeups.sent == ["plugins.handle_events"]


@pytest.mark.django_db(transaction=True)
def test_an_event_is_handled_once_and_then_done(stranger, wakeups):
    events.emit("dice:rolled", {"eyes": 6})
    assert events.has_due_events()
    assert events.handle_due_events() == 1
    assert not events.has_due_events()
    assert events.handle_due_events() == 0
    event = Event.objects.get()
    assert heard(stranger) == [{"eyes": 6}]
    assert event.handled_at
    assert event.error == ""


@pytest.mark.django_db(transaction=True)
def test_a_handler_that_fails_is_called_again_five_times_and_its_error_stays(stranger, wakeups):
    events.emit("dice:rolled", {"fails": True})
    for attempt in range(1, 8):
        events.handle_due_events()
        event = Event.objects.get()
        assert event.attempts == min(attempt, events.MAX_ATTEMPTS)
        assert event.handled_at is None
        assert "dice: ValueError: the dice were too loud" in event.error
        let_leases_end()
    assert len(heard(stranger)) == events.MAX_ATTEMPTS


@pytest.mark.django_db(transaction=True)
def test_a_failed_event_waits_and_lets_others_by(stranger, wakeups):
    events.emit("dice:rolled", {"fails": True})
    events.emit("dice:rolled", {"eyes": 2})
    assert events.handle_due_events() == 2
    assert events.handle_due_events() == 0


@pytest.mark.django_db(transaction=True)
def test_an_event_whose_worker_died_is_taken_again_when_its_lease_is_over(stranger, wakeups, monkeypatch):
    events.emit("dice:rolled", {"eyes": 3})
    claim = events._claim(frozenset({"dice:rolled"}))
    assert events.handle_due_events() == 0
    assert "did not end" in Event.objects.get().error
    let_leases_end()
    assert events.handle_due_events() == 1
    assert events._write(claim, error="late") is False


@pytest.mark.django_db(transaction=True)
def test_a_handler_that_hangs_is_given_up_on(stranger, wakeups, monkeypatch):
    monkeypatch.setattr(events, "HANDLER_TIME_LIMIT_SECONDS", 0.05)
    end = threading.Event()
    handler = get_registry().handlers_of("dice:rolled")[0].component
    object.__setattr__(handler, "handle", lambda _payload: end.wait(5))
    try:
        events.emit("dice:rolled", {})
        events.handle_due_events()
    finally:
        end.set()
    assert "TimeLimitExceeded" in Event.objects.get().error


@pytest.mark.django_db(transaction=True)
def test_many_workers_handle_each_event_once(stranger, wakeups):
    for eyes in range(20):
        events.emit("dice:rolled", {"eyes": eyes})

    def work():
        try:
            events.handle_due_events()
        finally:
            connection.close()

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert sorted(payload["eyes"] for payload in heard(stranger)) == list(range(20))
    assert not Event.objects.filter(handled_at=None).exists()
