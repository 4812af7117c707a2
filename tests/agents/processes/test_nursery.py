"""A forked nursery: what it keeps of its parent, and how its children end. Each in a process of its own."""

from __future__ import annotations

import textwrap

import pytest

from tests.doubles.programs import run_python

BEGIN = """
import os, signal, sys, time
import django
django.setup()
from uuid import UUID
from agents.processes import nursery
LANE, TURN = UUID(int=1), UUID(int=2)

def ask(forked, key="k"):
    forked.ask(f"work {key} {LANE} 7 {TURN}")
"""


def run(script: str) -> list[str]:
    """Run what follows BEGIN, and return the lines that it printed."""
    done = run_python(
        "-c",
        BEGIN + textwrap.dedent(script),
        timeout_seconds=20,
        DJANGO_SETTINGS_MODULE="eliza_site.settings",
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()


def test_a_child_says_how_its_turn_went_and_its_end_is_told() -> None:
    assert run("""
        def work(lease, turn):
            assert (lease.lane_id, lease.token, turn) == (LANE, 7, TURN)
            print("what plugins print is no answer")
            return True

        forked = nursery.fork(work)
        ask(forked)
        lines = forked.answers()
        print(next(lines).strip())
        print(next(lines).strip())
    """) == ["said k released", "died k 0"]


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ("return False", ["said k held", "died k 0"]),
        ("raise ValueError('no')", ["said k unknown", "died k 0"]),
        ("os._exit(0)", ["died k 0"]),
        ("os.kill(os.getpid(), signal.SIGSEGV)", ["died k -11"]),
    ],
)
def test_each_end_has_its_words(body: str, told: list[str]) -> None:
    script = f"""
        def work(lease, turn):
            {body}

        forked = nursery.fork(work)
        ask(forked)
        for line in forked.answers():
            print(line.strip())
            if line.startswith("died"):
                break
    """
    assert run(script) == told


def test_a_child_that_hears_nothing_is_ended_by_the_kernel_also_without_its_parents() -> None:
    (line,) = run("""
        nursery.LIMIT_SECONDS, nursery.OWN_LIMIT_SECONDS = 0.3, 0.2

        def work(lease, turn):
            os.write(told, f"{os.getpid()}\\n".encode())
            import re
            re.fullmatch("(a+)+", "a" * 64 + "b")

        heard, told = os.pipe()
        forked = nursery.fork(work)
        ask(forked)
        child = int(os.read(heard, 20))
        os.kill(forked.pid, signal.SIGKILL)
        for _look in range(100):
            time.sleep(0.05)
            try:
                if open(f"/proc/{child}/stat").read().rpartition(")")[2].split()[0] == "Z":
                    break
            except FileNotFoundError:
                break
        else:
            os.kill(child, signal.SIGKILL)
            raise SystemExit("It went on.")
        print("gone")
    """)
    assert line == "gone"


def test_a_child_hears_sigterm_and_the_nursery_does_not() -> None:
    assert run("""
        from agents.processes import departures
        from agents.processes import shutdown
        nursery.departures.begin = lambda **_given: os._exit(9)

        def work(lease, turn):
            os.write(told, b"x")
            time.sleep(30)

        heard, told = os.pipe()
        forked = nursery.fork(work)
        os.kill(forked.pid, signal.SIGTERM)
        ask(forked)
        os.read(heard, 1)
        forked.ask("stop k")
        print(next(forked.answers()).strip())
        print(forked.is_running())
    """) == ["died k 9", "True"]


def test_it_ends_with_its_parent_and_is_asked_nothing_afterwards() -> None:
    assert run("""
        forked = nursery.fork(lambda lease, turn: True)
        forked.close()
        print(list(forked.answers()), forked.bury())
        print(forked.is_running())
        try:
            ask(forked)
        except BrokenPipeError as error:
            print(error)
    """) == ["[] 0", "False", "The nursery was closed."]


def test_what_it_does_not_know_it_refuses_in_one_line() -> None:
    done = run_python("manage.py", "work_suspects", input="hello there\n")
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1:] == [
        "CommandError: A nursery is asked by its worker; it does not know 'hello there'."
    ]
