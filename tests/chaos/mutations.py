"""`make mutations`: puts faults into a copy of the code, one after the other, and says which test caught each.

A fault that no test notices would mean that its promise is held by nothing. The exit code is 1 where one
survived, where its text is no longer found exactly once, or where it broke the code instead of the promise.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.chaos.forks import Run, import_heavy, run_pytest
from tests.chaos.mutants import deliveries, leases, looks, people, steps, walls
from tests.chaos.mutants.shape import Mutation

ROOT = Path(__file__).resolve().parents[2]
MUTATIONS: tuple[Mutation, ...] = (
    *leases.MUTATIONS,
    *steps.MUTATIONS,
    *deliveries.MUTATIONS,
    *people.MUTATIONS,
    *looks.MUTATIONS,
    *walls.MUTATIONS,
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
LONGEST_RUN_SECONDS = 300.0
COLUMNS = ("mutation", "what it breaks", "caught by", "seconds")
CAUGHT, SURVIVED, BROKEN = "caught", "survived", "broken"

NOT_THE_PROMISE = re.compile(
    r"\b(ProgrammingError|SyntaxError|IndentationError|NameError|UnboundLocalError|ImportError|TypeError"
    r"|AttributeError)\b(?!\))"
)
"""Errors that mean that the mutated code can't run at all: what they fail proves nothing."""


class Stale(Exception):
    """A mutation whose text does not stand exactly once in its file."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """What became of one mutation; `caught_by` is the test that failed, and `why` what it said."""

    mutation: Mutation
    end: str
    seconds: float = 0.0
    caught_by: str = ""
    why: str = ""


@dataclass(frozen=True, kw_only=True)
class Copy:
    """A copy of the source tree, in which one file at a time is mutated."""

    folder: Path

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

    def run(self, tests: Sequence[str]) -> Run:
        """Run these tests on the copy's code, in the database that the first run made, up to the first failure.

        What the sound run compiled stays as it is: a mutated file is newer than what it was compiled to.
        """
        arguments = ("-x", *tests)
        return run_pytest(self.folder, arguments, is_compiling=False, timeout_seconds=LONGEST_RUN_SECONDS)

    def run_sound(self, tests: Sequence[str]) -> Run:
        """Run these tests on the code as it is, and keep what is compiled."""
        return run_pytest(self.folder, tests, is_compiling=True, timeout_seconds=2 * LONGEST_RUN_SECONDS)


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
    failed = re.findall(r"^(?:FAILED|ERROR) (\S+)(?: - (.*))?$", run.output, re.MULTILINE)
    failures = {test: why for test, why in failed if _is_named(test, mutation.tests)}
    broken = NOT_THE_PROMISE.search(run.output)
    if run.exit_code == 0:
        return Finding(mutation=mutation, end=SURVIVED, seconds=run.seconds)
    if run.exit_code != 1 or not failures or broken:
        why = broken.group(0) if broken else f"exit code {run.exit_code}"
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
    parser.add_argument("--markdown", action="store_true", help="print the table as docs/reliability has it")
    options = parser.parse_args(arguments)
    chosen = [
        one for one in MUTATIONS if not options.words or any(word in one.name for word in options.words)
    ]
    console = Console(width=None if sys.stdout.isatty() else 200, soft_wrap=True)
    with tempfile.TemporaryDirectory(prefix="mutations-") as folder:
        copy = Copy(folder=Path(folder) / "tree")
        shutil.copytree(ROOT, copy.folder, ignore=shutil.ignore_patterns(*LEFT_OUT))
        tests = sorted({test for mutation in chosen for test in mutation.tests})
        import_heavy()
        sound = copy.run_sound(tests)
        if sound.exit_code != 0:
            console.print(sound.output, markup=False, highlight=False)
            console.print("The tests must pass on the code as it is.", style="red")
            return 1
        console.print(f"{len(tests)} tests pass on the code as it is, in {sound.seconds:.0f} s.")
        findings = [_try(copy, mutation, console, is_wordy=options.why) for mutation in chosen]
    if options.markdown:
        console.print(_markdown(findings), markup=False, highlight=False)
    else:
        console.print(_table(findings))
    return _tell(findings, console)


def _try(copy: Copy, mutation: Mutation, console: Console, *, is_wordy: bool) -> Finding:
    output = ""
    try:
        with copy.mutated(mutation):
            run = copy.run(mutation.tests)
        output, finding = run.output, judge(mutation, run)
    except Stale as error:
        finding = Finding(mutation=mutation, end=BROKEN, why=str(error))
    line = f"{finding.end}: {mutation.name}"
    if is_wordy:
        line += f"\n{output}" if finding.end == BROKEN else f"\n    {finding.caught_by}: {finding.why}"
    console.print(line, markup=False, highlight=False)
    return finding


def _table(findings: list[Finding]) -> Table:
    table = Table()
    for column in COLUMNS:
        table.add_column(column, overflow="fold")
    for finding in findings:
        table.add_row(*_row(finding))
    return table


def _markdown(findings: list[Finding]) -> str:
    rows = [COLUMNS, tuple("---" for _column in COLUMNS), *(_row(finding) for finding in findings)]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _row(finding: Finding) -> tuple[str, ...]:
    caught_by = finding.caught_by.removeprefix("tests/") or f"{finding.end.upper()} {finding.why}"
    return finding.mutation.name, finding.mutation.breaks, caught_by, f"{finding.seconds:.1f}"


def _tell(findings: list[Finding], console: Console) -> int:
    counts = {end: [one for one in findings if one.end == end] for end in (CAUGHT, SURVIVED, BROKEN)}
    seconds = sum(finding.seconds for finding in findings)
    numbers = ", ".join(f"{len(those)} {end}" for end, those in counts.items())
    console.print(f"{len(findings)} mutations: {numbers}, in {seconds:.0f} s")
    return 0 if findings and len(counts[CAUGHT]) == len(findings) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
