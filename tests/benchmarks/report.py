"""How the benchmark's results are shown to a person; `turns.py` calls it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from figures import APART, PARTS
from rich import box
from rich.console import Console
from rich.table import Table

NARROWEST = 120

console = Console(highlight=False, soft_wrap=True)
if console.width < NARROWEST:
    console = Console(highlight=False, soft_wrap=True, width=NARROWEST)


def show(results: Mapping[str, Any]) -> None:
    """Show the figures: first a line with the first run's turns/s, then all of them, then the conditions."""
    first = next(iter(results["runs"].values()))
    console.print(
        f"{first['turns_per_second']:.1f} turns/s with {first['people']} people in {first['people']} rooms"
        f" and a model that takes {first['model_ms']:.0f} ms,"
        f" at {first['cpu_ms_a_turn']['sum']:.1f} ms CPU a turn",
        style="bold",
    )
    console.print(_table(results["runs"]))
    if "limits" in results:
        _say(_limits(results["limits"], first["turns_per_second"]))
    _say(_conditions(results["conditions"]))


def _table(runs: Mapping[str, Mapping[str, Any]]) -> Table:
    """Make the table of all runs, one column each."""
    table = Table(title="Turns", title_justify="left", box=box.SIMPLE)
    table.add_column("", no_wrap=True)
    for name in runs:
        table.add_column(name, justify="right", no_wrap=True)

    def row(label: str, make: Any) -> None:
        table.add_row(label, *(make(run) for run in runs.values()))

    row("turns", lambda run: f"{run['turns']}")
    row("turns/s, all drained", lambda run: f"{run['turns_per_second']:.1f}")
    row("turns/s until the last reply", lambda run: f"{run['turns_per_second_until_last_reply']:.1f}")
    row("all answered after, s", lambda run: f"{run['answered_seconds']:.1f}")
    for name in ("p50", "p95", "p99"):
        row(f"receipt to reply {name}, ms", lambda run, name=name: f"{run['receipt_to_reply_ms'][name]:.0f}")
    row("CPU a turn, ms", lambda run: f"{run['cpu_ms_a_turn']['sum']:.1f}")
    for part in PARTS:
        row(f"  {part}", lambda run, part=part: f"{run['cpu_ms_a_turn'][part]:.1f}")
    for part in APART:
        row(f"  apart: {part}", lambda run, part=part: f"{run['cpu_ms_a_turn'][part]:.1f}")
    row("SQL statements a turn", lambda run: f"{run['statements_a_turn']:.1f}")
    row("  and BEGIN, COMMIT …", lambda run: f"{run['transaction_statements_a_turn']:.1f}")
    row("workers' peak memory, MiB", lambda run: f"{run['workers_peak_mib']:.0f}")
    row("other programs had of the machine", lambda run: f"{run['others_share_of_the_machine']:.0%}")
    return table


def _limits(found: Mapping[str, Any], rate: float) -> str:
    tasks, inserts = found["no_op_tasks"], found["inserts"]
    return (
        f"Limits of the same servers: {tasks['tasks_per_second']:.0f} Celery tasks/s that do nothing "
        f"({tasks['workers_cpu_ms_a_task']:.2f} ms CPU of the workers each; one producer published "
        f"{tasks['published_per_second']:.0f}/s): a turn takes as long as "
        f"{tasks['tasks_per_second'] / rate:.0f} of them.\n"
        f"{inserts['inserts_per_second']:.0f} bare INSERT transactions/s on {inserts['clients']} connections "
        f"({inserts['postgresql_cpu_ms_an_insert']:.2f} ms CPU of PostgreSQL each): as long as "
        f"{inserts['inserts_per_second'] / rate:.0f} of them."
    )


def _conditions(told: Mapping[str, Any]) -> str:
    servers = told["servers"]
    return (
        f"{told['worker_processes']} workers with {told['pool']} × {told['concurrency']}, {told['cores']} cores "
        f"with everything on them (load before: {told['load_before']:.1f}), Python {told['python']}, "
        f"PostgreSQL {servers['server_version']}.\n"
        f"On disk: fsync {servers['fsync']}, synchronous_commit {servers['synchronous_commit']}, "
        f"full_page_writes {servers['full_page_writes']}; Valkey appendonly {servers['valkey_appendonly']}, "
        f"appendfsync {servers['valkey_appendfsync']}.\n"
        f"CPU a turn is the sum of {', '.join(PARTS)}; the stub of the model and the driver (the people, with "
        "their look into the database for replies) are processes of their own and counted apart.\n"
        "Each run begins after a warm-up and ends when deliveries, evaluations, embeddings and events are "
        "drained. Statements are all that the fleet sent meanwhile, its dispatchers' included; the server's "
        "own checks of foreign keys are not among them.\n"
        f"{told['memories_beforehand']} memories beforehand, default built-ins; embeddings come from the stub, "
        "as late as the model's answer but never later than 200 ms. No beat, no Flower.\n"
        "PERSON_MESSAGES_PER_MINUTE was raised to 1000000 for this."
    )


def _say(text: str) -> None:
    console.print(text, markup=False)
