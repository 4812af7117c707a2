"""`python -m eliza_site.fleet`: starts everything on this machine and stays up until Ctrl-C or SIGTERM."""

import argparse
import os
import signal
import sys
import time
from contextlib import suppress
from pathlib import Path
from types import FrameType

from eliza_site import refusals, settings
from eliza_site.embedded import EmbeddedServerError, Servers
from eliza_site.embedded.processes import Child, end_with_parent
from eliza_site.embedded.servers import open_run_dir
from eliza_site.environment import sqlite_url
from eliza_site.fleet import conversation, preparation, readiness, summary
from eliza_site.fleet.crew import build_crew, build_local_model
from eliza_site.fleet.errors import FleetError
from eliza_site.fleet.fingerprint import find_prepared, keep_prepared, take_fingerprint
from eliza_site.fleet.lock import hold_lock
from eliza_site.fleet.measures import empty_metrics_folder
from eliza_site.fleet.ports import Port, require_free
from eliza_site.fleet.procfile import read_procfile
from eliza_site.fleet.screen import fail, say, step, warn
from eliza_site.fleet.supervisor import Supervisor
from eliza_site.sqlite.one_worker import NOTE

RUN_DIR = settings.RUN_DIR.resolve()
LOG_LIMIT_BYTES = 20_000_000
LOOK_SECONDS = 0.2
DATABASE_PATIENCE_SECONDS = 10.0
CREW_STAGE, MODEL_STAGE, VALKEY_STAGE, POSTGRES_STAGE = range(4)


class StopError(BaseException):
    """Somebody wants the fleet to stop; passes through everything up to the end."""


class Stop:
    """Turns the first signal into a `StopError`, and takes a second one as haste."""

    def __init__(self) -> None:
        self.signals = 0
        self.reason = ""
        self._parent = os.getppid()
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            # Under `nohup` the end of the terminal is none of the fleet.
            if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, self._receive)

    def _receive(self, number: int, _frame: FrameType | None) -> None:
        self.signals += 1
        if self.signals == 1:
            is_orphan = os.getppid() != self._parent
            self.reason = (
                "the process that started it has ended" if is_orphan else signal.Signals(number).name
            )
            raise StopError

    def is_hurried(self) -> bool:
        """Tell whether whoever stops the fleet has asked twice."""
        return self.signals > 1


