"""A worker whose broker is killed, hangs, is full and comes back empty: Valkey, and RabbitMQ where it is installed.

Each journey has a worker process and a broker of its own. What is said is stored by `inbox.receive`, in a process
that publishes to the same broker, as the web does.
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import pytest
from kombu import Connection

from eliza_site.celery import app
from tests.doubles.brokers import Broker, RabbitBroker, ValkeyBroker, find_rabbitmq
from tests.doubles.fleets import ROOT, Fleet, make_fleet, own_database
from tests.doubles.openai_server import OpenAIServer

pytestmark = pytest.mark.fleet

SAY = """
import datetime, sys, time
import django
django.setup()
from agents import wakeups
from agents.envelopes import Incoming, IncomingPerson, IncomingRoom
from agents.inbox import receive
from agents.models import Agent
from transports.models import Connection
link, _ = Connection.objects.get_or_create(
    agent=Agent.objects.get(name="Eliza"), platform="telegram", name="", defaults={"transport": "fake"}
)
for line in sys.stdin:
    key, started = line.strip(), time.monotonic()
    receive(Incoming(
        connection_id=link.pk, external_id=key, room=IncomingRoom(external_id=key), text="hello",
        person=IncomingPerson(external_id=key, name="Ann"), said_at=datetime.datetime.now(datetime.UTC),
    ), is_limited=False)
    print(time.monotonic() - started, int(wakeups.is_broker_away()), flush=True)
"""
# One second is the promise; the machine that tests may be busy.
ANSWER_SECONDS = 2.0
NOBODYS_LANE = "00000000-0000-0000-0000-000000000000"


class Speaker:
    """A process that stores what is said, as a web process does, and tells how long each took."""

    def __init__(self, environment: dict[str, str], prefix: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", SAY],
            cwd=ROOT,
            env={**environment, "DJANGO_SETTINGS_MODULE": "eliza_site.settings", "LOG_LEVEL": "error"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.prefix = prefix
        self.count = 0

    def say(self) -> tuple[float, bool]:
        """Say one thing; tell how long it took to store it, and whether the broker seemed away afterwards."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.count += 1
        self._process.stdin.write(f"{self.prefix}-{self.count}\n")
        self._process.stdin.flush()
        seconds, is_away = self._process.stdout.readline().split()
        return float(seconds), is_away == "1"

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """A database and a model for all journeys; cache and streams stay where they are."""
    with own_database() as database_url, OpenAIServer() as model:
        yield make_fleet(
            model, tmp_path_factory.mktemp("brokers"), DATABASE_URL=database_url, WORKER_THREADS="8"
        )


# One journey of each kind is short enough for every run.
ALSO_RABBITMQ = ["valkey", pytest.param("rabbitmq", marks=pytest.mark.long)]


@pytest.fixture
def broker(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Broker]:
    made: Broker
    if request.param == "valkey":
        made = ValkeyBroker(tmp_path)
    else:
        programs = find_rabbitmq()
        if programs is None:
            pytest.skip("RabbitMQ is not installed: apt-get install rabbitmq-server")
        made = RabbitBroker(tmp_path, programs)
    with ExitStack() as stack:
        stack.callback(made.close)
        made.start()
        yield made


@pytest.fixture
def site(home: Fleet, broker: Broker, tmp_path: Path) -> Iterator[Fleet]:
    """The journey's own worker, which is started by the test, and its log."""
    environment = {**home.environment, "CELERY_BROKER_URL": broker.url, "RUN_DIR": str(tmp_path)}
    running = replace(home, environment=environment, logs=tmp_path, workers=[])
    yield running
    home.model.control({"latency_ms": 0.0})
    for worker in running.workers:
        worker.kill()


@pytest.fixture
def speaker(site: Fleet, tmp_path: Path) -> Iterator[Speaker]:
    process = Speaker(site.environment, tmp_path.name)
    yield process
    process.close()


def start_worker(site: Fleet) -> None:
    site.start_worker()
    wait_until(lambda: "ready." in log_of(site), site)


