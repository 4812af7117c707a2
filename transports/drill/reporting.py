"""How a drill's report is told: a table, sentences, or JSON. The command `drill` prints them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from rich.table import Table

from transports.drill.running import Report

FINDINGS = {
    "lost": "lost",
    "doubled": "doubled",
    "out of order": "out_of_order",
    "undelivered": "undelivered",
    "dead": "dead_letters",
    "uncertain": "uncertain",
}
"""The findings by their columns' names; all but the last make a drill bad."""
MAX_NAMED = 20


def table_of(report: Report) -> Table:
    """Make the table of the verdict, one row."""
    verdict = report.verdict
    seconds = verdict.seconds_to_converge
    cells = {
        "received": verdict.received,
        "answered": verdict.answered,
        **{name: len(getattr(verdict, field)) for name, field in FINDINGS.items()},
        "kills": len(report.damage.killed),
        "converged": "never" if seconds is None else f"{seconds:.1f} s",
    }
    word = "every promise was kept" if report.is_good else "A PROMISE WAS BROKEN"
    table = Table(title=f"{report.name}: {verdict.said} messages said, {word}", title_justify="left")
    for name, value in cells.items():
        is_bad = name in FINDINGS and name != "uncertain" and value
        table.add_column(name, justify="right", style="red" if is_bad else "", no_wrap=True)
    table.add_row(*map(str, cells.values()))
    return table


def notes_of(report: Report) -> Iterator[str]:
    """Say what was done and found, one sentence each."""
    damage = report.damage
    before = f"Before anything failed, a message took {report.rehearsal_seconds:.1f} s."
    yield f"{before} At work were {', '.join(report.workers)}."
    if damage.killed:
        times = Counter(worker.name for worker in damage.killed)
        yield f"Killed: {', '.join(f'{name} {count} times' for name, count in sorted(times.items()))}."
    if damage.flushes or damage.cut_sessions:
        yield f"The broker was emptied {damage.flushes} times, {damage.cut_sessions} sessions were cut."
    if damage.skipped_kills:
        yield (
            f"{damage.skipped_kills} kills were left out: no killed worker came back within a minute, and the last"
            " one is spared. Nothing starts dead workers again here: have a supervisor do it, as `make run` does,"
            " or systemd's Restart=always, or your platform."
        )
    elif report.missing_workers:
        yield (
            f"{report.missing_workers} of {len(report.workers)} workers did not come back within a minute: start"
            " them, and have a supervisor do it next time (`make run`, systemd's Restart=always, your platform)."
        )
    for name, field in FINDINGS.items():
        found = getattr(report.verdict, field)
        for finding in found[:MAX_NAMED]:
            yield f"{name}: {finding}"
        if len(found) > MAX_NAMED:
            yield f"{name}: and {len(found) - MAX_NAMED} more; --json names all"
    if report.explanation:
        yield f"Not everything was over in time. {report.explanation}"
    if not report.is_removed:
        yield f"{report.name} is kept, its ledger is {report.ledger}. `drill --clear` removes both."


def as_json(report: Report) -> dict[str, Any]:
    """Return the whole report for programs."""
    order = report.plan.order
    return {
        "name": report.name,
        "seed": order.seed,
        "is_good": report.is_good,
        "order": asdict(order),
        "verdict": asdict(report.verdict),
        "kills": [worker.name for worker in report.damage.killed],
        "skipped_kills": report.damage.skipped_kills,
        "flushes": report.damage.flushes,
        "cut_sessions": report.damage.cut_sessions,
        "workers": list(report.workers),
        "missing_workers": report.missing_workers,
        "rehearsal_seconds": round(report.rehearsal_seconds, 3),
        "explanation": report.explanation,
        "ledger": "" if report.is_removed else report.ledger,
        "is_removed": report.is_removed,
    }
