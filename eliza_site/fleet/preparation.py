"""What has to be done before the fleet's processes start: migrations, static files, an admin, characters."""

import json
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from eliza_site.embedded.processes import die_with_parent
from eliza_site.fleet.errors import FleetError


@dataclass(frozen=True, kw_only=True)
class Admin:
    """The administrator; the password is there only when it was made just now."""

    username: str
    password: str | None


@dataclass(frozen=True, kw_only=True)
class Prepared:
    """What the preparation brought, and what is wrong with the sample characters, if anything.

    `has_conversed` tells whether the database has the sample conversation already.
    """

    admin: Admin
    fault: str
    has_conversed: bool


@dataclass(frozen=True, kw_only=True)
class Site:
    """The project's folder, and the environment in which its commands run."""

    folder: Path
    environment: Mapping[str, str]

    def manage(self, *arguments: str) -> str:
        """Run a command of `manage.py` to its end and return what it wrote.

        Raises: FleetError with the end of its output.
        """
        return self.run(sys.executable, "manage.py", *arguments)

    def run(self, *argv: str) -> str:
        """Run any command to its end and return what it wrote.

        Raises: FleetError with the end of its output.
        """
        done = subprocess.run(  # noqa: S603 - the project's own commands
            argv,
            cwd=self.folder,
            env=dict(self.environment),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            start_new_session=True,
            preexec_fn=die_with_parent(signal.SIGKILL),
        )
        if done.returncode != 0:
            written = "\n".join((done.stdout + done.stderr).strip().splitlines()[-15:])
            raise FleetError(f"`{' '.join(argv)}` failed with code {done.returncode}:\n{written}")
        return done.stdout


def prepare_site(site: Site) -> Prepared:
    """Collect static files, create an administrator unless there is one, and load the sample characters.

    Raises: FleetError with the end of the command's output.
    """
    files = sorted(str(path) for path in (site.folder / "characters").glob("*.json"))
    # The report is the last line; before it may stand what was logged.
    found = json.loads(site.manage("prepare_site", "--json", *files).splitlines()[-1])
    faults = [line for line in found["characters"].splitlines() if line.startswith("Error")]
    return Prepared(
        admin=Admin(**found["admin"]),
        fault=found["characters"].strip() if faults else "",
        has_conversed=found["has_conversed"],
    )
