"""Servers of a fault test's own, which can be killed, hung, emptied and started again."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from eliza_site.embedded.identity import find_identity, own_folder
from eliza_site.embedded.keys import Keys
from eliza_site.embedded.postgres import Postgres
from eliza_site.embedded.processes import Child
from eliza_site.embedded.servers import open_run_dir
from eliza_site.embedded.sockets import find_socket_folder
from eliza_site.embedded.valkey import Valkey


class _Server:
    """A server process with the faults that every process can have."""

    _child: Child

    def kill(self) -> None:
        """Kill it; it stays away until it is started."""
        self._child.kill()

    def hang(self) -> None:
        """Stop it without ending it: connections stay open, nobody answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on from where it hung."""
        self._signal(signal.SIGCONT)

    def end(self) -> None:
        """Stop it for good, hung or not."""
        if self._child.is_running():
            self.resume()
        self._child.stop(5.0)

    def _signal(self, number: signal.Signals) -> None:
        assert self._child.pid is not None
        os.kill(self._child.pid, number)


class OwnValkey(_Server):
    """Broker, cache and streams of one test fleet. It keeps nothing on disk, so each start is empty."""

    def __init__(self, folder: Path) -> None:
        sockets = find_socket_folder(folder)
        self._server = Valkey(
            folder=folder / "valkey",
            sockets=sockets,
            log=folder / "valkey.log",
            password=Keys().valkey,
            durable=False,
        )
        self.url = self._server.url
        self.start()

    def start(self) -> None:
        """Start it, empty."""
        self._child = self._server.start()

    def restart_empty(self) -> None:
        """Kill it and start it again without its data."""
        self.kill()
        self.start()

    def flush(self) -> None:
        """Delete all that it holds: queues, unacknowledged wake-ups, cache and streams."""
        self.client().flushall()

    def limit_memory(self, size: int) -> None:
        """Let it refuse to write beyond so many bytes; 0 lifts the limit."""
        self.client().config_set("maxmemory", size)

    def client(self) -> redis.Redis:
        """Return a client of its own."""
        return redis.Redis.from_url(self.url, retry=Retry(NoBackoff(), 0), socket_timeout=2.0)


class OwnPostgres(_Server):
    """A PostgreSQL of one test fleet. What is committed survives its death."""

    def __init__(self, folder: Path) -> None:
        keys = Keys()
        self._server = Postgres(
            folder=folder / "postgres",
            sockets=find_socket_folder(folder),
            log=folder / "postgres.log",
            password=keys.postgres,
            superuser_password=keys.postgres_superuser,
            durable=False,
        )
        self.url = self._server.url
        self.socket = self._server.sockets / ".s.PGSQL.5432"
        self.start()

    def start(self) -> None:
        """Start it, and let it recover what was committed."""
        self._child = self._server.start()

    def stop_immediately(self) -> None:
        """Stop it as `pg_ctl -m immediate` does: no session is asked, nothing is checkpointed."""
        self._signal(signal.SIGQUIT)
        assert self._child.wait(20), "PostgreSQL did not stop at once"

    def move_tables(self, folder: Path, *tables: str) -> None:
        """Let these tables lie in another folder from now on."""
        own_folder(folder, find_identity())
        with self._server._connect("eliza") as session:
            session.execute(f"CREATE TABLESPACE apart OWNER eliza LOCATION '{folder}'")  # type: ignore[arg-type]
            for table in tables:
                session.execute(f'ALTER TABLE "{table}" SET TABLESPACE apart')  # type: ignore[arg-type]

    def terminate_backends(self) -> int:
        """End every other session, and return how many there were."""
        with psycopg.connect(self.url, autocommit=True) as session:
            rows = session.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE pid <> pg_backend_pid() AND usename = current_user"
            ).fetchall()
        return len(rows)


@contextmanager
def server_folder() -> Iterator[Path]:
    """Make a folder for servers whose path is short, and which another user may pass; remove it afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="chaos-"))
    open_run_dir(folder, for_postgres=True)
    try:
        yield folder
    finally:
        shutil.rmtree(find_socket_folder(folder), ignore_errors=True)
        shutil.rmtree(folder, ignore_errors=True)
