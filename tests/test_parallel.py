"""The addresses by which the suite's processes keep apart, and how long a shared fleet lives."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.doubles.programs import ROOT
from tests.parallel import folder_of_fleet, on_database


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("unix:///run/valkey.sock", "unix:///run/valkey.sock?db=3"),
        ("unix://:word@/run/valkey.sock?db=0&timeout=1", "unix://:word@/run/valkey.sock?timeout=1&db=3"),
        ("redis://127.0.0.1:6379/0", "redis://127.0.0.1:6379/3"),
        ("redis://h?db=2&x=1", "redis://h/3?x=1"),
        ("rediss://:word@h:6380/1?ssl_cert_reqs=none", "rediss://:word@h:6380/3?ssl_cert_reqs=none"),
        ("amqp://h/vhost", "amqp://h/vhost"),
        ("", ""),
    ],
)
def test_an_address_gets_another_database_and_stays_what_it_was(url: str, expected: str) -> None:
    assert on_database(url, 3) == expected


def test_who_shares_a_fleet_is_known_by_the_folder() -> None:
    assert folder_of_fleet("tests/chaos/test_pauses.py::test_x[a::b]") == "tests/chaos/"
    assert folder_of_fleet("tests/flows/test_stop.py::test_x") == "tests/flows/"
    assert folder_of_fleet("tests/agents/test_chaos.py::test_x") == ""


SUITE = {
    "tests/flows/conftest.py": """
import pytest
from pathlib import Path

@pytest.fixture(scope="session")
def fleet():
    Path("log").write_text("begun ")
    yield "fleet"
    with Path("log").open("a") as log:
        log.write("ended ")

@pytest.fixture(scope="session")
def page(fleet):
    yield fleet
    with Path("log").open("a") as log:
        log.write("page-ended ")
""",
    "tests/flows/test_a.py": "def test_a(page): assert open('log').read() == 'begun '",
    "tests/flows/test_b.py": "def test_b(fleet): assert open('log').read() == 'begun '",
    "tests/flows/test_c.py": "def test_c(): assert open('log').read() == 'begun '",
    "tests/agents/test_d.py": "def test_d(): assert open('log').read() == 'begun page-ended ended '",
}


@pytest.mark.parametrize("processes", ["0", "1"])
def test_a_shared_fleet_ends_with_the_last_test_that_shares_it(tmp_path: Path, processes: str) -> None:
    for name, text in SUITE.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    options = [
        "-p",
        "no:django",
        "-p",
        "tests.parallel",
        "--import-mode=importlib",
        "--rootdir=.",
        "-n",
        processes,
    ]

    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *options, "tests"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTEST_ADDOPTS": ""} | {"PYTEST_XDIST_WORKER": ""},
        capture_output=True,
        text=True,
        check=False,
    )

    assert "4 passed" in done.stdout, done.stdout + done.stderr
    assert (tmp_path / "log").read_text() == "begun page-ended ended "
