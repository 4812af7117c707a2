"""A fleet of real processes for the journeys: its environment, its database, its web and workers."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import psycopg

from eliza_site.embedded.processes import Child, Command
from eliza_site.fleet.procfile import read_procfile
from eliza_site.fleet.readiness import Site, await_ready
from tests.doubles.openai_server import OpenAIServer

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
        worker = start_child(
            f"worker-{number}", "worker", self.logs, {**self.environment, "WORKER_NUMBER": number}
        )
        self.workers.append(worker)
        return worker


def make_fleet(model: OpenAIServer, logs: Path, **settings: str) -> Fleet:
    """Make a fleet with the model, migrated and with characters; nothing of it runs yet."""
    environment = {
        **os.environ,
        "RUN_DIR": str(logs),
        "HOST": "127.0.0.1",
        "PORT": str(_free_port()),
        "OPENAI_BASE_URL": model.base_url,
        "OPENAI_API_KEY": "",
        "MODEL_SMALL": "stub",
        "MODEL_LARGE": "stub",
        "EMBEDDING_MODEL": "hashed",
        "LANE_LEASE_SECONDS": str(LEASE_SECONDS),
        "DISPATCH_PERIOD_SECONDS": str(DISPATCH_SECONDS),
        "PERSON_MESSAGES_PER_MINUTE": "1000",
        "SHUTDOWN_GRACE_SECONDS": "2",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")]),
        **settings,
    }
    fleet = Fleet(
        url=f"http://127.0.0.1:{environment['PORT']}", environment=environment, model=model, logs=logs
    )
    for arguments in (["migrate", "--verbosity", "0"], ["load_character", "characters"]):
        done = fleet.manage(*arguments, timeout=120)
        assert done.returncode == 0, done.stderr
    return fleet


@contextmanager
def running(fleet: Fleet, *, workers: int) -> Iterator[Fleet]:
    """Start web and workers, wait until they are ready, and end them afterwards."""
    web = start_child("web", "web", fleet.logs, fleet.environment)
    try:
        for _number in range(workers):
            fleet.start_worker()
        site = Site(base_url=fleet.url, host_name="127.0.0.1")
        await_ready(site, worker_count=workers, look_after=lambda: _require_alive([web, *fleet.workers]))
        yield fleet
    finally:
        for child in [web, *fleet.workers]:
            child.ask_to_stop()
        for child in [web, *fleet.workers]:
            child.stop()


@contextmanager
def own_database() -> Iterator[str]:
    """Create a database beside the one that the other tests use, and return its address."""
    parts, name = urlsplit(os.environ["DATABASE_URL"]), f"fleet_{uuid.uuid4().hex[:8]}"

    def execute(statement: str) -> None:
        with psycopg.connect(urlunsplit(parts), autocommit=True) as connection:
            connection.execute(statement)  # type: ignore[arg-type]

    execute(f'CREATE DATABASE "{name}"')
    try:
        yield urlunsplit(parts._replace(path=f"/{name}"))
    finally:
        execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def start_child(name: str, line: str, logs: Path, environment: dict[str, str]) -> Child:
    """Start a process by the Procfile's line."""
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


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
