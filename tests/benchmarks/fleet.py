"""The fleet that is measured: web and workers by the Procfile's own lines, and beside them stub and driver.

`turns.py` starts it. Each part is a process of its own, so that its CPU can be counted apart; there is no
beat and no Flower. Everything ends with the benchmark.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from eliza_site.embedded.processes import Child, Command
from eliza_site.fleet.procfile import read_procfile
from eliza_site.fleet.readiness import Site, await_ready

ROOT = Path(__file__).resolve().parents[2]
STUB = ROOT / "tests" / "doubles" / "openai_server.py"
DRIVER = ROOT / "tests" / "benchmarks" / "driver.py"
EMBEDDING_MODEL, EMBEDDING_DIMENSIONS = "stub-embedding", 384
LONGEST_EMBEDDING_MS = 200.0


@dataclass(frozen=True, kw_only=True)
class Shape:
    """How the fleet is built: the worker processes, and what differs from the Procfile in a trial."""

    workers: int = 2
    pool: str = "threads"
    concurrency: int = 112


class BenchmarkError(Exception):
    """The benchmark can't go on; the text says why."""


@dataclass(kw_only=True)
class Fleet:
    """What runs, by the names under which its CPU is counted."""

    shape: Shape
    logs: Path
    environment: Mapping[str, str]
    url: str = ""
    stub_url: str = ""
    stub: Child | subprocess.Popen[str] | None = None
    driver: subprocess.Popen[str] | None = None
    driver_database_process: int = 0
    web: Child | None = None
    workers: list[Child] = field(default_factory=list)

    def slow_model(self, latency_ms: float) -> None:
        """Let the stub wait so long before it answers; embeddings never longer than LONGEST_EMBEDDING_MS."""
        changes = {
            "latency_ms": latency_ms,
            "embedding_latency_ms": min(latency_ms, LONGEST_EMBEDDING_MS),
        }
        body = json.dumps(changes).encode()
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        opener.open(f"{self.stub_url}/control", data=body, timeout=5).read()

    def drive(self, **run: Any) -> dict[str, Any]:
        """Let the driver do one run and return what it measured.

        Raises: BenchmarkError.
        """
        assert self.driver is not None
        assert self.driver.stdin is not None
        assert self.driver.stdout is not None
        self.driver.stdin.write(json.dumps({"url": self.url, **run}) + "\n")
        self.driver.stdin.flush()
        line = self.driver.stdout.readline()
        done: dict[str, Any] = json.loads(line) if line else {"error": "The driver ended."}
        if "error" in done:
            raise BenchmarkError(f"{done['error']} The fleet's logs: {self.logs}")
        return done


def benchmark_environment(stub_url: str) -> dict[str, str]:
    """Return what the benchmark sets: the stub as the model, and no limit on a person's messages."""
    return {
        "OPENAI_BASE_URL": f"{stub_url}/v1",
        "OPENAI_API_KEY": "",
        "MODEL_SMALL": "stub",
        "MODEL_LARGE": "stub",
        "EMBEDDING_BASE_URL": f"{stub_url}/v1",
        "EMBEDDING_MODEL": EMBEDDING_MODEL,
        "EMBEDDING_DIMENSIONS": str(EMBEDDING_DIMENSIONS),
        "PERSON_MESSAGES_PER_MINUTE": "1000000",
    }


@contextmanager
def stub_running() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """Run the stub of the model, and tell its address."""
    with _process([sys.executable, str(STUB)], os.environ) as stub:
        assert stub.stdout is not None
        yield stub, f"http://127.0.0.1:{int(stub.stdout.readline())}"


@contextmanager
def fleet_running(
    stub: subprocess.Popen[str], stub_url: str, *, shape: Shape, logs: Path, environment: Mapping[str, str]
) -> Iterator[Fleet]:
    """Run web, workers and driver, ready for people."""
    port = _free_port()
    environment = {
        **environment,
        "HOST": "127.0.0.1",
        "PORT": str(port),
        "WORKER_THREADS": str(shape.concurrency),
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), environment.get("PATH", "")]),
    }
    fleet = Fleet(
        shape=shape,
        logs=logs,
        environment=environment,
        url=f"http://127.0.0.1:{port}",
        stub_url=stub_url,
        stub=stub,
    )
    lines = read_procfile(ROOT / "Procfile")
    worker_line = lines["worker"].replace("--pool=threads", f"--pool={shape.pool}")
    if f"--pool={shape.pool}" not in worker_line:
        raise BenchmarkError("The Procfile's worker line names no --pool=threads that could be replaced.")
    try:
        fleet.web = _start("web", lines["web"], fleet, {})
        for number in range(1, shape.workers + 1):
            extra = {"WORKER_NUMBER": str(number)}
            fleet.workers.append(_start(f"worker-{number}", worker_line, fleet, extra))
        with _process([sys.executable, str(DRIVER)], environment) as driver:
            fleet.driver = driver
            assert driver.stdout is not None
            fleet.driver_database_process = json.loads(driver.stdout.readline())["database_process"]
            site = Site(base_url=fleet.url, host_name="127.0.0.1")
            await_ready(site, worker_count=shape.workers, look_after=lambda: _require_alive(fleet))
            yield fleet
    finally:
        for child in [fleet.web, *fleet.workers]:
            if child is not None:
                child.ask_to_stop()
        for child in [fleet.web, *fleet.workers]:
            if child is not None:
                child.stop()


def _start(name: str, line: str, fleet: Fleet, extra: Mapping[str, str]) -> Child:
    child = Child(
        Command(
            name=name,
            argv=("/bin/sh", "-c", line),
            folder=ROOT,
            log=fleet.logs / f"{name}.log",
            environment={**fleet.environment, **extra},
        )
    )
    child.start()
    return child


def _require_alive(fleet: Fleet) -> None:
    for child in [fleet.web, *fleet.workers]:
        if child is not None and not child.is_running():
            raise BenchmarkError(f"{child.command.name} ended: see {child.command.log}")


@contextmanager
def _process(command: list[str], environment: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        command, env=dict(environment), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_quiet(seconds: float) -> None:
    """Let what a start leaves behind settle."""
    time.sleep(seconds)
