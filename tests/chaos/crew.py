"""The processes of a fault test: workers that are started again when they die, and senders that may die too."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import psutil

from eliza_site.fleet.procfile import read_procfile
from tests.chaos.zygote import ROOT, Zygote

ANSWER_SECONDS = 30.0
PREPARE_TRIES = 5
CELERY = "celery -A eliza_site "


class SenderDied(Exception):
    """The sender died before it had answered: nobody knows whether the message was stored."""


@dataclass(frozen=True, kw_only=True)
class Process:
    """A process that was forked from the zygote, or started beside it; the test is not its parent."""

    pid: int
    log: Path

    def is_running(self) -> bool:
        """Tell whether it is alive; one that hangs is."""
        try:
            return psutil.Process(self.pid).status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def is_ready(self) -> bool:
        """Tell whether a worker has said that it takes work."""
        return self.is_running() and " ready." in self.log.read_text(errors="replace")

    def signal(self, number: signal.Signals) -> None:
        """Send a signal; one that is gone already hears none."""
        with suppress(ProcessLookupError):
            os.kill(self.pid, number)

    def kill(self) -> None:
        """Kill it and whatever it left in its session, and see it gone."""
        with suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        while self.is_running():
            time.sleep(0.005)


class Sender:
    """One process that brings messages in."""

    def __init__(self, zygote: Zygote, log: Path) -> None:
        child_input, self._input = os.pipe()
        self._output, child_output = os.pipe()
        with log.open("ab") as errors:
            pid = zygote.fork("sender", [], stdin=child_input, stdout=child_output, stderr=errors.fileno())
        os.close(child_input)
        os.close(child_output)
        self.process = Process(pid=pid, log=log)
        self._read = b""

    def ask(self, door: str, **arguments: Any) -> dict[str, Any]:
        """Give one order and return the answer.

        Raises: SenderDied.
        """
        try:
            os.write(self._input, json.dumps({"door": door, **arguments}).encode() + b"\n")
        except BrokenPipeError as error:
            raise SenderDied from error
        deadline = time.monotonic() + ANSWER_SECONDS
        while b"\n" not in self._read:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._output], [], [], left)[0]:
                raise SenderDied
            piece = os.read(self._output, 65536)
            if not piece:
                raise SenderDied
            self._read += piece
        line, _, self._read = self._read.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer

    def end(self) -> None:
        """End the process."""
        self.process.kill()
        os.close(self._input)
        os.close(self._output)


class Crew:
    """Workers and a sender, always as many as there should be; `tend` replaces those that died."""

    def __init__(self, environment: Mapping[str, str], logs: Path, *, workers: int) -> None:
        self.environment = dict(environment)
        self.logs = logs
        self.worker_count = workers
        self.deaths = 0
        self.workers: list[Process] = []
        self._spawned: list[subprocess.Popen[bytes]] = []
        self._numbers = count(1)
        self._line = read_procfile(ROOT / "Procfile")["worker"]
        self._sender: Sender | None = None
        self._zygote = Zygote(environment, logs / "zygote.log")

    def tend(self) -> None:
        """Start a worker for each that died."""
        alive = [worker for worker in self.workers if worker.is_running()]
        self.deaths += len(self.workers) - len(alive)
        self.workers = alive
        while len(self.workers) < self.worker_count:
            self.workers.append(self.start_worker())

    def start_worker(self) -> Process:
        """Fork one worker process with the arguments of the Procfile's line."""
        number, log = self._next_log()
        with log.open("ab") as output, Path(os.devnull).open("rb") as nothing:
            pid = self._zygote.fork(
                "worker",
                self._worker_arguments(number),
                stdin=nothing.fileno(),
                stdout=output.fileno(),
                stderr=output.fileno(),
            )
        return Process(pid=pid, log=log)

    def spawn_worker(self, **environment: str) -> Process:
        """Start one worker by the Procfile's line itself, with other settings; `tend` keeps it as any other."""
        number, log = self._next_log()
        with log.open("ab") as output:
            started = subprocess.Popen(
                ["/bin/sh", "-c", self._line],
                cwd=ROOT,
                env={**self.environment, "WORKER_NUMBER": str(number), **environment},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._spawned.append(started)
        worker = Process(pid=started.pid, log=log)
        self.workers.append(worker)
        return worker

    def manage(self, *arguments: str) -> None:
        """Run a management command to its end."""
        log = self.logs / "manage.log"
        with log.open("ab") as output, Path(os.devnull).open("rb") as nothing:
            pid = self._zygote.fork(
                "manage",
                list(arguments),
                stdin=nothing.fileno(),
                stdout=output.fileno(),
                stderr=output.fileno(),
            )
        while Process(pid=pid, log=log).is_running():
            time.sleep(0.01)
        assert "Error" not in log.read_text(), log.read_text()

    def ready_workers(self) -> list[Process]:
        """Return the workers that are alive and take work."""
        return [worker for worker in self.workers if worker.is_ready()]

    def ask(self, door: str, **arguments: Any) -> dict[str, Any]:
        """Give an order to a sender, and to the next where one dies of it, until it is answered."""
        while True:
            if self._sender is None:
                self._sender = Sender(self._zygote, self.logs / "senders.log")
            try:
                return self._sender.ask(door, **arguments)
            except SenderDied:
                self._sender.end()
                self._sender = None
                self.deaths += 1

    def prepare(self, door: str, **arguments: Any) -> dict[str, Any]:
        """Have a sender prepare something; again where the database was just away.

        Raises: AssertionError with what it said.
        """
        for _try in range(PREPARE_TRIES):
            answer = self.ask(door, **arguments)
            if "error" not in answer:
                return answer
            time.sleep(0.2)
        raise AssertionError(f"{door}: {answer['error']}")

    def end(self) -> None:
        """End all processes: workers as an operator would, and what then is left."""
        if self._sender is not None:
            self._sender.end()
        for number in (signal.SIGCONT, signal.SIGTERM):
            self._each(lambda worker, number=number: worker.signal(number))
        deadline = time.monotonic() + 10.0
        while any(worker.is_running() for worker in self.workers) and time.monotonic() < deadline:
            time.sleep(0.02)
        self._each(Process.kill)
        for child in self._spawned:
            child.wait()
        self._zygote.end()

    def _each(self, do: Callable[[Process], object]) -> None:
        for worker in self.workers:
            do(worker)

    def _next_log(self) -> tuple[int, Path]:
        number = next(self._numbers)
        return number, self.logs / f"worker-{number}.log"

    def _worker_arguments(self, number: int) -> list[str]:
        """Let the shell read the Procfile's line, as it does when it starts a worker."""
        arguments = self._line.partition(CELERY)[2]
        assert arguments, f"The Procfile's worker line does not start {CELERY!r}."
        done = subprocess.run(
            ["/bin/sh", "-c", f"printf '%s\\n' {arguments}"],
            env={**self.environment, "WORKER_NUMBER": str(number)},
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.splitlines()
