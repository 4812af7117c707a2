"""Both embedded servers of one run directory, and the environment that leads to them."""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from eliza_site.embedded.errors import EmbeddedServerError
from eliza_site.embedded.identity import find_identity
from eliza_site.embedded.keys import Keys, keep_keys, write_private
from eliza_site.embedded.postgres import Postgres
from eliza_site.embedded.processes import Child
from eliza_site.embedded.sockets import find_socket_folder
from eliza_site.embedded.valkey import Valkey


@dataclass(kw_only=True)
class Servers:
    """The servers that were started here; those that the environment names elsewhere are left out.

    `database_url` is the address of a database that needs no server, for those that run beside.
    """

    run_dir: Path
    with_postgres: bool = True
    database_url: str = ""
    with_valkey: bool = True
    durable: bool = True
    local_model_base_url: str = ""
    children: list[Child] = field(default_factory=list)

    def start(self, say: Callable[[str], None] = lambda _: None) -> dict[str, str]:
        """Start what is wanted, write `fleet.env`, and return the variables that stand in it.

        Raises: EmbeddedServerError; nothing is left running then.
        """
        open_run_dir(self.run_dir, for_postgres=self.with_postgres)
        keys = keep_keys(self.run_dir)
        sockets = find_socket_folder(self.run_dir)
        logs = self.run_dir / "logs"
        logs.mkdir(mode=0o700, exist_ok=True)
        environment = self._keys_environment(keys)
        if self.database_url:
            environment["DATABASE_URL"] = self.database_url
        try:
            if self.with_postgres:
                say("PostgreSQL")
                postgres = Postgres(
                    folder=self.run_dir / "postgres",
                    sockets=sockets,
                    log=logs / "postgres.log",
                    password=keys.postgres,
                    superuser_password=keys.postgres_superuser,
                    durable=self.durable,
                )
                self.children.append(postgres.start())
                environment["DATABASE_URL"] = postgres.url
            if self.with_valkey:
                say("Valkey")
                valkey = Valkey(
                    folder=self.run_dir / "valkey",
                    sockets=sockets,
                    log=logs / "valkey.log",
                    password=keys.valkey,
                    durable=self.durable,
                )
                self.children.append(valkey.start())
                environment["REDIS_URL"] = valkey.url
        except BaseException:
            self.stop()
            raise
        self._write_environment(environment)
        return environment

    def stop(self) -> None:
        """Stop the servers, the last one started first."""
        for child in reversed(self.children):
            child.stop()
        self.children.clear()

    def _keys_environment(self, keys: Keys) -> dict[str, str]:
        return {
            "SECRET_KEY": keys.django,
            "FIELD_ENCRYPTION_KEY": keys.fields,
            "FLOWER_BASIC_AUTH": f"admin:{keys.flower}",
            "LOCAL_MODEL_BASE_URL": self.local_model_base_url,
        }

    def _write_environment(self, environment: dict[str, str]) -> None:
        lines = ["# Written at each start, for the commands that run beside the fleet.\n"]
        lines += [f"{name}={value}\n" for name, value in environment.items()]
        write_private(self.run_dir / "fleet.env", "".join(lines))


def open_run_dir(run_dir: Path, *, for_postgres: bool) -> None:
    """Make the run directory, closed to others.

    Where PostgreSQL runs as another user, that one must pass through; what lies inside stays closed.

    Raises: EmbeddedServerError where it is another user's.
    """
    try:
        run_dir.mkdir(parents=True, exist_ok=True)
        run_dir.chmod(0o711 if for_postgres and find_identity().user else 0o700)
    except PermissionError as error:
        owner = "another user"
        with suppress(OSError):
            owner = f"user id {run_dir.stat().st_uid}"
        raise EmbeddedServerError(
            f"{run_dir} belongs to {owner}, and this is user id {os.geteuid()}: run as its owner, remove it "
            "as its owner with `make clean`, or set RUN_DIR to a folder of your own."
        ) from error