def main(arguments: list[str]) -> int:
    """Run the fleet and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m eliza_site.fleet", description=__doc__)
    parser.add_argument(
        "--with-parent", action="store_true", help="stop when the process that started it ends"
    )
    options = parser.parse_args(arguments)
    stop = Stop()
    if options.with_parent:
        end_with_parent()
    supervisor = Supervisor(report=warn)
    try:
        open_run_dir(RUN_DIR, for_postgres="DATABASE_URL" not in settings.GIVEN)
        with hold_lock(RUN_DIR):
            try:
                run_fleet(supervisor)
            finally:
                stop.signals = max(stop.signals, 1)
                # Whose terminal is gone still has workers that finish what they have begun.
                with suppress(OSError, SystemExit):
                    announce_end(stop.reason, is_anything_up=bool(supervisor.children))
                if supervisor.children:
                    supervisor.stop(is_hurried=stop.is_hurried)
                    say("Everything is stopped.")
    except StopError:
        pass
    except (FleetError, EmbeddedServerError) as error:
        fail(str(error))
        return 1
    return 0


def announce_end(reason: str, *, is_anything_up: bool) -> None:
    """Say why the fleet stops, and what is waited for."""
    if reason:
        say(f"Stopping: {reason}.")
    if is_anything_up:
        say("Workers finish what they have begun. Ctrl-C again stops at once.")


def run_fleet(supervisor: Supervisor) -> None:
    """Start everything in its order, hold the sample conversation once, and look after it from then on.

    Raises: FleetError or EmbeddedServerError where something keeps it from starting; StopError at the end.
    """
    started_at = time.monotonic()
    procfile = read_procfile(settings.BASE_DIR / "Procfile")
    require_free(list_ports())
    require_database()
    rotate_logs(RUN_DIR / "logs")
    site = preparation.Site(folder=settings.BASE_DIR, environment=start_servers(supervisor))
    if settings.WITH_LOCAL_MODEL:
        start_local_model(supervisor, site)
    fingerprint = take_fingerprint(
        site.folder, RUN_DIR / "postgres" / "data" / "PG_VERSION", database=str(settings.DATABASE)
    )
    prepared = prepare(site, procfile["release"], fingerprint)
    with step("Web and workers"):
        start_crew(supervisor, procfile, site)
    say(f"Ready after {time.monotonic() - started_at:.1f} s.")
    if converse(supervisor, site, prepared) and not prepared.fault:
        keep_prepared(RUN_DIR, fingerprint, prepared.admin)
    summary.show_addresses(
        host=settings.HOST,
        port=settings.PORT,
        flower_port=settings.FLOWER_PORT,
        admin=prepared.admin,
        run_dir=RUN_DIR,
        is_flower_given="FLOWER_BASIC_AUTH" in settings.GIVEN,
    )
    summary.warn_about_hosts(host=settings.HOST, is_allowed_hosts_given="ALLOWED_HOSTS" in settings.GIVEN)
    summary.show_stay()
    while True:
        supervisor.look_after()
        time.sleep(LOOK_SECONDS)


def list_ports() -> list[Port]:
    """List the ports that this start will use."""
    ports = [
        Port(use="the web", variable="PORT", host=settings.HOST, number=settings.PORT),
        Port(use="Flower", variable="FLOWER_PORT", host=settings.HOST, number=settings.FLOWER_PORT),
    ]
    if settings.WITH_LOCAL_MODEL:
        ports.append(
            Port(
                use="the local model",
                variable="MODEL_PORT",
                host="127.0.0.1",
                number=settings.MODEL_PORT,
            )
        )
    return ports


def require_database() -> None:
    """Make sure that a database that others keep answers, or does so soon: it may be starting, too.

    Raises: FleetError that names it.
    """
    if "DATABASE_URL" in settings.GIVEN and (
        fault := refusals.find_database_fault(
            cure="start it, or correct DATABASE_URL", patience_seconds=DATABASE_PATIENCE_SECONDS
        )
    ):
        raise FleetError(fault)


def start_servers(supervisor: Supervisor) -> dict[str, str]:
    """Start the servers that nobody else provides, and build the environment of all that follows."""
    servers = Servers(
        run_dir=RUN_DIR,
        with_postgres="DATABASE_URL" not in settings.GIVEN,
        with_valkey="REDIS_URL" not in settings.GIVEN,
        database_url=sqlite_url(settings.DATABASE["NAME"]) if settings.IS_SQLITE else "",
        local_model_base_url=f"http://127.0.0.1:{settings.MODEL_PORT}/v1"
        if settings.WITH_LOCAL_MODEL
        else "",
    )
    if settings.IS_SQLITE:
        say(f"{NOTE}, {settings.WORKER_THREADS} threads ({settings.DATABASE['NAME']}).")
    with step("Valkey" if settings.IS_SQLITE else "PostgreSQL and Valkey"):
        started = servers.start()
    stages = {"postgres": POSTGRES_STAGE, "valkey": VALKEY_STAGE}
    for child in servers.children:
        supervisor.add(child, stage=stages[child.command.name])
    return {
        **os.environ,
        **{name: value for name, value in started.items() if name not in settings.GIVEN},
        # The Procfile's lines read these from the shell; here they come from `.env` and the defaults too.
        "RUN_DIR": str(RUN_DIR),
        "HOST": settings.HOST,
        "PORT": str(settings.PORT),
        "FLOWER_PORT": str(settings.FLOWER_PORT),
        "WORKER_THREADS": str(settings.WORKER_THREADS),
        "LOG_LEVEL": settings.LOG_LEVEL,
        "PYTHONUNBUFFERED": "1",
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}",
    }


def prepare(site: preparation.Site, release: str, fingerprint: str) -> preparation.Prepared:
    """Bring database, static files, admin and characters into place, as far as anything changed.

    With a database that others keep, migrations are looked at each time.
    """
    if "DATABASE_URL" not in settings.GIVEN and (found := find_prepared(RUN_DIR, fingerprint)):
        say("Nothing changed since the last start: migrations, static files and characters stand.")
        return found
    with step("Migrations"):
        site.run("/bin/sh", "-c", release)
    with step("Static files, admin and sample characters"):
        prepared = preparation.prepare_site(site)
    summary.show_new_admin(prepared.admin)
    if prepared.fault:
        warn(f"The sample characters are not loaded: {prepared.fault}")
    return prepared


def start_local_model(supervisor: Supervisor, site: preparation.Site) -> None:
    """Start the local model before all else: it reads its weights while the rest is prepared."""
    model = build_local_model(
        folder=site.folder, logs=RUN_DIR / "logs", environment=site.environment, port=settings.MODEL_PORT
    )
    supervisor.add(Child(model), stage=MODEL_STAGE)


def start_crew(supervisor: Supervisor, procfile: dict[str, str], site: preparation.Site) -> None:
    """Start the processes of the Procfile and wait until a message can be stored and worked.

    Beat and Flower come last: nobody waits for them, and their start would take the others' processor time.

    Raises: FleetError that names what is not ready.
    """
    metrics = Path(settings.PROMETHEUS_MULTIPROC_DIR or RUN_DIR / "metrics")
    empty_metrics_folder(metrics)
    crew = build_crew(
        procfile,
        folder=site.folder,
        logs=RUN_DIR / "logs",
        environment={**site.environment, "PROMETHEUS_MULTIPROC_DIR": str(metrics)},
        worker_count=settings.WORKER_PROCESSES,
    )
    for command in crew.first:
        supervisor.add(Child(command), stage=CREW_STAGE)
    web = readiness.find_site(host=settings.HOST, port=settings.PORT, allowed_hosts=settings.ALLOWED_HOSTS)
    readiness.await_ready(web, worker_count=settings.WORKER_PROCESSES, look_after=supervisor.look_after)
    for command in crew.later:
        supervisor.add(Child(command), stage=CREW_STAGE)


def converse(supervisor: Supervisor, site: preparation.Site, prepared: preparation.Prepared) -> bool:
    """Hold the sample conversation, once in a database, and tell whether it was held; the fleet is ready without it."""
    if prepared.has_conversed:
        say("The sample conversation was held before. `manage.py talk eliza TEXT` holds another.")
        return True
    if settings.WITH_LOCAL_MODEL:
        with step("The local model"):
            base_url = f"http://127.0.0.1:{settings.MODEL_PORT}/v1"
            if not readiness.await_local_model(base_url, look_after=supervisor.look_after):
                warn(f"The local model does not answer; its log: {RUN_DIR / 'logs' / 'model.log'}")
    say("The sample conversation:")
    try:
        figures = conversation.hold_conversation(
            site, run_dir=RUN_DIR, show=show_reply, look_after=supervisor.look_after
        )
    except FleetError as error:
        warn(f"The sample conversation failed; the fleet stays up. {error}")
        return False
    summary.show_figures(figures)
    return True


def show_reply(person: str, text: str, reply: str) -> None:
    """Show one message and its reply."""
    say(f"  {person}: {text}\n    → {reply.strip().replace(chr(10), chr(10) + '      ')}")


def rotate_logs(logs: Path) -> None:
    """Set aside logs that have grown large."""
    for log in logs.glob("*.log") if logs.is_dir() else ():
        if log.stat().st_size > LOG_LIMIT_BYTES:
            log.replace(log.with_suffix(".log.1"))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
