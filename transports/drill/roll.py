"""Who is at work on this machine: asked of the workers themselves, again and again, by a thread of its own."""

from __future__ import annotations

import socket
import subprocess
import threading
from pathlib import Path
from types import TracebackType

from agents.processes.workers import BrokerAway, WorkerProcess, find_processes

ASK_SECONDS = 0.5


class Roll:
    """The workers of this machine, those that were started meanwhile too; a context manager that keeps it fresh."""

    def __init__(self, first: list[WorkerProcess]) -> None:
        self.expected = len(first)
        self._first = {worker.pid for worker in first}
        self._known = {worker.pid: worker for worker in first}
        self._struck: set[int] = set()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="drill-roll", daemon=True)
        self.fault = ""

    def __enter__(self) -> Roll:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        self._thread.join()

    def alive(self) -> list[WorkerProcess]:
        """Return the workers that are known and still run."""
        known = [worker for worker in list(self._known.values()) if worker.pid not in self._struck]
        return [worker for worker in known if is_worker(worker.pid)]

    def strike(self, worker: WorkerProcess) -> None:
        """Strike out a worker that was killed: it is seen for a moment longer."""
        self._struck.add(worker.pid)

    def has_newcomers(self) -> bool:
        """Tell whether a worker was started since the drill began: somebody starts those that die."""
        return any(pid not in self._first for pid in list(self._known))

    def _keep(self) -> None:
        while not self._stop.is_set():
            try:
                found = find_processes(ASK_SECONDS)
            except BrokerAway as error:
                self.fault = str(error)
                self._stop.wait(ASK_SECONDS)
                continue
            self.fault = ""
            self._known.update({worker.pid: worker for worker in found if is_here(worker)})


def is_here(worker: WorkerProcess) -> bool:
    """Tell whether the worker says that it runs on this machine."""
    return worker.host == socket.gethostname()


def is_worker(pid: int) -> bool:
    """Tell whether this process of this machine is a Celery worker, by its command line."""
    line = _command_line(pid)
    return b"celery" in line and b"worker" in line


def _command_line(pid: int) -> bytes:
    if Path("/proc/self/cmdline").exists():
        try:
            return Path(f"/proc/{pid}/cmdline").read_bytes()
        except (FileNotFoundError, ProcessLookupError):
            return b""
    asked = ["/bin/ps", "-o", "args=", "-p", str(pid)]
    return subprocess.run(asked, capture_output=True, check=False).stdout  # noqa: S603 - no shell, a number
