"""A whole fleet for the journeys: web and two worker processes, a database of its own, a loopback model."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest

from eliza_site.embedded.processes import Child, Command
from eliza_site.fleet.procfile import read_procfile
from eliza_site.fleet.readiness import Site, await_ready
from tests.doubles.openai_server import OpenAIServer
from tests.parallel import FLEETS_DATABASE, on_database

ROOT = Path(__file__).resolve().parents[2]
LEASE_SECONDS, DISPATCH_SECONDS = 4, 1


@dataclass(kw_only=True)
class Fleet:
    """What runs, and how a test reaches it: commands, SQL, the model's controls."""

    url: str
    environment: dict[str, str]
    model: OpenAIServer
    logs: Path
    workers: list[Child] = field(default_factory=list)

    def manage(self, *arguments: str, timeout: float = 60) -> subprocess.CompletedProcess[str]:
        """Run a management command beside the fleet."""
        return subprocess.run(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def sql(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Ask the fleet's database."""
        with psycopg.connect(self.environment["DATABASE_URL"], autocommit=True) as connection:
            return connection.execute(statement, parameters).fetchall()

    def wait_for(self, statement: str, *parameters: Any, seconds: float = 30) -> list[tuple[Any, ...]]:
        """Ask until there is a row."""
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            rows = self.sql(statement, *parameters)
            if rows:
                return rows
            time.sleep(0.05)
        raise AssertionError(f"Nothing came within {seconds} s: {statement}")

    def start_worker(self) -> Child:
        """Start one more worker process, by the Procfile's own line."""
        number = str(len(self.workers) + 1)
        worker = _child(
            f"worker-{number}", "worker", self.logs, {**self.environment, "WORKER_NUMBER": number}
        )
        self.workers.append(worker)
        return worker


@pytest.fixture(scope="session")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fleet]:
    """Web and two workers that run for the whole session of tests."""
    logs = tmp_path_factory.mktemp("fleet")
    with _database() as database_url, OpenAIServer() as model:
        port = _free_port()
        environment = {
            **os.environ,
            "DATABASE_URL": database_url,
            **{
                name: on_database(os.environ.get(name, ""), FLEETS_DATABASE)
                for name in ("REDIS_URL", "CELERY_BROKER_URL")
            },
            "RUN_DIR": str(logs),
            "HOST": "127.0.0.1",
            "PORT": str(port),
            "OPENAI_BASE_URL": model.base_url,
            "OPENAI_API_KEY": "",
            "MODEL_SMALL": "stub",
            "MODEL_LARGE": "stub",
            "EMBEDDING_MODEL": "hashed",
            "WORKER_THREADS": "32",
            "LANE_LEASE_SECONDS": str(LEASE_SECONDS),
            "DISPATCH_PERIOD_SECONDS": str(DISPATCH_SECONDS),
            "PERSON_MESSAGES_PER_MINUTE": "1000",
            "SHUTDOWN_GRACE_SECONDS": "2",
            "ELIZA_PLUGINS": "tests.doubles.poison",
            "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        }
        running = Fleet(url=f"http://127.0.0.1:{port}", environment=environment, model=model, logs=logs)
        for arguments in (["migrate", "--verbosity", "0"], ["load_character", "characters"]):
            done = running.manage(*arguments, timeout=120)
            assert done.returncode == 0, done.stderr
        web = _child("web", "web", logs, environment)
        try:
            for _number in range(2):
                running.start_worker()
            site = Site(base_url=running.url, host_name="127.0.0.1")
            await_ready(site, worker_count=2, look_after=lambda: _require_alive([web, *running.workers]))
            yield running
        finally:
            for child in [web, *running.workers]:
                child.ask_to_stop()
            for child in [web, *running.workers]:
                child.stop()


@pytest.fixture(autouse=True)
def _usual_model(request: pytest.FixtureRequest) -> Iterator[None]:
    """Put the model's controls back after a test that turned them."""
    yield
    if "fleet" in request.fixturenames:
        running: Fleet = request.getfixturevalue("fleet")
        running.model.control({"latency_ms": 0.0, "gap_ms": 0.0, "fault": ""})


def _child(name: str, line: str, logs: Path, environment: dict[str, str]) -> Child:
    command = read_procfile(ROOT / "Procfile")[line]
    child = Child(
        Command(
            name=name,
            argv=("/bin/sh", "-c", command),
            folder=ROOT,
            log=logs / f"{name}.log",
            environment=environment,
        )
    )
    child.start()
    return child


def _require_alive(children: list[Child]) -> None:
    for child in children:
        assert child.is_running(), child.command.log.read_text()[-2000:]


class _database:
    """A database of its own beside the one that the other tests use."""

    def __init__(self) -> None:
        self._parts = urlsplit(os.environ["DATABASE_URL"])
        self._name = f"fleet_{uuid.uuid4().hex[:8]}"

    def __enter__(self) -> str:
        self._execute(f'CREATE DATABASE "{self._name}"')
        return urlunsplit(self._parts._replace(path=f"/{self._name}"))

    def __exit__(self, *_error: object) -> None:
        self._execute(f'DROP DATABASE IF EXISTS "{self._name}" WITH (FORCE)')

    def _execute(self, statement: str) -> None:
        with psycopg.connect(urlunsplit(self._parts), autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[arg-type]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@pytest.fixture
def message_file(tmp_path: Path) -> Callable[..., Path]:
    """Write a file of messages, a line each."""

    def write(lines: list[dict[str, Any]], name: str = "messages.jsonl") -> Path:
        path = tmp_path / name
        path.write_text("".join(json.dumps(line) + "\n" for line in lines))
        return path

    return write
