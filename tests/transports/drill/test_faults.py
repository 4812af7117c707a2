"""The faults of a drill: whom they reach, and whom they spare."""

from __future__ import annotations

import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
from django.core.cache import cache
from django.db import connection

from agents.processes.workers import WorkerProcess
from transports.drill import faults, readiness
from transports.drill.faults import Faults, cut_database, flush_broker, kill
from transports.drill.planning import Fault, Order
from transports.drill.readiness import NotReady, require_fleet
from transports.drill.roll import Roll, is_worker

HERE = socket.gethostname()
SLEEP = "import time; time.sleep(60)"


@pytest.fixture
def processes() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Two processes that look like workers, and one that does not."""
    lines = (["celery", "worker", "1"], ["celery", "worker", "2"], ["somebody"])
    started = [subprocess.Popen([sys.executable, "-c", SLEEP, *words]) for words in lines]
    yield started
    for process in started:
        process.kill()
        process.wait()


def worker_of(process: subprocess.Popen[bytes], host: str = HERE) -> WorkerProcess:
    return WorkerProcess(name=f"worker-{process.pid}@{host}", pid=process.pid)


@pytest.fixture
def alive(monkeypatch: pytest.MonkeyPatch, db: None) -> Any:
    """Let the fleet consist of the workers that the test names, with a dispatcher that was just seen."""

    def name(*workers: WorkerProcess) -> None:
        monkeypatch.setattr(readiness, "find_processes", lambda: list(workers))

    readiness_key = readiness.SEEN_AT_KEY
    cache.set(readiness_key, time.time())
    yield name
    cache.delete(readiness_key)


def test_only_a_celery_worker_is_killed(processes: list[subprocess.Popen[bytes]]) -> None:
    worker, _, other = processes
    assert is_worker(worker.pid)
    assert not kill(worker_of(other))
    assert other.poll() is None
    assert kill(worker_of(worker))
    assert worker.wait(10) == -9
    assert not kill(worker_of(worker)), "who is gone is not killed again"


def test_the_last_worker_is_spared_while_none_comes_back(
    processes: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(faults, "KILLABLE_SECONDS", 0.0)
    roll = Roll([worker_of(process) for process in processes[:2]])
    done = Faults(Order(seed=1, kills=3), roll)
    for _kill in range(3):
        done.happen(Fault.KILL_WORKER)
    assert (len(done.damage.killed), done.damage.skipped_kills) == (1, 2)
    assert len(roll.alive()) == 1


def test_a_worker_that_came_back_makes_the_last_one_fair_game(
    processes: list[subprocess.Popen[bytes]],
) -> None:
    first, second, _ = processes
    roll = Roll([worker_of(first)])
    done = Faults(Order(seed=1, kills=2), roll)
    done.happen(Fault.KILL_WORKER)
    first.wait(10)
    roll._known[second.pid] = worker_of(second)
    assert roll.has_newcomers()
    done.happen(Fault.KILL_WORKER)
    assert second.wait(10) == -9
    assert len(done.damage.killed) == 2


def test_flushing_leaves_the_broker_empty() -> None:
    cache.set("left", 1)
    flush_broker()
    assert cache.get("left") is None


def test_the_sites_own_sessions_are_cut_and_somebody_elses_tools_are_not(transactional_db: None) -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
    url = connection.get_connection_params()
    known = {key: url[key] for key in ("host", "port", "user", "password", "dbname") if url.get(key)}
    with psycopg.connect(**known) as mine, psycopg.connect(**known, application_name="psql") as other:
        mine.execute("SELECT 1")
        mine.commit()
        assert cut_database() >= 1
        with pytest.raises(psycopg.OperationalError):
            mine.execute("SELECT 1")
        assert other.execute("SELECT 1").fetchone() == (1,)
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")
        assert cursor.fetchone() == (1,), "its own session goes on"
    connection.close_pool()  # type: ignore[attr-defined]  # what else of the pool was cut is of no use


def test_a_fleet_without_workers_is_not_drilled(alive: Any) -> None:
    alive()
    with pytest.raises(NotReady, match="No worker answers: start the fleet"):
        require_fleet(Order(seed=1))


def test_workers_on_another_machine_are_named(alive: Any, processes: list[subprocess.Popen[bytes]]) -> None:
    here, away, _ = processes
    alive(worker_of(here), worker_of(away, host="elsewhere"))
    with pytest.raises(NotReady, match=f"This machine is {HERE}.*worker-{away.pid}@elsewhere"):
        require_fleet(Order(seed=1))


def test_a_worker_in_a_container_of_its_own_can_be_spoken_with_and_not_killed(
    alive: Any, processes: list[subprocess.Popen[bytes]]
) -> None:
    alive(worker_of(processes[2]))
    assert require_fleet(Order(seed=1, flushes=1)) == [worker_of(processes[2])]
    with pytest.raises(NotReady, match="no Celery worker here"):
        require_fleet(Order(seed=1, kills=1))


def test_another_users_worker_is_told_of(
    alive: Any, processes: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_pid: int, _number: int) -> None:
        raise PermissionError

    monkeypatch.setattr(readiness, "os", SimpleNamespace(kill=refuse))
    alive(worker_of(processes[0]))
    with pytest.raises(NotReady, match="run the drill as the user of the workers"):
        require_fleet(Order(seed=1, kills=1))


def test_without_a_dispatcher_nothing_is_drilled(
    alive: Any, processes: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch, settings: Any
) -> None:
    settings.DISPATCH_PERIOD_SECONDS = 0.0
    monkeypatch.setattr(readiness, "GRACE_SECONDS", 0.0)
    cache.delete(readiness.SEEN_AT_KEY)
    alive(worker_of(processes[0]))
    with pytest.raises(NotReady, match="No dispatcher was seen"):
        require_fleet(Order(seed=1))
