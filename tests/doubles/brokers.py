"""Real brokers of a test's own: a Valkey and a RabbitMQ that can be stopped, hung and filled, and sockets that
only look like one.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import redis
from kombu import Connection
from redis.backoff import NoBackoff
from redis.retry import Retry

from eliza_site.embedded.processes import Child, Command, tail
from eliza_site.embedded.valkey import find_binary

READY_SECONDS = 60.0
RABBITMQ_FOLDERS = (
    "/usr/lib/rabbitmq/bin",
    "/usr/local/opt/rabbitmq/sbin",
    "/opt/rabbitmq/sbin",
    "/usr/sbin",
)


def free_port() -> int:
    """Find a port on which nobody listens."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Broker:
    """A broker process on a port of its own, empty at each start."""

    url: str

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = free_port()
        self.child: Child | None = None

    def start(self) -> None:
        """Start it, and wait until it answers."""
        self.child = Child(self.command())
        self.child.start()
        deadline = time.monotonic() + READY_SECONDS
        while not self.answers():
            assert self.child.is_running(), tail(self.child.command.log, 30)
            assert time.monotonic() < deadline, tail(self.child.command.log, 30)
            time.sleep(0.05)

    def command(self) -> Command:
        """Tell what runs."""
        raise AssertionError("each kind of broker has its own")

    def answers(self) -> bool:
        """Tell whether it takes messages."""
        raise AssertionError("each kind of broker has its own")

    def waiting(self, queue: str) -> int:
        """Tell how many wake-ups wait in a queue, those at work not among them."""
        raise AssertionError("each kind of broker has its own")

    def kill(self) -> None:
        """End it at once, with all that it kept."""
        if self.child is not None:
            self.child.kill()

    def close(self) -> None:
        """End it, and all that belongs to it."""
        self.kill()

    def hang(self) -> None:
        """Let it answer nothing more; connections stay open, and new ones are still accepted by the kernel."""
        self._signal(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let a broker that hangs go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        assert self.child is not None
        assert self.child.pid is not None
        os.killpg(self.child.pid, number)


class ValkeyBroker(Broker):
    """A Valkey that keeps nothing on disk."""

    @property
    def url(self) -> str:  # type: ignore[override]
        """Tell its address."""
        return f"redis://127.0.0.1:{self.port}/0"

    def command(self) -> Command:
        """Tell what runs."""
        return Command(
            name="valkey",
            argv=(str(find_binary()), "--port", str(self.port), "--bind", "127.0.0.1", "--save", "",
                  "--dir", str(self.folder), "--maxmemory-policy", "noeviction"),
            folder=self.folder,
            log=self.folder / "valkey.log",
            environment=os.environ,
        )  # fmt: skip

    def client(self) -> redis.Redis:
        """Connect, to turn its settings and to look into it."""
        return redis.Redis.from_url(self.url, socket_timeout=2.0, retry=Retry(NoBackoff(), 0))

    def answers(self) -> bool:
        """Tell whether it takes messages."""
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def waiting(self, queue: str) -> int:
        """Tell how many wake-ups wait in a queue."""
        with self.client() as client:
            return int(client.llen(queue))

    def fill(self) -> None:
        """Leave it without memory: every write is refused."""
        with self.client() as client:
            client.config_set("maxmemory", 1)

    def make_read_only(self) -> None:
        """Make it a replica of nobody: every write is refused, as after a failover."""
        with self.client() as client:
            client.replicaof("127.0.0.1", "1")


@dataclass(frozen=True)
class Programs:
    """Where RabbitMQ and Erlang's name server lie."""

    server: str
    epmd: str


def find_rabbitmq() -> Programs | None:
    """Find RabbitMQ's own script, past the packages' wrapper that insists on the system's user."""
    path = os.pathsep.join([*RABBITMQ_FOLDERS, os.environ.get("PATH", "")])
    server, epmd = shutil.which("rabbitmq-server", path=path), shutil.which("epmd", path=path)
    return Programs(server, epmd) if server and epmd else None


class RabbitBroker(Broker):
    """A private RabbitMQ node on loopback, with a name server of its own."""

    def __init__(self, folder: Path, programs: Programs) -> None:
        super().__init__(folder)
        self.programs = programs
        self.epmd_port, self.distribution_port = free_port(), free_port()
        self.epmd: Child | None = None

    @property
    def url(self) -> str:  # type: ignore[override]
        """Tell its address."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}//"

    def start(self) -> None:
        """Start the name server and the node, and wait until it answers."""
        if self.epmd is None:
            self.epmd = Child(self._command("epmd", (self.programs.epmd,)))
            self.epmd.start()
        super().start()

    def command(self) -> Command:
        """Tell what runs."""
        return self._command("rabbitmq", (self.programs.server,))

    def answers(self) -> bool:
        """Tell whether it greets who connects."""
        try:
            with socket.create_connection(("127.0.0.1", self.port), timeout=2.0) as link:
                link.sendall(b"AMQP\x00\x00\x09\x01")
                return bool(link.recv(1))
        except OSError:
            return False

    def waiting(self, queue: str) -> int:
        """Tell how many wake-ups wait in a queue."""
        with Connection(self.url) as link:
            return int(link.default_channel.queue_declare(queue, passive=True).message_count)

    def kill(self) -> None:
        """End the node at once, and forget what it kept."""
        super().kill()
        shutil.rmtree(self.folder / "mnesia", ignore_errors=True)

    def close(self) -> None:
        """End the node and its name server."""
        self.kill()
        if self.epmd is not None:
            self.epmd.kill()

    def _command(self, name: str, argv: tuple[str, ...]) -> Command:
        for part in ("mnesia", "log", "home"):
            (self.folder / part).mkdir(parents=True, exist_ok=True)
        (self.folder / "rabbitmq.conf").write_text("vm_memory_high_watermark.relative = 0.6\n")
        (self.folder / "enabled_plugins").write_text("[].\n")
        environment = {
            **os.environ,
            "HOME": str(self.folder / "home"),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self.epmd_port),
            "RABBITMQ_NODENAME": f"eliza-test-{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self.distribution_port),
            "RABBITMQ_MNESIA_BASE": str(self.folder / "mnesia"),
            "RABBITMQ_LOG_BASE": str(self.folder / "log"),
            "RABBITMQ_CONFIG_FILE": str(self.folder / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(self.folder / "enabled_plugins"),
            "RABBITMQ_PID_FILE": str(self.folder / "pid"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "-kernel inet_dist_use_interface {127,0,0,1} +S 1",
        }
        return Command(
            name=name,
            argv=argv,
            folder=self.folder,
            log=self.folder / f"{name}.log",
            environment=environment,
        )


@contextmanager
def black_hole() -> Iterator[int]:
    """Listen on a port that takes connections and never answers, and tell the port."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(100)
        yield listening.getsockname()[1]


@contextmanager
def closed_door() -> Iterator[int]:
    """Listen on a port whose queue is full, so that connecting hangs, and tell the port."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        listening.listen(0)
        waiting = [socket.socket() for _number in range(4)]
        for one in waiting:
            one.setblocking(False)
            one.connect_ex(listening.getsockname())
        try:
            yield listening.getsockname()[1]
        finally:
            for one in waiting:
                one.close()


__all__ = ["Broker", "Programs", "RabbitBroker", "ValkeyBroker", "black_hole", "closed_door", "find_rabbitmq"]
