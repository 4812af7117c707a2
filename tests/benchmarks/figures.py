"""What is read before and after each run: CPU of every part, SQL statements, memory.

`turns.py` reads, `report.py` shows. CPU comes from the kernel's account of each process. PostgreSQL is its
postmaster with all sessions, those that have ended included, less the driver's own session; Valkey keeps its
own account.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil
import psycopg
import redis
from fleet import Fleet

PARTS = ("web", "workers", "postgresql", "valkey")
APART = ("stub", "driver")

STATEMENTS = """
SELECT /* benchmark */
       coalesce(sum(calls) FILTER (WHERE NOT is_control), 0)::bigint,
       coalesce(sum(calls) FILTER (WHERE is_control), 0)::bigint
FROM (SELECT calls, query ~* '^\\s*(BEGIN|COMMIT|ROLLBACK|SAVEPOINT|RELEASE|START)' AS is_control
      FROM pg_stat_statements
      WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND query NOT LIKE '%/* benchmark */%'
        AND query NOT LIKE 'SELECT 1 FROM ONLY %FOR KEY SHARE OF x') AS counted
"""
# The last condition leaves out the server's own checks of deferred foreign keys, which nobody sent.
BUSIEST = """
SELECT /* benchmark */ calls, total_exec_time, mean_exec_time, rows, regexp_replace(query, '\\s+', ' ', 'g')
FROM pg_stat_statements
WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
  AND query NOT LIKE '%%/* benchmark */%%'
ORDER BY total_exec_time DESC LIMIT %s
"""


@dataclass(frozen=True, kw_only=True)
class Reading:
    """The accounts at one moment. Unit: CPU in seconds."""

    cpu: Mapping[str, float]
    machine_cpu: float
    statements: int
    transaction_statements: int


@dataclass(frozen=True, kw_only=True)
class Gauges:
    """Where the figures are read."""

    fleet: Fleet
    session: psycopg.Connection[tuple[Any, ...]]
    valkey: redis.Redis

    def reset(self) -> None:
        """Begin a window: the statements' counts and the workers' peaks of memory start anew."""
        self.session.execute("SELECT /* benchmark */ pg_stat_statements_reset()")
        for worker in self.fleet.workers:
            Path(f"/proc/{worker.pid}/clear_refs").write_text("5")

    def read(self) -> Reading:
        """Read all accounts."""
        fleet = self.fleet
        assert fleet.web is not None
        assert fleet.stub is not None
        assert fleet.driver is not None
        drivers_session = _cpu_seconds(fleet.driver_database_process)
        server = psutil.Process(fleet.driver_database_process).parent()
        assert server is not None
        sessions = sum(_cpu_seconds(child.pid) for child in server.children(recursive=True))
        valkey: dict[str, Any] = self.valkey.info("cpu")  # type: ignore[assignment]
        row = self.session.execute(STATEMENTS).fetchone()
        assert row is not None
        return Reading(
            cpu={
                "web": _cpu_seconds(fleet.web.pid),
                "workers": sum(_cpu_seconds(worker.pid) for worker in fleet.workers),
                "postgresql": _cpu_seconds(server.pid) + sessions - drivers_session,
                "valkey": sum(
                    float(valkey[name])
                    for name in valkey
                    if name.startswith("used_cpu_") and "main" not in name
                ),
                "stub": _cpu_seconds(fleet.stub.pid),
                "driver": _cpu_seconds(fleet.driver.pid) + drivers_session,
            },
            machine_cpu=_machine_cpu_seconds(),
            statements=row[0],
            transaction_statements=row[1],
        )

    def busiest_statements(self, count: int) -> list[dict[str, Any]]:
        """Return the statements on which the server spent most of its time since the window began."""
        names = ("calls", "total_ms", "mean_ms", "rows", "statement")
        return [dict(zip(names, row, strict=True)) for row in self.session.execute(BUSIEST, [count])]

    def workers_peak_bytes(self) -> int:
        """Return the sum of the workers' peaks of resident memory since the window began."""
        return sum(_peak_bytes(worker.pid) for worker in self.fleet.workers)


def _cpu_seconds(process_id: int | None) -> float:
    """Return the CPU of a process and of its ended children.

    Unit: seconds.
    """
    try:
        times = psutil.Process(process_id).cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)


def _machine_cpu_seconds() -> float:
    """Return the CPU that all processes of the machine have used.

    Unit: seconds, of all cores together.
    """
    times = psutil.cpu_times()
    return float(times.user + times.nice + times.system + times.irq + times.softirq)


def _peak_bytes(process_id: int | None) -> int:
    for line in Path(f"/proc/{process_id}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that `share` of the sorted values do not exceed.

    Source: the nearest-rank method.
    """
    return values[max(0, math.ceil(share * len(values)) - 1)] if values else math.nan


def figures_of(
    done: Mapping[str, Any],
    *,
    before: Reading,
    after: Reading,
    peak_bytes: int,
    people: int,
    latency_ms: float,
) -> dict[str, Any]:
    """Turn what a run brought into its figures, all of them for one turn where that makes sense."""
    latencies: list[float] = done["latencies"]
    turns = sum(done["outcomes"].values())
    cpu = {part: (after.cpu[part] - before.cpu[part]) * 1000 / turns for part in (*PARTS, *APART)}
    ours = sum(after.cpu[part] - before.cpu[part] for part in cpu)
    others = after.machine_cpu - before.machine_cpu - ours
    return {
        "people": people,
        "model_ms": latency_ms,
        "turns": turns,
        "replied": done["outcomes"].get("replied sent", 0),
        "outcomes": done["outcomes"],
        "seconds": done["seconds"],
        "answered_seconds": done["answered_seconds"],
        "turns_per_second": turns / done["seconds"],
        "turns_per_second_until_last_reply": turns / done["answered_seconds"],
        "receipt_to_reply_ms": {
            "p50": percentile(latencies, 0.50) * 1000,
            "p95": percentile(latencies, 0.95) * 1000,
            "p99": percentile(latencies, 0.99) * 1000,
            "max": latencies[-1] * 1000 if latencies else math.nan,
        },
        "cpu_ms_a_turn": {"sum": sum(cpu[part] for part in PARTS), **cpu},
        "statements_a_turn": (after.statements - before.statements) / turns,
        "transaction_statements_a_turn": (after.transaction_statements - before.transaction_statements)
        / turns,
        "others_share_of_the_machine": max(0.0, others / (done["seconds"] * psutil.cpu_count())),
        "workers_peak_mib": peak_bytes / 1024**2,
    }
