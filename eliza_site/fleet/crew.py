"""Builds what the supervisor starts: a command for each process of the Procfile, and the local model's."""

import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from eliza_site.embedded.processes import Command

STOP_SECONDS = {"worker": 25.0, "web": 8.0, "beat": 6.0, "flower": 4.0, "model": 4.0}


@dataclass(frozen=True, kw_only=True)
class Crew:
    """What a message needs, and what may start after it."""

    first: list[Command]
    later: list[Command]


def build_crew(
    procfile: Mapping[str, str],
    *,
    folder: Path,
    logs: Path,
    environment: Mapping[str, str],
    worker_count: int,
) -> Crew:
    """Build the commands of web, workers, beat and Flower, each with a log of its own."""
    first = [_build("web", procfile["web"], folder, logs, environment)]
    for number in range(1, worker_count + 1):
        numbered = {**environment, "WORKER_NUMBER": str(number)}
        first.append(_build(f"worker-{number}", procfile["worker"], folder, logs, numbered))
    later = [_build(name, procfile[name], folder, logs, environment) for name in ("beat", "flower")]
    return Crew(first=first, later=later)


def build_local_model(*, folder: Path, logs: Path, environment: Mapping[str, str], port: int) -> Command:
    """Build the command of the local model's server."""
    return Command(
        name="model",
        argv=(sys.executable, "manage.py", "serve_local_model", "--port", str(port)),
        folder=folder,
        log=logs / "model.log",
        environment=environment,
        stop_seconds=STOP_SECONDS["model"],
    )


def _build(name: str, line: str, folder: Path, logs: Path, environment: Mapping[str, str]) -> Command:
    return Command(
        name=name,
        argv=("/bin/sh", "-c", line),
        folder=folder,
        log=logs / f"{name}.log",
        environment=environment,
        stop_seconds=STOP_SECONDS[name.partition("-")[0]],
        # uvicorn with several processes takes them along on SIGTERM only; all others may die on the spot.
        death_signal=signal.SIGTERM if name == "web" else signal.SIGKILL,
    )
