"""`make chaos`: many seeds of random kills under load, and a table of what came of each.

The exit code is 1 where any promise was broken. A seed that was printed can be run again by `--seed`.
"""

from __future__ import annotations

import argparse
import os
import random
import sys
import tempfile
from pathlib import Path

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "eliza_site.settings")
django.setup()

from rich.console import Console  # noqa: E402
from rich.table import Table  # noqa: E402

from tests.chaos.harness import Fleet, fleet_running  # noqa: E402
from tests.chaos.load import Load, Outcome, measure, run  # noqa: E402

COLUMNS = (
    "seed",
    "messages",
    "kills",
    "lost",
    "doubled",
    "out of order",
    "uncertain",
    "dead",
    "converged",
    "allowed",
)


def main(arguments: list[str]) -> int:
    """Run the seeds and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=10, help="how many runs")
    parser.add_argument("--seed", type=int, help="the first seed; without, a random one")
    parser.add_argument("--messages", type=int, default=300, help="messages a run")
    parser.add_argument("--kills", type=int, default=30, help="processes killed a run")
    parser.add_argument("--workers", type=int, default=3, help="worker processes")
    options = parser.parse_args(arguments)
    first = random.SystemRandom().randrange(1, 1_000_000) if options.seed is None else options.seed
    console = Console(width=None if sys.stdout.isatty() else 120, soft_wrap=True)
    console.print(f"Seeds {first} to {first + options.seeds - 1}")
    folder = Path(tempfile.mkdtemp(prefix="chaos-logs-"))
    with fleet_running(folder, workers=options.workers) as fleet:
        pace = measure(fleet)
        console.print(f"Undisturbed, a message takes {1000 * pace:.0f} ms of this fleet. Logs: {folder}")
        loads = [
            Load(seed=first + number, messages=options.messages, kills=options.kills)
            for number in range(options.seeds)
        ]
        outcomes = [_run(fleet, load, pace, console) for load in loads]
    console.print(_table(outcomes))
    return _tell(outcomes, console)


def _run(fleet: Fleet, load: Load, pace: float, console: Console) -> Outcome:
    outcome = run(fleet, load, seconds_a_message=pace)
    seconds = outcome.verdict.seconds_to_converge
    if seconds is None or seconds > outcome.allowed_seconds:
        outcome.breaches.append(f"converged after {seconds} s, allowed were {outcome.allowed_seconds:.1f}")
    console.print(
        f"Seed {load.seed}: {'clean' if not outcome.breaches else f'{len(outcome.breaches)} breaches'}"
    )
    return outcome


def _table(outcomes: list[Outcome]) -> Table:
    table = Table(*COLUMNS, width=112)
    for outcome in outcomes:
        verdict = outcome.verdict
        seconds = verdict.seconds_to_converge
        table.add_row(
            str(outcome.load.seed),
            str(verdict.said),
            str(outcome.kills),
            str(len(verdict.lost)),
            str(len(verdict.doubled)),
            str(len(verdict.out_of_order)),
            str(len(verdict.uncertain)),
            str(len(verdict.dead_letters)),
            "never" if seconds is None else f"{seconds:.1f} s",
            f"{outcome.allowed_seconds:.1f} s",
        )
    return table


def _tell(outcomes: list[Outcome], console: Console) -> int:
    for outcome in outcomes:
        for finding in outcome.verdict.uncertain:
            console.print(f"seed {outcome.load.seed}: {finding}", style="yellow")
        for breach in outcome.breaches:
            console.print(f"seed {outcome.load.seed}: {breach}", style="red")
    said = sum(outcome.verdict.said for outcome in outcomes)
    kills = sum(outcome.kills for outcome in outcomes)
    breaches = sum(len(outcome.breaches) for outcome in outcomes)
    console.print(f"{said:,} messages, {kills} kills: {breaches or 'no'} promises broken")
    return 1 if breaches else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
