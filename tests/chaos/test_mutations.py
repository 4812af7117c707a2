"""The list of mutations: each text stands where it should, so that the list can't rot; the long run tries them."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from tests.chaos.forks import Run
from tests.chaos.mutants.shape import Mutation
from tests.chaos.mutations import BROKEN, CAUGHT, MUTATIONS, ROOT, SURVIVED, Stale, judge, mutate

ONE = Mutation(
    name="one", breaks="it", file="agents/x.py", old="a = 1", new="a = 2", tests=("tests/t.py::test_a",)
)


@pytest.mark.parametrize("mutation", MUTATIONS, ids=lambda mutation: mutation.name.replace(" ", "-"))
def test_a_mutations_text_and_tests_are_there(mutation: Mutation) -> None:
    text = (ROOT / mutation.file).read_text()
    mutated = mutate(text, mutation)
    assert mutated != text
    compile(mutated, mutation.file, "exec")
    for test in mutation.tests:
        path, _, name = test.partition("::")
        assert re.search(rf"^def {name}\(", (ROOT / path).read_text(), re.MULTILINE), test


def test_each_mutation_has_a_name_of_its_own() -> None:
    assert len({mutation.name for mutation in MUTATIONS}) == len(MUTATIONS)


@pytest.mark.parametrize("text", ["b = 1", "a = 1\na = 1"])
def test_a_text_that_stands_never_or_twice_is_stale(text: str) -> None:
    with pytest.raises(Stale, match="stands"):
        mutate(text, ONE)


@pytest.mark.parametrize(
    ("exit_code", "output", "end"),
    [
        (0, "1 passed", SURVIVED),
        (1, "FAILED tests/t.py::test_a - assert 1 == 2", CAUGHT),
        (1, "FAILED tests/t.py::test_a[one] - assert 1 == 2", CAUGHT),
        (1, "FAILED tests/t.py::test_ab - assert 1 == 2", BROKEN),
        (1, "FAILED tests/t.py::test_a - NameError: name 'b' is not defined", BROKEN),
        (1, "psycopg: ProgrammingError\nFAILED tests/t.py::test_a - assert 1 == 2", BROKEN),
        (2, "ERROR tests/t.py", BROKEN),
        (4, "ImportError while loading conftest", BROKEN),
    ],
)
def test_only_a_named_test_that_ran_and_failed_catches(exit_code: int, output: str, end: str) -> None:
    assert judge(ONE, Run(exit_code=exit_code, output=output, seconds=1.0)).end == end


@pytest.mark.long
def test_every_mutation_is_caught() -> None:
    # A process of its own: one that has imported the code can't run another version of it.
    done = subprocess.run(
        [sys.executable, "-m", "tests.chaos.mutations"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
