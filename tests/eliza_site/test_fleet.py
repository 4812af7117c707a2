"""The supervisor of `make run`: what it reads, what it refuses, and how it keeps its children."""

import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from eliza_site.embedded.processes import Child, Command
from eliza_site.fleet.conversation import Figures, _find_seconds
from eliza_site.fleet.errors import FleetError
from eliza_site.fleet.fingerprint import find_prepared, keep_prepared, take_fingerprint
from eliza_site.fleet.lock import hold_lock
from eliza_site.fleet.ports import Port, require_free
from eliza_site.fleet.preparation import Admin, Prepared
from eliza_site.fleet.procfile import NEEDED, read_procfile
from eliza_site.fleet.readiness import find_site
from eliza_site.fleet.supervisor import Supervisor

PROJECT = Path(__file__).resolve().parents[2]


def build_child(tmp_path: Path, script: str, **more: object) -> Child:
    return Child(
        Command(
            name="child",
            argv=(sys.executable, "-c", script),
            folder=tmp_path,
            log=tmp_path / "logs" / "child.log",
            environment=os.environ,
            **more,  # type: ignore[arg-type]
        )
    )


def test_the_procfile_has_what_the_fleet_needs_and_its_processes_replace_their_shell() -> None:
    lines = read_procfile(PROJECT / "Procfile")

    assert set(lines) == set(NEEDED)
    for name in ("web", "worker", "beat", "flower"):
        assert "exec " in lines[name], f"{name}'s shell would shield it from signals"


def test_a_missing_line_is_named(tmp_path: Path) -> None:
    (tmp_path / "Procfile").write_text("release: true\nweb: serve --port $PORT\nworker: work\n")

    with pytest.raises(FleetError, match="no line for beat, flower"):
        read_procfile(tmp_path / "Procfile")


def test_a_busy_port_is_named_with_its_variable() -> None:
    with socket.socket() as busy:
        busy.bind(("127.0.0.1", 0))
        busy.listen()
        number = busy.getsockname()[1]

        with pytest.raises(FleetError, match=rf"Port {number} for Flower .*FLOWER_PORT"):
            require_free([Port(use="Flower", variable="FLOWER_PORT", host="127.0.0.1", number=number)])
    require_free([Port(use="Flower", variable="FLOWER_PORT", host="127.0.0.1", number=number)])


def test_two_uses_of_one_port_are_refused() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        number = free.getsockname()[1]
    ports = [
        Port(use="the web", variable="PORT", host="127.0.0.1", number=number),
        Port(use="Flower", variable="FLOWER_PORT", host="127.0.0.1", number=number),
    ]

    with pytest.raises(FleetError, match="Flower and the web both want port"):
        require_free(ports)


@pytest.mark.parametrize("host", ["999.1.1.1", "192.0.2.1", "a..b"])
def test_a_host_that_is_not_this_machine_is_named_once_and_no_port_is_blamed(host: str) -> None:
    ports = [
        Port(use="the web", variable="PORT", host=host, number=8000),
        Port(use="Flower", variable="FLOWER_PORT", host=host, number=5555),
    ]

    with pytest.raises(FleetError) as caught:
        require_free(ports)

    assert str(caught.value).startswith(f"HOST={host} is no address of this machine: set it to")
    assert "PORT" not in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


# Why a fleet stops, told by one that has nothing to run ------------------------------------------------

EMPTY_FLEET = """
import sys, time
from eliza_site.fleet import __main__ as fleet

def run_fleet(supervisor):
    print("up", flush=True)
    time.sleep(60)

fleet.run_fleet = run_fleet
sys.exit(fleet.main(sys.argv[1:]))
"""


def hear_hangups() -> None:
    """Undo what a suite under nohup passes on to its children."""
    signal.signal(signal.SIGHUP, signal.SIG_DFL)


