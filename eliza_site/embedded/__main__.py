"""`python -m eliza_site.embedded exec [--dir DIR] [--durable] -- COMMAND …`: servers for one command.

`make test` and `make bench` use it. Servers that DATABASE_URL and REDIS_URL name are not started.
"""

import argparse
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from eliza_site import settings
from eliza_site.embedded.errors import EmbeddedServerError
from eliza_site.embedded.processes import die_with_parent
from eliza_site.embedded.servers import Servers
from eliza_site.embedded.sockets import find_socket_folder

STOP_SECONDS = 30.0


def main(arguments: list[str]) -> int:
    """Run the command line and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m eliza_site.embedded", description=__doc__)
    actions = parser.add_subparsers(dest="action", required=True)
    run = actions.add_parser("exec", help="start fresh servers, run a command with them, stop them")
    run.add_argument("--dir", type=Path, help="where the servers live (default: a temporary folder)")
    run.add_argument("--durable", action="store_true", help="write to disk as in real use (fsync on)")
    run.add_argument("command", nargs=argparse.REMAINDER, metavar="-- COMMAND")
    options = parser.parse_args(arguments)
    command = options.command[1:] if options.command[:1] == ["--"] else options.command
    if not command:
        parser.error("name the command to run after --")
    run_dir = (options.dir or Path(tempfile.mkdtemp(prefix="eliza-"))).resolve()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    try:
        return _run_with_servers(command, run_dir=run_dir, durable=options.durable)
    except EmbeddedServerError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    finally:
        if options.dir is None:
            shutil.rmtree(find_socket_folder(run_dir), ignore_errors=True)
            shutil.rmtree(run_dir, ignore_errors=True)


def _run_with_servers(command: list[str], *, run_dir: Path, durable: bool) -> int:
    servers = Servers(
        run_dir=run_dir,
        with_postgres="DATABASE_URL" not in settings.GIVEN,
        with_valkey="REDIS_URL" not in settings.GIVEN,
        durable=durable,
    )
    started = {name: value for name, value in servers.start().items() if name not in settings.GIVEN}
    environment = {**os.environ, **started, "RUN_DIR": str(run_dir)}
    try:
        child = subprocess.Popen(  # noqa: S603 - the caller's own command
            command,
            env=environment,
            preexec_fn=die_with_parent(signal.SIGTERM),
        )
        try:
            return _wait(child)
        finally:
            if child.poll() is None:
                child.terminate()
                try:
                    child.wait(STOP_SECONDS)
                except subprocess.TimeoutExpired:
                    child.kill()
    except FileNotFoundError:
        sys.stderr.write(f"There is no command {command[0]}.\n")
        return 127
    finally:
        servers.stop()


def _wait(child: subprocess.Popen[bytes]) -> int:
    """Wait for the command; the terminal's Ctrl-C reaches it by itself, so here it only means to wait on."""
    while True:
        try:
            code = child.wait()
        except KeyboardInterrupt:
            continue
        return code if code >= 0 else 128 - code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
