"""A database that is away or refuses: one line to whoever started a command or the fleet."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from urllib.parse import quote

import pytest
from django.db import ProgrammingError, connections

from eliza_site.refusals import COMMAND_SECONDS, CURE, ending_unread, explain, find_database_fault
from tests.doubles.programs import ROOT, own_database_url, run_python

NOBODY = "postgres://user:secret@127.0.0.1:{port}/name"
TIMED = """
import django, os, runpy, sys, time
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "eliza_site.settings")
django.setup()
began_at = time.monotonic()
try:
    runpy.run_path("manage.py", run_name="__main__")
finally:
    print(time.monotonic() - began_at)
"""
"""Runs a command and says how many seconds it took, without Python's start."""


@pytest.fixture
def free_port() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


def test_a_command_says_in_one_line_that_nobody_answers(free_port: int) -> None:
    done = run_python("-c", TIMED, "talk", "eliza", "hello", DATABASE_URL=NOBODY.format(port=free_port))

    assert done.returncode == 1
    assert float(done.stdout) < 10, "which is a worker's patience alone"
    said = (
        f"PostgreSQL at 127.0.0.1:{free_port} does not answer: start `make run`, or correct DATABASE_URL.\n"
    )
    assert done.stderr.endswith(said)
    assert "Traceback" not in done.stderr
    assert "pool" not in done.stderr
    assert "secret" not in done.stderr


def test_the_doctor_waits_once_for_a_database_that_is_away(free_port: int) -> None:
    done = run_python("manage.py", "doctor", DATABASE_URL=NOBODY.format(port=free_port))

    assert "embeddings: not looked at, because of the above" in done.stdout
    assert "can't be looked at" not in done.stdout


def test_a_socket_that_is_gone_is_named(tmp_path: Path) -> None:
    url = f"postgres://{quote(str(tmp_path), safe='')}/name"

    done = run_python("manage.py", "migrate", DATABASE_URL=url, DATABASE_POOL_SIZE="0")

    assert done.stderr == (
        f"PostgreSQL at {tmp_path}/.s.PGSQL.5432 does not answer: start `make run`, or correct DATABASE_URL.\n"
    )


def test_a_database_without_tables_is_told_how_it_gets_them(tmp_path: Path) -> None:
    done = run_python(
        "manage.py", "recall", "eliza", "hello", DATABASE_URL=f"sqlite:///{tmp_path}/empty.sqlite3"
    )

    assert done.returncode == 1
    assert done.stderr.endswith("run `python manage.py migrate`.\n")
    assert "The database lacks tables (no such table: agents_agent)" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_command_gives_a_server_that_says_nothing_up_before_a_worker_would() -> None:
    with socket.socket() as hole, ThreadPoolExecutor(1) as beside:
        hole.bind(("127.0.0.1", 0))
        hole.listen()
        hole.settimeout(60)
        port = hole.getsockname()[1]
        patience = beside.submit(_patience_of_first_caller, hole)
        done = run_python("manage.py", "recall", "eliza", "hello", DATABASE_URL=NOBODY.format(port=port))

    assert done.stderr.endswith(f"PostgreSQL at 127.0.0.1:{port} does not answer: {CURE}.\n")
    assert COMMAND_SECONDS - 1 < patience.result() < 10


def _patience_of_first_caller(hole: socket.socket) -> float:
    """Say nothing to whoever calls first, and return how many seconds they stay."""
    caller, _address = hole.accept()
    called_at = time.monotonic()
    with caller, suppress(ConnectionResetError):
        while caller.recv(1024):
            pass
    return time.monotonic() - called_at


@pytest.mark.django_db(transaction=True)
def test_a_command_tells_why_a_server_refuses() -> None:
    url = own_database_url().replace(connections["default"].settings_dict["NAME"], "no_such_database")
    done = run_python("manage.py", "recall", "eliza", "hello", DATABASE_URL=url)
    said = 'refuses: database "no_such_database" does not exist. Correct DATABASE_URL.'
    assert done.stderr.splitlines()[-1].endswith(said)
    assert "Traceback" not in done.stderr


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("command", "seconds"), [("recall", 5.0), ("dispatch", 10), ("work_suspects", 10)])
def test_only_the_first_connection_of_what_is_no_worker_is_waited_for_less(
    command: str, seconds: float
) -> None:
    look = f"""
from eliza_site import refusals
refusals.expect_database("{command}")
from django.db import connection
print(connection.pool.timeout)
connection.ensure_connection()
print(connection.pool.timeout)
"""
    done = run_python("-c", look, DATABASE_URL=own_database_url())
    assert [float(line) for line in done.stdout.split()] == [seconds, 10], done.stderr


@pytest.mark.django_db
def test_a_server_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as hole:
        hole.bind(("127.0.0.1", 0))
        hole.listen()
        port = hole.getsockname()[1]
        monkeypatch.setitem(connections["default"].settings_dict, "HOST", "127.0.0.1")
        monkeypatch.setitem(connections["default"].settings_dict, "PORT", port)
        started_at = time.monotonic()

        fault = find_database_fault(cure="start it")

    assert fault == f"PostgreSQL at 127.0.0.1:{port} does not answer: start it."
    assert time.monotonic() - started_at < 8


