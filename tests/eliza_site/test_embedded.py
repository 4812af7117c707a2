"""The embedded servers: private, gone with whoever started them, and back with all that was committed."""

import os
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import psycopg
import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from eliza_site.embedded import EmbeddedServerError, Servers
from eliza_site.embedded.buffers import shared_buffers
from eliza_site.embedded.processes import find_processes_in
from eliza_site.embedded.sockets import MAX_PATH_BYTES, find_socket_folder
from eliza_site.environment import sqlite_url

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="death signals are Linux' own")

SUPERVISOR = """
import sys, time
from pathlib import Path
from eliza_site.embedded import Servers
servers = Servers(run_dir=Path(sys.argv[1]), durable=False)
print(servers.start()["DATABASE_URL"], flush=True)
time.sleep(60)
"""
PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    found = Servers(run_dir=tmp_path / "run", durable=False)
    yield found
    found.stop()


def clean_environment(**more: str) -> dict[str, str]:
    """Leave out what the servers of this very test run put into the environment."""
    ours = ("DATABASE_URL", "REDIS_URL", "CELERY_BROKER_URL", "RUN_DIR")
    return {name: value for name, value in os.environ.items() if name not in ours} | more


@pytest.mark.parametrize(
    ("limit", "buffers"),
    [
        ("536870912", "128MB"),
        ("4294967296", "512MB"),
        ("max", shared_buffers(())),
    ],
    ids=["a container of 512 MiB", "a container of 4 GiB", "no limit"],
)
def test_the_database_takes_an_eighth_of_the_memory_within_bounds(
    tmp_path: Path, limit: str, buffers: str
) -> None:
    (tmp_path / "memory.max").write_text(f"{limit}\n")
    assert shared_buffers((tmp_path / "memory.max", tmp_path / "no such file")) == buffers
    assert 128 <= int(buffers.removesuffix("MB")) <= 8192


def count_server_processes(run_dir: Path) -> int:
    folders = (run_dir / "postgres" / "data", run_dir / "valkey" / "data")
    return sum(len(find_processes_in(folder.resolve())) for folder in folders)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_servers_are_private_and_keep_their_keys(servers: Servers) -> None:
    first = servers.start()

    with psycopg.connect(first["DATABASE_URL"]) as connection:
        connection.execute("SELECT '[1,2]'::vector")
        row = connection.execute(
            "SELECT rolsuper, rolcreatedb FROM pg_roles WHERE rolname = 'eliza'"
        ).fetchone()
        assert row == (False, True)
        assert connection.execute("SHOW listen_addresses").fetchone() == ("",)
    client = redis.Redis.from_url(first["REDIS_URL"])
    assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}
    assert client.config_get("port") == {"port": "0"}
    client.close()
    sockets = find_socket_folder(servers.run_dir)
    assert mode(sockets) == 0o700
    assert mode(servers.run_dir / "fleet.env") == mode(servers.run_dir / "keys.json") == 0o600

    servers.stop()
    assert count_server_processes(servers.run_dir) == 0
    assert servers.start() == first


def test_without_the_password_nobody_gets_in(servers: Servers) -> None:
    environment = servers.start()
    sockets = find_socket_folder(servers.run_dir)

    with pytest.raises(psycopg.OperationalError, match="password"):
        psycopg.connect(host=str(sockets), user="eliza", dbname="eliza", password="wrong")
    stranger = redis.Redis(unix_socket_path=str(sockets / "valkey.sock"), retry=Retry(NoBackoff(), 0))
    with pytest.raises(redis.AuthenticationError):
        stranger.ping()
    stranger.close()
    assert "wrong" not in environment["DATABASE_URL"]


