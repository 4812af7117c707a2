"""A process that has loaded everything and done nothing: workers and senders are forked from it.

A worker that is started by its Procfile line takes two seconds of CPU for its imports, and a fault test kills
hundreds. What is forked runs the same line's arguments through the same entrance of Celery. Nothing here may
open a connection, start a thread or draw a random number: children would share it.
"""

from __future__ import annotations

import ctypes
import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
PR_SET_PDEATHSIG = 1
ORDER_BYTES = 65536
USED_LATER = (
    "agents.llm.openai",
    "agents.work",
    "celery.bin.worker",
    "celery.concurrency.thread",
    "celery.worker.worker",
    "kombu.transport.redis",
    "tests.chaos.sender",
    "transports.delivery",
    "transports.fake.transport",
)
"""What workers and senders import when they first need it."""


class Zygote:
    """The parent of a fault test's processes, seen from the test."""

    def __init__(self, environment: Mapping[str, str], log: Path) -> None:
        ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with theirs, log.open("ab") as errors:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.zygote", str(theirs.fileno())],
                cwd=ROOT,
                env={**environment, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                pass_fds=[theirs.fileno()],
            )
        self._socket = ours
        assert ours.recv(ORDER_BYTES) == b"ready", f"The zygote did not start: {log.read_text()[-2000:]}"

    def fork(self, role: str, arguments: list[str], *, stdin: int, stdout: int, stderr: int) -> int:
        """Fork a process with these streams, and return its id."""
        order = json.dumps({"role": role, "arguments": arguments}).encode()
        socket.send_fds(self._socket, [order], [stdin, stdout, stderr])
        return int(self._socket.recv(ORDER_BYTES))

    def end(self) -> None:
        """End it, and with it whatever was forked from it."""
        self._socket.close()
        self._process.kill()
        self._process.wait()


def main(number: int) -> None:
    """Fork what is ordered until the test goes."""
    _load()
    orders = socket.socket(fileno=number)
    # The kernel buries the children; the test sees for itself that they are gone.
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    _die_with_parent()
    orders.send(b"ready")
    while True:
        data, streams, _flags, _address = socket.recv_fds(orders, ORDER_BYTES, 3)
        if not data:
            return
        child = os.fork()
        if child == 0:
            orders.close()
            _become(json.loads(data), streams)
        for stream in streams:
            os.close(stream)
        orders.send(str(child).encode())


def _load() -> None:
    import django

    django.setup()
    from eliza_site.celery import app

    app.loader.import_default_modules()
    for name in USED_LATER:
        import_module(name)


def _become(order: dict[str, Any], streams: list[int]) -> None:
    """Become what was ordered, and never return."""
    code = 1
    try:
        _die_with_parent()
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        os.setsid()
        for target, stream in enumerate(streams):
            os.dup2(stream, target)
            os.close(stream)
        ROLES[order["role"]](order["arguments"])
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException as error:  # the door of a process: nothing may run the parent's code
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
    finally:
        sys.stderr.flush()
        os._exit(code)


def _work(arguments: list[str]) -> None:
    from eliza_site.celery import app

    app.worker_main(arguments)


def _send(_arguments: list[str]) -> None:
    from tests.chaos import sender

    sender.main()


def _manage(arguments: list[str]) -> None:
    from django.core.management import call_command

    call_command(*arguments)


ROLES = {"worker": _work, "sender": _send, "manage": _manage}


def _die_with_parent() -> None:
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL))


if __name__ == "__main__":
    main(int(sys.argv[1]))
