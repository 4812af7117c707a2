"""`make mutations`: puts faults into a copy of the code, one after the other, and says which test caught each.

A fault that no test notices would mean that its promise is held by nothing. The exit code is 1 where one
survived, where its text is no longer found exactly once, or where it broke the code instead of the promise.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.chaos.mutants import deliveries, leases, people, steps
from tests.chaos.mutants.shape import Mutation

ROOT = Path(__file__).resolve().parents[2]
MUTATIONS: tuple[Mutation, ...] = (
    *leases.MUTATIONS,
    *steps.MUTATIONS,
    *deliveries.MUTATIONS,
    *people.MUTATIONS,
)
LEFT_OUT = (
    ".git",
    ".venv",
    ".run",
    ".env",
    "__pycache__",
    ".*_cache",
    ".hypothesis",
    "staticfiles",
    "test-results",
)
LONGEST_RUN_SECONDS = 300
CAUGHT, SURVIVED, BROKEN = "caught", "survived", "broken"

NOT_THE_PROMISE = re.compile(
    r"\b(ProgrammingError|SyntaxError|IndentationError|NameError|UnboundLocalError|ImportError|TypeError"
    r"|AttributeError)\b(?!\))"
)
"""Errors that mean that the mutated code can't run at all: what they fail proves nothing."""


class Stale(Exception):
    """A mutation whose text does not stand exactly once in its file."""


@dataclass(frozen=True, kw_only=True)
class Run:
    """What pytest said of some tests."""

    exit_code: int
    output: str
    seconds: float

    @property
    def failures(self) -> dict[str, str]:
        """Return the tests that failed, each with its error."""
        found = re.findall(r"^(?:FAILED|ERROR) (\S+)(?: - (.*))?$", self.output, re.MULTILINE)
        return dict(found)


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What became of one mutation; `caught_by` is the test that failed, and `why` what it said."""

    mutation: Mutation
    end: str
    seconds: float = 0.0
    caught_by: str = ""
    why: str = ""


@dataclass(kw_only=True)
class Copy:
    """A copy of the source tree, in which one file at a time is mutated."""

    folder: Path
    environment: dict[str, str] = field(default_factory=lambda: dict(os.environ))

    @contextmanager
    def mutated(self, mutation: Mutation) -> Iterator[None]:
        """Have the fault in the code while the block runs.

        Raises: Stale.
        """
        path = self.folder / mutation.file
        before, times = path.read_text(), path.stat()
        path.write_text(mutate(before, mutation))
        try:
            yield
        finally:
            path.write_text(before)
            os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))

    def run(self, tests: Sequence[str], *options: str) -> Run:
        """Run these tests on the copy's code, in the database that the first run made."""
        started = time.monotonic()
        # No marker is left out: the tests are named, and may be `long` ones.
        always = ("-q", "--tb=short", "--reuse-db", "-m", "", "-p", "no:cacheprovider")
        done = subprocess.run(
            [sys.executable, "-m", "pytest", *options, *always, *tests],
            cwd=self.folder,
            env={**self.environment, "PYTHONPATH": str(self.folder), "COLUMNS": "400"},
            capture_output=True,
            text=True,
            timeout=LONGEST_RUN_SECONDS,
            check=False,
        )
        output = done.stdout + done.stderr
        return Run(exit_code=done.returncode, output=output, seconds=time.monotonic() - started)


def mutate(text: str, mutation: Mutation) -> str:
    """Return the file's text with the fault in it.

    Raises: Stale.
    """
    count = text.count(mutation.old)
    if count != 1:
        raise Stale(f"{mutation.name}: its text stands {count} times in {mutation.file}, and must once.")
    return text.replace(mutation.old, mutation.new)


def judge(mutation: Mutation, run: Run) -> Finding:
    """Say what a run of the mutation's tests means."""
    failures = {test: why for test, why in run.failures.items() if _is_named(test, mutation.tests)}
    broken = NOT_THE_PROMISE.search(run.output)
    if run.exit_code == 0:
        return Finding(mutation=mutation, end=SURVIVED, seconds=run.seconds)
    if run.exit_code != 1 or not failures or broken:
        why = broken.group(0) if broken else f"pytest's exit code was {run.exit_code}"
        return Finding(mutation=mutation, end=BROKEN, seconds=run.seconds, why=why)
    test, why = next(iter(failures.items()))
    return Finding(mutation=mutation, end=CAUGHT, seconds=run.seconds, caught_by=test, why=why)


def _is_named(test: str, names: Sequence[str]) -> bool:
    return any(test == name or test.startswith(f"{name}[") for name in names)


def main(arguments: list[str]) -> int:
    """Try the mutations and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("words", nargs="*", help="only mutations that have one of these words in their name")
    parser.add_argument("--why", action="store_true", help="tell what the tests said, and all of what broke")
    options = parser.parse_args(arguments)
    chosen = [
        one for one in MUTATIONS if not options.words or any(word in one.name for word in options.words)
    ]
    console = Console(width=None if sys.stdout.isatty() else 200, soft_wrap=True)
    with tempfile.TemporaryDirectory(prefix="mutations-") as folder:
        copy = Copy(folder=Path(folder) / "tree")
        shutil.copytree(ROOT, copy.folder, ignore=shutil.ignore_patterns(*LEFT_OUT))
        tests = sorted({test for mutation in chosen for test in mutation.tests})
        sound = copy.run(tests)
        if sound.exit_code != 0:
            console.print(sound.output, markup=False, highlight=False)
            console.print("The tests must pass on the code as it is.", style="red")
            return 1
        console.print(f"{len(tests)} tests pass on the code as it is, in {sound.seconds:.0f} s.")
        # What is compiled stays as it is: a mutated file is newer than what it was compiled to.
        copy.environment["PYTHONDONTWRITEBYTECODE"] = "1"
        findings = [_try(copy, mutation, console, is_wordy=options.why) for mutation in chosen]
    console.print(_table(findings))
    return _tell(findings, console)


def _try(copy: Copy, mutation: Mutation, console: Console, *, is_wordy: bool) -> Finding:
    output = ""
    try:
        with copy.mutated(mutation):
            run = copy.run(mutation.tests, "-x")
        output, finding = run.output, judge(mutation, run)
    except Stale as error:
        finding = Finding(mutation=mutation, end=BROKEN, why=str(error))
    except subprocess.TimeoutExpired as error:
        finding = Finding(mutation=mutation, end=BROKEN, why=f"its tests hung for {error.timeout:.0f} s")
    line = f"{finding.end}: {mutation.name}"
    if is_wordy:
        line += f"\n{output}" if finding.end == BROKEN else f"\n    {finding.caught_by}: {finding.why}"
    console.print(line, markup=False, highlight=False)
    return finding


def _table(findings: list[Finding]) -> Table:
    table = Table("mutation", "what it breaks", "caught by", "seconds")
    for finding in findings:
        caught_by = finding.caught_by.removeprefix("tests/") or f"{finding.end.upper()} {finding.why}"
        table.add_row(finding.mutation.name, finding.mutation.breaks, caught_by, f"{finding.seconds:.1f}")
    return table


def _tell(findings: list[Finding], console: Console) -> int:
    counts = {end: [one for one in findings if one.end == end] for end in (CAUGHT, SURVIVED, BROKEN)}
    seconds = sum(finding.seconds for finding in findings)
    numbers = ", ".join(f"{len(those)} {end}" for end, those in counts.items())
    console.print(f"{len(findings)} mutations: {numbers}, in {seconds:.0f} s")
    return 0 if findings and len(counts[CAUGHT]) == len(findings) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
