"""Child processes that do not outlive their parent: the embedded servers, and all that the fleet runs.

Start children from the main thread only: on Linux the death signal follows the thread that spawned them.
"""

import ctypes
import os
import pwd
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil

PR_SET_PDEATHSIG = 1


@dataclass(frozen=True, kw_only=True)
class Command:
    """What a child runs, where it logs, and how it is asked to end."""

    name: str
    argv: tuple[str, ...]
    folder: Path
    log: Path
    environment: Mapping[str, str]
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 10.0
    death_signal: signal.Signals = signal.SIGKILL
    user: str | None = None
    before_start: Callable[[], None] = field(default=lambda: None)


class Child:
    """One running command; the caller asks it now and then whether it still runs."""

    def __init__(self, command: Command) -> None:
        self.command = command
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """Tell the process' id, once it was started."""
        return self._process.pid if self._process else None

    @property
    def exit_code(self) -> int | None:
        """Tell how it ended; None while it runs or was never started."""
        return self._process.poll() if self._process else None

    def is_running(self) -> bool:
        """Tell whether the process is alive."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Start the command in a session of its own, so that a terminal's Ctrl-C reaches the parent alone."""
        command = self.command
        command.before_start()
        command.log.parent.mkdir(parents=True, exist_ok=True)
        with command.log.open("ab") as log:
            self._process = subprocess.Popen(  # noqa: S603 - the project's own commands
                command.argv,
                cwd=command.folder,
                env=dict(command.environment),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=die_with_parent(command.death_signal),
                user=command.user,
                group=_find_group(command.user),
                extra_groups=[] if command.user else None,
            )

    def ask_to_stop(self) -> None:
        """Send the command's own stop signal and return at once."""
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(self.command.stop_signal)

    def wait(self, seconds: float) -> bool:
        """Wait for the end and tell whether it came in time."""
        if self._process is None:
            return True
        try:
            self._process.wait(max(seconds, 0.0))
        except subprocess.TimeoutExpired:
            return False
        return True

    def kill(self) -> None:
        """Kill the process and what it left in its session."""
        if self._process is None:
            return
        try:
            os.killpg(self._process.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            self._process.kill()
        self._process.wait()

    def stop(self, seconds: float | None = None) -> bool:
        """Ask it to stop, kill it after `seconds`, and tell whether it went by itself."""
        self.ask_to_stop()
        in_time = self.wait(self.command.stop_seconds if seconds is None else seconds)
        self.kill()
        return in_time


def _find_group(user: str | None) -> int | None:
    """Find the first group of the user that a child becomes."""
    return None if user is None else pwd.getpwnam(user).pw_gid


def die_with_parent(death_signal: signal.Signals) -> Callable[[], None] | None:
    """Build what a child calls before exec, so that it gets `death_signal` when its parent is gone.

    Only Linux has this; elsewhere the next start ends what was left behind.
    """
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    parent = os.getpid()

    def in_child() -> None:
        libc.prctl(PR_SET_PDEATHSIG, int(death_signal))
        if os.getppid() != parent:
            os._exit(1)

    return in_child


def end_with_parent() -> None:
    """Have this very process get SIGTERM when its parent is gone."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM))


def find_processes_in(folder: Path) -> list[psutil.Process]:
    """List the processes that work in `folder`; a server works in its data directory."""
    found = []
    for process in psutil.process_iter():
        try:
            if process.cwd() == str(folder) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def end_leftovers(folder: Path, *, patience_seconds: float = 10.0) -> None:
    """End what a killed supervisor left working in `folder`: wait first, then SIGQUIT, then SIGKILL."""
    folder = folder.resolve()
    for signal_number, seconds in ((None, patience_seconds), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)):
        deadline = time.monotonic() + seconds
        left = find_processes_in(folder)
        for process in left:
            if signal_number is not None:
                process.send_signal(signal_number)
        while left and time.monotonic() < deadline:
            time.sleep(0.05)
            left = find_processes_in(folder)
        if not left:
            return


def tail(log: Path, lines: int = 12) -> str:
    """Read the last lines of a log for an error message."""
    try:
        return "\n".join(log.read_text(errors="replace").splitlines()[-lines:])
    except OSError:
        return ""
