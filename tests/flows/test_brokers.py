"""A worker whose broker is killed, hangs, is full and comes back empty: Valkey, and RabbitMQ where it is installed.

Each journey has a worker process of its own, a database of its own and a broker that belongs to the test. What is
said is stored by `inbox.receive`, in a process that publishes to the same broker, as the web does.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.doubles.brokers import Broker, RabbitBroker, ValkeyBroker, find_rabbitmq
from tests.doubles.openai_server import OpenAIServer
from tests.flows.conftest import ROOT, Fleet, _database

pytestmark = pytest.mark.fleet

SAY = """
import os, sys, time
import django
django.setup()
from agents.models import Agent
from agents import circuits, wakeups
from agents.envelopes import Incoming, IncomingPerson, IncomingRoom
from agents.inbox import receive
from transports.models import Connection
import datetime as dt
agent = Agent.objects.get(name="Eliza")
link, _ = Connection.objects.get_or_create(agent=agent, platform="telegram", name="", defaults={"transport": "fake"})
for line in sys.stdin:
    number = line.strip()
    started = time.monotonic()
    receive(Incoming(
        connection_id=link.pk, external_id=number, room=IncomingRoom(external_id="r" + number),
        person=IncomingPerson(external_id="p" + number, name="Ann"), text="hello", said_at=dt.datetime.now(dt.UTC),
    ), is_limited=False)
    print(number, time.monotonic() - started, int(wakeups.is_broker_away()), flush=True)
"""
# One second is the promise; the machine that tests may be busy.
ANSWER_SECONDS = 2.0


class Speaker:
    """A process that stores what is said, as a web process does, and tells how long each took."""

    def __init__(self, environment: dict[str, str]) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", SAY],
            cwd=ROOT,
            env={**environment, "DJANGO_SETTINGS_MODULE": "eliza_site.settings", "LOG_LEVEL": "error"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.count = 0

    def say(self) -> tuple[float, bool]:
        """Say one thing; tell how long it took to store it, and whether the broker seemed away afterwards."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self.count += 1
        self._process.stdin.write(f"{self.count}\n")
        self._process.stdin.flush()
        _number, seconds, is_away = self._process.stdout.readline().split()
        return float(seconds), is_away == "1"

    def close(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.communicate()


@pytest.fixture(params=["valkey", "rabbitmq"])
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
def site(broker: Broker, tmp_path: Path) -> Iterator[Fleet]:
    """A database and a model for a fleet whose broker is the test's; cache and streams stay where they are."""
    with _database() as database_url, OpenAIServer() as model:
        environment = {
            **os.environ,
            "DATABASE_URL": database_url,
            "CELERY_BROKER_URL": broker.url,
            "RUN_DIR": str(tmp_path),
            "HOST": "127.0.0.1",
            "OPENAI_BASE_URL": model.base_url,
            "OPENAI_API_KEY": "",
            "MODEL_SMALL": "stub",
            "MODEL_LARGE": "stub",
            "EMBEDDING_MODEL": "hashed",
            "WORKER_THREADS": "8",
            "LANE_LEASE_SECONDS": "4",
            "DISPATCH_PERIOD_SECONDS": "1",
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        }
        running = Fleet(url="", environment=environment, model=model, logs=tmp_path)
        for arguments in (["migrate", "--verbosity", "0"], ["load_character", "characters"]):
            done = running.manage(*arguments, timeout=120)
            assert done.returncode == 0, done.stderr
        try:
            yield running
        finally:
            for worker in running.workers:
                worker.kill()


@pytest.fixture
def speaker(site: Fleet) -> Iterator[Speaker]:
    process = Speaker(site.environment)
    yield process
    process.close()


def answered(site: Fleet, count: int) -> None:
    """Wait until so many replies were sent, and see that there is one a message and no more."""
    site.wait_for(
        "SELECT 1 FROM agents_delivery WHERE state = 'sent' HAVING count(*) = %s", count, seconds=90
    )
    assert site.sql("SELECT count(*) FROM agents_turn WHERE state = 'done'") == [(count,)]
    assert site.sql("SELECT count(*) FROM agents_delivery") == [(count,)]


def log_says(site: Fleet, words: str, times: int = 1, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while (site.logs / "worker-1.log").read_text().count(words) < times:
        assert time.monotonic() < deadline, (site.logs / "worker-1.log").read_text()[-3000:]
        time.sleep(0.1)


def without_dispatcher(site: Fleet) -> None:
    """Let only wake-ups bring work: dispatchers look so seldom that what is worked came through the broker."""
    site.environment["DISPATCH_PERIOD_SECONDS"] = "100000"


def test_wake_ups_go_through_the_broker(broker: Broker, site: Fleet, speaker: Speaker) -> None:
    without_dispatcher(site)
    site.start_worker()
    log_says(site, "ready.")
    for _number in range(5):
        assert speaker.say()[1] is False
    answered(site, 5)
    pinged = site.manage("shell", "-c", "from agents.workers import find_workers; print(find_workers())")
    assert "worker-1@" in pinged.stdout, pinged.stderr
    told = site.manage("doctor")
    name = "RabbitMQ answers." if isinstance(broker, RabbitBroker) else "Valkey or Redis answers."
    assert name in told.stdout, told.stdout


@pytest.mark.parametrize("fault", ["kill", "hang"])
def test_a_broker_that_goes_and_comes_back_loses_nothing(
    fault: str, broker: Broker, site: Fleet, speaker: Speaker
) -> None:
    site.start_worker()
    log_says(site, "ready.")
    speaker.say()
    answered(site, 1)

    getattr(broker, fault)()
    waited: list[float] = []
    for _number in range(10):
        seconds, is_away = speaker.say()
        waited.append(seconds)
        assert is_away
    assert max(waited) < ANSWER_SECONDS
    answered(site, 11)

    if fault == "kill":
        broker.start()
    else:
        broker.go_on()
    _wait_until(lambda: speaker.say()[1] is False)
    answered(site, speaker.count)
    # From here on, only what the worker hears from the broker is worked within the patience of a lane.
    log_says(site, "Connected to", times=2) if fault == "kill" else None
    assert _is_consumed(broker, site), (site.logs / "worker-1.log").read_text()[-3000:]


def _wait_until(condition: Callable[[], bool], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.5)


def _is_consumed(broker: Broker, site: Fleet) -> bool:
    """Tell whether the worker takes what is put into the broker: a ping reaches it, and its answer comes."""
    command = "from agents.workers import find_workers; print(find_workers())"
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if "worker-1@" in site.manage("shell", "-c", command).stdout:
            return True
    return False


@pytest.mark.parametrize("broker", ["valkey"], indirect=True)
def test_a_broker_without_memory_stops_no_worker(broker: ValkeyBroker, site: Fleet, speaker: Speaker) -> None:
    site.start_worker()
    log_says(site, "ready.")
    broker.fill()
    assert max(speaker.say()[0] for _number in range(5)) < ANSWER_SECONDS
    answered(site, 5)
    with broker.client() as client:
        client.config_set("maxmemory", 0)
    _wait_until(lambda: speaker.say()[1] is False)
    answered(site, speaker.count)
    assert site.workers[0].is_running()
    assert _is_consumed(broker, site)