def all_are_answered(site: Fleet, speaker: Speaker) -> None:
    """Wait until there is a reply for each message, and see that there is one and no more."""
    mine = f"{speaker.prefix}-%"
    sent = (
        "SELECT count(*) FROM agents_delivery AS delivery JOIN agents_room AS room ON room.id = delivery.room_id"
        " WHERE room.external_id LIKE %s AND state = 'sent'"
    )
    wait_until(lambda: site.sql(sent, mine)[0][0] >= speaker.count, site)
    assert site.sql(sent, mine) == [(speaker.count,)]
    assert site.sql(
        "SELECT count(*), count(*) FILTER (WHERE state = 'done'), sum(crash_count)::int FROM agents_turn AS turn"
        " WHERE message_id IN (SELECT id FROM agents_message WHERE external_id LIKE %s)",
        mine,
    ) == [(speaker.count, speaker.count, 0)]


def is_consumed(broker: Broker, site: Fleet) -> None:
    """See that the worker takes what lies in the broker: a wake-up that no dispatcher knows of."""
    with Connection(broker.url) as link:
        app.send_task("agents.drain_lane", kwargs={"lane_id": NOBODYS_LANE}, connection=link)
    wait_until(lambda: broker.waiting("agents") == 0, site)


def log_of(site: Fleet) -> str:
    return (site.logs / "worker-1.log").read_text()


def wait_until(condition: Callable[[], bool], site: Fleet, seconds: float = 90) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert site.workers[0].is_running(), log_of(site)[-4000:]
        assert time.monotonic() < deadline, log_of(site)[-4000:]
        time.sleep(0.1)


@pytest.mark.parametrize(
    "broker", [pytest.param("valkey", marks=pytest.mark.long), "rabbitmq"], indirect=True
)
def test_wake_ups_go_through_the_broker_and_the_doctor_names_it(
    broker: Broker, site: Fleet, speaker: Speaker
) -> None:
    # Dispatchers look so seldom that whatever is worked came through the broker.
    site.environment["DISPATCH_PERIOD_SECONDS"] = "100000"
    start_worker(site)
    assert not any(speaker.say()[1] for _number in range(5))
    all_are_answered(site, speaker)
    told = site.manage("doctor").stdout
    name = "RabbitMQ" if isinstance(broker, RabbitBroker) else "Valkey or Redis"
    assert f"{name} answers." in told, told
    assert "worker-1@" in told


@pytest.mark.parametrize("broker", ALSO_RABBITMQ, indirect=True)
def test_a_broker_that_is_killed_and_comes_back_empty_loses_nothing(
    broker: Broker, site: Fleet, speaker: Speaker
) -> None:
    start_worker(site)
    site.model.control({"latency_ms": 2000.0})
    speaker.say()
    waiting = "SELECT 1 FROM agents_turn WHERE state = 'running'"
    wait_until(lambda: bool(site.sql(waiting)), site)
    broker.kill()
    waited = [speaker.say() for _number in range(10)]
    assert max(seconds for seconds, _is_away in waited) < ANSWER_SECONDS
    assert waited[-1][1]
    site.model.control({"latency_ms": 0.0})
    all_are_answered(site, speaker)

    broker.start()
    wait_until(lambda: speaker.say()[1] is False, site)
    all_are_answered(site, speaker)
    is_consumed(broker, site)


@pytest.mark.long
@pytest.mark.parametrize("broker", ["valkey", "rabbitmq"], indirect=True)
def test_a_broker_that_hangs_for_a_while_loses_nothing(broker: Broker, site: Fleet, speaker: Speaker) -> None:
    start_worker(site)
    speaker.say()
    all_are_answered(site, speaker)
    broker.hang()
    waited = [speaker.say() for _number in range(10)]
    assert max(seconds for seconds, _is_away in waited) < ANSWER_SECONDS
    assert waited[-1][1]
    all_are_answered(site, speaker)

    broker.go_on()
    wait_until(lambda: speaker.say()[1] is False, site)
    all_are_answered(site, speaker)
    is_consumed(broker, site)


@pytest.mark.long
@pytest.mark.parametrize("broker", ["valkey"], indirect=True)
def test_a_broker_without_memory_stops_no_worker(broker: ValkeyBroker, site: Fleet, speaker: Speaker) -> None:
    start_worker(site)
    broker.fill()
    assert max(speaker.say()[0] for _number in range(5)) < ANSWER_SECONDS
    all_are_answered(site, speaker)
    with broker.client() as client:
        client.config_set("maxmemory", 0)
    wait_until(lambda: speaker.say()[1] is False, site)
    all_are_answered(site, speaker)
    is_consumed(broker, site)
