"""Waking: best effort, bounded, and left alone for a while after a failure. The brokers are real, or real sockets."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from celery import current_app
from django.db import connection as database

from agents import dispatcher, streams, wakeups
from agents.circuits import PROBE_SECONDS, REST_SECONDS, Circuit, broker_circuit
from agents.inbox import receive
from agents.models import Delivery, Message
from agents.streams import StreamEvent, TurnStream
from agents.wakeups import PUBLISH_TIMEOUT_SECONDS, _Publisher
from tests.doubles.brokers import RabbitBroker, ValkeyBroker, black_hole, closed_door, find_rabbitmq
from tests.doubles.waiting import leave_behind

WAKE = ("agents.drain_lane", {"lane_id": "00000000-0000-0000-0000-000000000000"})
# The promise of a webhook's answer is one second; the machine that tests may be busy.
ANSWER_SECONDS = 2.0
# The promise of one wake-up is half a second. A busy machine adds to it now and then, a second wait always.
HANG_SECONDS = PUBLISH_TIMEOUT_SECONDS * 1.9
ATTEMPTS = 4
WEB_THREADS = 12


@contextmanager
def refusing() -> Iterator[str]:
    yield "redis://127.0.0.1:9/0"


@contextmanager
def silent(scheme: str) -> Iterator[str]:
    with black_hole() as port:
        yield f"{scheme}://127.0.0.1:{port}/0"


@contextmanager
def unreachable(scheme: str) -> Iterator[str]:
    with closed_door() as port:
        yield f"{scheme}://127.0.0.1:{port}/0"


BAD_BROKERS: dict[str, Callable[[], Any]] = {
    "refuses": refusing,
    "valkey, silent": lambda: silent("redis"),
    "valkey, does not accept": lambda: unreachable("redis"),
    "rabbitmq, silent": lambda: silent("amqp"),
    "rabbitmq, does not accept": lambda: unreachable("amqp"),
}


@pytest.fixture
def publisher_for(monkeypatch: pytest.MonkeyPatch, settings: Any) -> Iterator[Callable[[str], _Publisher]]:
    """Have all that this process publishes go to the broker at this address."""
    original = current_app.connection_for_write
    made: list[_Publisher] = []

    def make(url: str) -> _Publisher:
        monkeypatch.setattr(current_app, "connection_for_write", lambda **options: original(url, **options))
        made.append(_Publisher())
        monkeypatch.setattr(wakeups, "_publisher", made[-1])
        if url.startswith("redis"):
            settings.REDIS_URL, settings.BROKER_IS_CACHE = url, True
            streams.client.cache_clear()
        return made[-1]

    yield make
    for publisher in made:
        if publisher._pool is not None:
            publisher._pool.connections.force_close_all()


@pytest.fixture(autouse=True)
def _fresh_streams() -> Iterator[None]:
    yield
    streams.client.cache_clear()


@pytest.fixture
def valkey(tmp_path: Path) -> Iterator[ValkeyBroker]:
    broker = ValkeyBroker(tmp_path)
    broker.start()
    yield broker
    broker.kill()


@pytest.fixture(scope="module")
def rabbitmq(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RabbitBroker]:
    programs = find_rabbitmq()
    if programs is None:
        pytest.skip("RabbitMQ is not installed: apt-get install rabbitmq-server")
    broker = RabbitBroker(tmp_path_factory.mktemp("rabbitmq"), programs)
    broker.start()
    yield broker
    broker.close()


def timed(call: Callable[[], Any]) -> tuple[float, Any]:
    started = time.monotonic()
    result = call()
    return time.monotonic() - started, result


def at_once(call: Callable[[], Any], count: int = WEB_THREADS) -> list[float]:
    """Call in so many threads at the same moment, and tell how long each took."""
    seconds: list[float] = []
    ready = threading.Barrier(count)

    def run() -> None:
        ready.wait(10)
        seconds.append(timed(call)[0])
        database.close()

    threads = [threading.Thread(target=run) for _number in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(seconds) == count
    return seconds


def best_of(call: Callable[[], float]) -> float:
    """Try it on a server of which nothing bad is known, until it was quick; tell how long the quickest took."""
    seconds = []
    for _attempt in range(ATTEMPTS):
        broker_circuit().succeed()
        seconds.append(call())
        if seconds[-1] < HANG_SECONDS:
            break
    return min(seconds)


@pytest.mark.parametrize("kind", BAD_BROKERS)
def test_a_broker_that_does_not_take_it_costs_little_once_and_nothing_for_a_while(
    kind: str, publisher_for: Callable[[str], _Publisher]
) -> None:
    with BAD_BROKERS[kind]() as url:
        publisher = publisher_for(url)
        assert publisher.publish(*WAKE) is False
        assert best_of(lambda: timed(lambda: publisher.publish(*WAKE))[0]) < HANG_SECONDS
        assert publisher.is_resting()
        seconds, is_taken = timed(lambda: [publisher.publish(*WAKE) for _number in range(100)])
        assert not any(is_taken)
        assert seconds < PUBLISH_TIMEOUT_SECONDS


@pytest.mark.parametrize("kind", ["valkey, silent", "rabbitmq, silent"])
def test_many_threads_wait_for_a_broker_that_hangs_side_by_side(
    kind: str, publisher_for: Callable[[str], _Publisher]
) -> None:
    with BAD_BROKERS[kind]() as url:
        publisher = publisher_for(url)
        assert best_of(lambda: max(at_once(lambda: publisher.publish(*WAKE)))) < HANG_SECONDS


def test_when_the_rest_is_over_one_thread_asks_and_the_others_go_on(
    publisher_for: Callable[[str], _Publisher], monkeypatch: pytest.MonkeyPatch
) -> None:
    circuit = Circuit()
    monkeypatch.setattr(wakeups, "broker_circuit", lambda: circuit)
    with silent("redis") as url:
        publisher = publisher_for(url)
        publisher.publish(*WAKE)
        circuit._rests_until = time.monotonic() - 1
        seconds = sorted(at_once(lambda: publisher.publish(*WAKE)))
    assert sum(one >= PROBE_SECONDS / 2 for one in seconds) == 1


def test_a_broker_that_is_there_takes_it() -> None:
    assert _Publisher().publish(*WAKE)


def test_a_broker_that_stops_answering_in_mid_life_costs_half_a_second(
    valkey: ValkeyBroker, publisher_for: Callable[[str], _Publisher]
) -> None:
    publisher = publisher_for(valkey.url)
    at_once(lambda: publisher.publish(*WAKE))
    assert publisher.publish(*WAKE)
    valkey.hang()
    assert best_of(lambda: max(at_once(lambda: publisher.publish(*WAKE)))) < HANG_SECONDS
    assert publisher.is_resting()
    valkey.go_on()
    broker_circuit().succeed()
    assert publisher.publish(*WAKE)


@pytest.mark.parametrize("state", ["fill", "make_read_only"])
def test_a_broker_that_takes_no_writes_is_one_that_is_away(
    state: str, valkey: ValkeyBroker, publisher_for: Callable[[str], _Publisher]
) -> None:
    publisher = publisher_for(valkey.url)
    assert publisher.publish(*WAKE)
    getattr(valkey, state)()
    assert publisher.publish(*WAKE) is False
    assert publisher.is_resting()


def test_a_broker_that_was_restarted_takes_the_next_wake_up(
    valkey: ValkeyBroker, publisher_for: Callable[[str], _Publisher]
) -> None:
    publisher = publisher_for(valkey.url)
    at_once(lambda: publisher.publish(*WAKE))
    valkey.kill()
    valkey.start()
    assert all(publisher.publish(*WAKE) for _number in range(WEB_THREADS))


def test_a_broker_that_was_flushed_takes_the_next_wake_up(
    valkey: ValkeyBroker, publisher_for: Callable[[str], _Publisher]
) -> None:
    publisher = publisher_for(valkey.url)
    at_once(lambda: publisher.publish(*WAKE))
    with valkey.client() as client:
        client.flushall()
    assert all(publisher.publish(*WAKE) for _number in range(3))
    assert valkey.waiting("agents") == 3


# A webhook's way ------------------------------------------------------------------------------------------


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("state", ["hang", "kill", "fill", "make_read_only"])
def test_a_message_is_stored_within_a_second_whatever_the_broker_does_and_worked_without_it(
    state: str, valkey: ValkeyBroker, publisher_for: Callable[[str], _Publisher], incoming: Any, model: Any
) -> None:
    publisher_for(valkey.url)
    receive(incoming("before", person="ann"))
    getattr(valkey, state)()
    people = iter([f"person-{number}" for number in range(WEB_THREADS)])

    def post() -> None:
        receipt = receive(incoming("hello", person=next(people)))
        streams.put_event(receipt.room_id, StreamEvent.MESSAGE, {"text": "hello"})

    assert max(at_once(post)) < ANSWER_SECONDS
    assert Message.objects.filter(text="hello").count() == WEB_THREADS

    deadline = time.monotonic() + 30
    while Delivery.objects.filter(state="sent").count() < WEB_THREADS + 1 and time.monotonic() < deadline:
        leave_behind()
        Delivery.objects.filter(state="pending").update(next_run_at="2020-01-01T00:00:00Z")
        dispatcher.dispatch_once()
        time.sleep(0.2)
    assert Delivery.objects.filter(state="sent").count() == WEB_THREADS + 1
    assert Delivery.objects.count() == WEB_THREADS + 1


@pytest.mark.parametrize("state", ["hang", "fill"])
def test_a_turn_that_streams_to_a_server_that_fails_waits_once(
    state: str, valkey: ValkeyBroker, publisher_for: Callable[[str], _Publisher]
) -> None:

    publisher_for(valkey.url)
    stream = TurnStream(room_id=uuid.uuid4(), turn_id=uuid.uuid4(), message_id=None, lease_token=1)
    stream.put(StreamEvent.TOKEN, {"text": "before"})
    getattr(valkey, state)()
    seconds, _ = timed(lambda: [stream.put(StreamEvent.TOKEN, {"text": "x"}) for _number in range(200)])
    assert seconds < streams.WRITE_TIMEOUT_SECONDS * 2 < REST_SECONDS


# RabbitMQ -------------------------------------------------------------------------------------------------


def test_rabbitmq_takes_wake_ups_and_confirms_them(
    rabbitmq: RabbitBroker, publisher_for: Callable[[str], _Publisher]
) -> None:
    publisher = publisher_for(rabbitmq.url)
    assert publisher.publish(*WAKE)
    assert publisher.publish("transports.deliver_message", {"connection_id": "a", "room_id": "b"})
    assert rabbitmq.waiting("agents") == rabbitmq.waiting("transports") == 1


def test_rabbitmq_that_stops_answering_in_mid_life_is_noticed(
    rabbitmq: RabbitBroker, publisher_for: Callable[[str], _Publisher]
) -> None:
    publisher = publisher_for(rabbitmq.url)
    at_once(lambda: publisher.publish(*WAKE))
    assert publisher.publish(*WAKE)
    rabbitmq.hang()
    with ExitStack() as stack:
        stack.callback(rabbitmq.go_on)
        assert best_of(lambda: max(at_once(lambda: publisher.publish(*WAKE)))) < HANG_SECONDS
        assert publisher.is_resting(), "what was not confirmed is not taken for a wake-up"
    broker_circuit().succeed()
    assert publisher.publish(*WAKE)


@pytest.mark.long
def test_rabbitmq_that_was_restarted_takes_the_next_wake_up(
    rabbitmq: RabbitBroker, publisher_for: Callable[[str], _Publisher]
) -> None:
    publisher = publisher_for(rabbitmq.url)
    at_once(lambda: publisher.publish(*WAKE))
    rabbitmq.kill()
    rabbitmq.start()
    assert all(publisher.publish(*WAKE) for _number in range(WEB_THREADS))


def test_rabbitmq_that_refuses_the_password_is_one_that_is_away(
    rabbitmq: RabbitBroker, publisher_for: Callable[[str], _Publisher]
) -> None:
    publisher = publisher_for(rabbitmq.url.replace("guest:guest", "guest:wrong"))
    assert publisher.publish(*WAKE) is False
    assert publisher.is_resting()