def test_kill_9_of_the_supervisor_leaves_no_server_and_loses_no_row(tmp_path: Path) -> None:
    run_dir = tmp_path / "run"
    supervisor = subprocess.Popen(
        [sys.executable, "-c", SUPERVISOR, str(run_dir)],
        cwd=PROJECT,
        env=clean_environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert supervisor.stdout is not None
    url = supervisor.stdout.readline().strip()
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS value")
    assert count_server_processes(run_dir) > 0

    supervisor.kill()
    supervisor.wait()
    supervisor.stdout.close()

    deadline = time.monotonic() + 10
    while count_server_processes(run_dir) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert count_server_processes(run_dir) == 0
    servers = Servers(run_dir=run_dir, durable=False)
    try:
        with psycopg.connect(servers.start()["DATABASE_URL"]) as connection:
            assert connection.execute("SELECT value FROM kept").fetchone() == (42,)
    finally:
        servers.stop()


def test_a_killed_server_recovers_though_its_lock_names_a_living_process(servers: Servers) -> None:
    url = servers.start()["DATABASE_URL"]
    with psycopg.connect(url) as connection:
        connection.execute("CREATE TABLE kept AS SELECT 42 AS value")
    postgres = servers.children[0]
    assert postgres.pid is not None
    os.kill(postgres.pid, signal.SIGKILL)
    assert postgres.wait(5)
    lock = servers.run_dir / "postgres" / "data" / "postmaster.pid"
    lines = lock.read_text().splitlines(keepends=True)
    lock.write_text("".join([f"{os.getpid()}\n", *lines[1:]]))
    servers.stop()

    with psycopg.connect(servers.start()["DATABASE_URL"]) as connection:
        assert connection.execute("SELECT value FROM kept").fetchone() == (42,)
    assert psutil.pid_exists(os.getpid())


def test_lost_keys_are_named(servers: Servers) -> None:
    servers.start()
    servers.stop()
    (servers.run_dir / "keys.json").unlink()

    with pytest.raises(EmbeddedServerError, match=r"keys\.json.*make clean"):
        servers.start()
    assert count_server_processes(servers.run_dir) == 0


def test_a_long_path_puts_the_sockets_elsewhere_and_remembers_where(tmp_path: Path) -> None:
    run_dir = tmp_path / ("long" * 30)
    run_dir.mkdir()

    folder = find_socket_folder(run_dir)

    try:
        assert len(os.fsencode(folder / ".s.PGSQL.5432.lock")) <= MAX_PATH_BYTES
        assert mode(folder) == 0o700
        assert find_socket_folder(run_dir) == folder
        folder.chmod(0o755)
        other = find_socket_folder(run_dir)
        assert other != folder, "a folder that others may enter is not used again"
        other.rmdir()
    finally:
        folder.rmdir()


def test_a_short_path_keeps_the_sockets_with_the_data() -> None:
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        folder = find_socket_folder(Path(name))

        assert folder == Path(name) / "sockets"
        with socket.socket(socket.AF_UNIX) as probe:
            probe.bind(str(folder / "free"))


def test_exec_runs_a_command_with_servers_and_returns_its_exit_code(tmp_path: Path) -> None:
    script = (
        "import os, sys, psycopg, redis;"
        "psycopg.connect(os.environ['DATABASE_URL']).close();"
        "redis.Redis.from_url(os.environ['REDIS_URL']).ping();"
        "sys.exit(7)"
    )
    command = [sys.executable, "-m", "eliza_site.embedded", "exec", "--dir", str(tmp_path / "run"), "--"]

    done = subprocess.run([*command, sys.executable, "-c", script], cwd=PROJECT, env=clean_environment())

    assert done.returncode == 7
    assert count_server_processes(tmp_path / "run") == 0


def test_servers_that_are_given_are_not_started(tmp_path: Path) -> None:
    script = "import os; print(os.environ['DATABASE_URL'], os.environ['REDIS_URL'])"
    command = [sys.executable, "-m", "eliza_site.embedded", "exec", "--dir", str(tmp_path / "run"), "--"]
    given = {"DATABASE_URL": "postgres://somewhere/else", "REDIS_URL": "redis://somewhere:1/0"}

    done = subprocess.run(
        [*command, sys.executable, "-c", script],
        cwd=PROJECT,
        env=clean_environment(**given),
        capture_output=True,
        text=True,
        check=True,
    )

    assert done.stdout.split() == list(given.values())
    assert not (tmp_path / "run" / "postgres").exists()


def test_who_runs_beside_a_fleet_on_sqlite_finds_its_file_and_the_next_fleet_does_not(tmp_path: Path) -> None:
    run_dir, file = tmp_path / "run", tmp_path / "a 100% site.sqlite3"
    Servers(run_dir=run_dir, with_postgres=False, with_valkey=False, database_url=sqlite_url(file)).start()

    def database(*arguments: str) -> str:
        return subprocess.run(
            [
                sys.executable,
                "-c",
                "from eliza_site import settings as s; print(s.DATABASE['NAME'])",
                *arguments,
            ],
            cwd=PROJECT,
            env=clean_environment(RUN_DIR=str(run_dir)),
            stdout=subprocess.PIPE,
            text=True,
            check=True,
        ).stdout.strip()

    assert database() == str(file)
    assert database("eliza_site.fleet") == "eliza"