@pytest.mark.django_db
def test_a_server_that_refuses_is_not_called_silent(monkeypatch: pytest.MonkeyPatch) -> None:
    assert find_database_fault(cure="start it") == ""
    monkeypatch.setitem(connections["default"].settings_dict, "NAME", "no_such_database")

    fault = find_database_fault(cure="start it")

    assert 'refuses: database "no_such_database" does not exist. Correct DATABASE_URL.' in fault


def test_the_fleet_asks_a_given_database_before_it_starts_anything(tmp_path: Path, free_port: int) -> None:
    done = run_python(
        "-m",
        "eliza_site.fleet",
        RUN_DIR=str(tmp_path),
        DATABASE_URL=NOBODY.format(port=free_port),
        **{name: str(_free()) for name in ("PORT", "FLOWER_PORT", "MODEL_PORT")},
    )

    assert done.returncode == 1
    assert done.stdout == (
        f"PostgreSQL at 127.0.0.1:{free_port} does not answer: start it, or correct DATABASE_URL.\n"
    )
    assert done.stderr == ""


def _free() -> int:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return int(free.getsockname()[1])


@pytest.mark.django_db
def test_a_table_that_no_migration_makes_keeps_its_stack(capsys: pytest.CaptureFixture[str]) -> None:
    error = ProgrammingError('relation "agents_nothing" does not exist')
    explain(ProgrammingError, error, None)
    assert (
        capsys.readouterr().err
        == 'django.db.utils.ProgrammingError: relation "agents_nothing" does not exist\n'
    )


@pytest.mark.parametrize("command", [("help",), ("list_plugins", "--json"), ("doctor",)])
def test_a_command_that_nobody_reads_ends_without_a_word(command: tuple[str, ...]) -> None:
    done = _run_unread("manage.py", *command)

    assert done.stderr == ""
    assert done.returncode == 141


@pytest.mark.django_db(transaction=True)
def test_a_file_of_answers_that_nobody_reads_ends_without_a_word(tmp_path: Path) -> None:
    """`evaluate_recall --out /dev/stdout … | head -1`."""
    turns, questions = tmp_path / "turns.jsonl", tmp_path / "questions.jsonl"
    turns.write_text(
        '{"conversation": 1, "id": 1, "at": "2026-01-01T00:00:00Z", "speaker": "Ann", "text": "Hi"}'
    )
    questions.write_text('{"conversation": 1, "question_id": 1, "question": "Who says hi?"}')

    files = ("--turns", str(turns), "--questions", str(questions), "--out", "/dev/stdout")
    own = {"DATABASE_URL": own_database_url(), "EMBEDDING_MODEL": "hashed"}
    done = _run_unread("manage.py", "evaluate_recall", *files, **own)

    assert (done.returncode, done.stderr) == (141, "")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full here (Linux has one)")
def test_a_disk_that_is_full_is_said_in_one_line() -> None:
    with Path("/dev/full").open("w") as full:
        done = _run("manage.py", "list_plugins", "--json", stdout=full.fileno())
    assert done.returncode == 1
    assert done.stderr == "No space left on device: make room. What was written last is not whole.\n"


FULL = "could not extend file: No space left on device"
RAISE = f"DO $$ BEGIN RAISE EXCEPTION '{FULL}' USING ERRCODE = 'disk_full', HINT = 'Free it.'; END $$"
FILL = (
    "PRAGMA max_page_count = 2",
    "CREATE TABLE filling (bytes BLOB)",
    "INSERT INTO filling VALUES (zeroblob(9999))",
)


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(
    ("statements", "reason"),
    [((RAISE,), FULL), (FILL, "database or disk is full")],
    ids=["postgresql", "sqlite"],
)
def test_a_databases_disk_that_is_full_is_said_in_one_line(
    statements: tuple[str, ...], reason: str, tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/small.sqlite3" if statements is FILL else own_database_url()
    program = f"""
import django
import eliza_site
from django.db import connection

django.setup()
for statement in {statements}:
    connection.cursor().execute(statement)
"""
    done = run_python("-c", program, DATABASE_URL=url)
    said = f"The database's disk is full ({reason}): make room there. What was written last is not kept.\n"
    assert (done.returncode, done.stderr) == (1, said)


def test_a_pipe_that_breaks_elsewhere_is_an_error() -> None:
    with pytest.raises(BrokenPipeError), ending_unread():
        raise BrokenPipeError("a server's socket")


def _run_unread(*argv: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run Python with a standard output whose reader has gone."""
    reading, writing = os.pipe()
    os.close(reading)
    try:
        return _run(*argv, stdout=writing, **environment)
    finally:
        os.close(writing)


def _run(*argv: str, stdout: int, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, *argv],
        cwd=ROOT,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        stdout=stdout,
        stderr=subprocess.PIPE,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_command_whose_output_was_closed_beforehand_ends_as_it_should() -> None:
    line = f"exec {sys.executable} -c 'from eliza_site.refusals import ending_unread\nwith ending_unread(): pass' >&-"
    done = subprocess.run(["/bin/sh", "-c", line], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