def start_empty_fleet(run_dir: Path, *argv: str) -> subprocess.Popen[str]:
    process = subprocess.Popen(
        argv or (sys.executable, "-c", EMPTY_FLEET),
        cwd=PROJECT,
        env={**os.environ, "RUN_DIR": str(run_dir)},
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=hear_hangups,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "up\n"
    return process


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_fleet_says_which_signal_stops_it(tmp_path: Path, number: signal.Signals) -> None:
    process = start_empty_fleet(tmp_path)

    process.send_signal(number)

    assert process.communicate(timeout=10)[0] == f"Stopping: {number.name}.\n"
    assert process.returncode == 0


def test_a_fleet_says_that_its_parent_has_ended(tmp_path: Path) -> None:
    parent = (
        "import subprocess, sys;"
        "subprocess.run([sys.executable, '-c', sys.argv[1], '--with-parent'], check=False)"
    )
    process = start_empty_fleet(tmp_path, sys.executable, "-c", parent, EMPTY_FLEET)

    process.kill()

    assert process.communicate(timeout=10)[0] == "Stopping: the process that started it has ended.\n"


def test_a_fleet_under_nohup_outlives_its_terminal(tmp_path: Path) -> None:
    process = start_empty_fleet(tmp_path, "nohup", sys.executable, "-c", EMPTY_FLEET)

    process.send_signal(signal.SIGHUP)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(1)

    process.terminate()
    assert process.communicate(timeout=10)[0] == "Stopping: SIGTERM.\n"


def test_a_second_fleet_is_told_who_runs(tmp_path: Path) -> None:
    with (
        hold_lock(tmp_path),
        pytest.raises(FleetError, match=f"already runs .*process {os.getpid()}"),
        hold_lock(tmp_path),
    ):
        pass
    with hold_lock(tmp_path):
        pass


def test_a_child_that_dies_is_started_again_after_a_pause(tmp_path: Path) -> None:
    reports: list[str] = []
    supervisor = Supervisor(report=reports.append)
    child = build_child(tmp_path, "import time; time.sleep(60)")
    supervisor.add(child, stage=0)
    first = child.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    child.wait(5)

    supervisor.look_after()
    assert not child.is_running()
    deadline = time.monotonic() + 5
    while not child.is_running() and time.monotonic() < deadline:
        supervisor.look_after()
        time.sleep(0.05)

    assert child.is_running()
    assert child.pid != first
    assert "child ended with code -9; it starts again in 1 s" in reports[0]
    supervisor.stop()
    assert not child.is_running()


def test_a_child_that_does_not_stop_is_killed_in_time(tmp_path: Path) -> None:
    reports: list[str] = []
    supervisor = Supervisor(report=reports.append)
    script = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN);"
        "print('deaf', flush=True); time.sleep(60)"
    )
    child = build_child(tmp_path, script, stop_seconds=0.3)
    supervisor.add(child, stage=0)
    deadline = time.monotonic() + 5
    while not child.command.log.read_text() and time.monotonic() < deadline:
        time.sleep(0.02)

    started_at = time.monotonic()
    supervisor.stop()

    assert time.monotonic() - started_at < 3
    assert not child.is_running()
    assert reports == ["child did not end in 0 s: killed"]


def test_haste_does_not_wait(tmp_path: Path) -> None:
    supervisor = Supervisor(report=lambda _: None)
    child = build_child(
        tmp_path, "import time; time.sleep(60)", stop_signal=signal.SIGCONT, stop_seconds=30.0
    )
    supervisor.add(child, stage=0)

    started_at = time.monotonic()
    supervisor.stop(is_hurried=lambda: True)

    assert time.monotonic() - started_at < 3


def test_what_was_prepared_counts_for_its_database_until_a_file_changes(tmp_path: Path) -> None:
    (tmp_path / "characters").mkdir()
    (tmp_path / "characters" / "a.json").write_text("{}")
    before = take_fingerprint(tmp_path, database="one")
    keep_prepared(tmp_path, before, Admin(username="admin", password="secret"))

    assert find_prepared(tmp_path, take_fingerprint(tmp_path, database="another")) is None
    assert find_prepared(tmp_path, take_fingerprint(tmp_path, database="one")) == Prepared(
        admin=Admin(username="admin", password=None), fault="", has_conversed=True
    )
    assert "secret" not in (tmp_path / "prepared.json").read_text()

    (tmp_path / "characters" / "a.json").write_text('{"name": "A"}')
    assert find_prepared(tmp_path, take_fingerprint(tmp_path, database="one")) is None


@pytest.mark.parametrize(
    ("host", "allowed", "base_url", "name"),
    [
        ("127.0.0.1", ["localhost"], "http://127.0.0.1:8000", "localhost"),
        ("0.0.0.0", ["*"], "http://127.0.0.1:8000", "127.0.0.1"),
        ("0.0.0.0", [".example.org"], "http://127.0.0.1:8000", "example.org"),
    ],
)
def test_the_site_is_asked_under_a_name_that_it_accepts(
    host: str, allowed: list[str], base_url: str, name: str
) -> None:
    site = find_site(host=host, port=8000, allowed_hosts=allowed)

    assert (site.base_url, site.host_name) == (base_url, name)


def test_the_times_of_replies_are_read() -> None:
    replies = [
        {"received_at": "2026-01-01T00:00:00.000000+00:00", "replied_at": "2026-01-01T00:00:01.500000+00:00"},
        {"received_at": "2026-01-01T00:00:00.000000+00:00", "replied_at": None},
    ]

    assert list(_find_seconds(replies)) == [1.5]
    assert Figures(messages=2, replies=1, p50_seconds=1.5, p95_seconds=1.5, models=()).replies == 1
