"""The processes of a fault test: workers that are started again when they die, and senders that may die too."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping
from itertools import count
from pathlib import Path
from typing import Any

from eliza_site.embedded.processes import Child, Command, die_with_parent
from eliza_site.fleet.procfile import read_procfile

ROOT = Path(__file__).resolve().parents[2]
ANSWER_SECONDS = 30.0


class SenderDied(Exception):
    """The sender died before it had answered: nobody knows whether the message was stored."""


class Sender:
    """One process that brings messages in."""

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        with log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.sender"],
                cwd=ROOT,
                env=dict(environment),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                bufsize=0,
                preexec_fn=die_with_parent(signal.SIGKILL),
            )
        self._read = b""
        self._is_ready = False

    def is_running(self) -> bool:
        """Tell whether the process is alive."""
        return self._process.poll() is None

    def ask(self, door: str, **arguments: Any) -> dict[str, Any]:
        """Give one order and return the answer.

        Raises: SenderDied.
        """
        if not self._is_ready:
            self._answer()
            self._is_ready = True
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(json.dumps({"door": door, **arguments}).encode() + b"\n")
        except BrokenPipeError as error:
            raise SenderDied from error
        return self._answer()

    def end(self) -> None:
        """End the process."""
        self._process.kill()
        self._process.wait()
        for pipe in (self._process.stdin, self._process.stdout):
            assert pipe is not None
            pipe.close()

    def _answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        deadline = time.monotonic() + ANSWER_SECONDS
        while b"\n" not in self._read:
            left = deadline - time.monotonic()
            if left <= 0 or not select.select([self._process.stdout], [], [], left)[0]:
                raise SenderDied
            piece = self._process.stdout.read(65536)
            if not piece:
                raise SenderDied
            self._read += piece
        line, _, self._read = self._read.partition(b"\n")
        answer: dict[str, Any] = json.loads(line)
        return answer


class Crew:
    """Workers and senders, always as many as there should be; `tend` replaces those that died.

    A sender more than is needed is kept ready, because a process takes a second or two to start.
    """

    def __init__(self, environment: Mapping[str, str], logs: Path, *, workers: int, senders: int = 2) -> None:
        self.environment = dict(environment)
        self.logs = logs
        self.worker_count = workers
        self.deaths = 0
        self.workers: list[Child] = []
        self._numbers = count(1)
        self._line = read_procfile(ROOT / "Procfile")["worker"]
        self._sender_count = senders
        self._senders: list[Sender] = []

    def tend(self) -> None:
        """Start a worker or sender for each that died."""
        alive = [worker for worker in self.workers if worker.is_running()]
        self.deaths += len(self.workers) - len(alive)
        self.workers = alive
        while len(self.workers) < self.worker_count:
            self.workers.append(self.start_worker())
        self._bury_senders()

    def start_worker(self, **environment: str) -> Child:
        """Start one worker process by the Procfile's own line; the caller keeps it, or `tend` does."""
        number = str(next(self._numbers))
        child = Child(
            Command(
                name=f"worker-{number}",
                argv=("/bin/sh", "-c", self._line),
                folder=ROOT,
                log=self.logs / f"worker-{number}.log",
                environment={**self.environment, "WORKER_NUMBER": number, **environment},
            )
        )
        child.start()
        return child

    def ready_workers(self) -> list[Child]:
        """Return the workers that are alive and take work."""
        return [worker for worker in self.workers if worker.is_running() and is_ready(worker)]

    def kill(self, worker: Child) -> None:
        """Kill a worker without a word; what it left in its session dies with it."""
        worker.kill()

    def ask(self, door: str, **arguments: Any) -> dict[str, Any]:
        """Give an order to a sender, and to the next where one dies of it, until it is answered."""
        while True:
            self._bury_senders()
            try:
                return self._senders[0].ask(door, **arguments)
            except SenderDied:
                self._senders.pop(0).end()
                self.deaths += 1

    def end(self) -> None:
        """End all processes."""
        for sender in self._senders:
            sender.end()
        for worker in self.workers:
            if worker.is_running() and worker.pid is not None:
                os.kill(worker.pid, signal.SIGCONT)
            worker.ask_to_stop()
        for worker in self.workers:
            worker.stop()

    def _bury_senders(self) -> None:
        for sender in [sender for sender in self._senders if not sender.is_running()]:
            self._senders.remove(sender)
            sender.end()
            self.deaths += 1
        while len(self._senders) < self._sender_count:
            self._senders.append(Sender(self.environment, self.logs / "senders.log"))


def is_ready(worker: Child) -> bool:
    """Tell whether a worker has said that it takes work."""
    try:
        return " ready." in worker.command.log.read_text(errors="replace")
    except FileNotFoundError:
        return False
