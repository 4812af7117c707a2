"""The limits that turns are held against: Celery tasks that do nothing, and bare INSERT transactions.

`turns.py` measures them on the same servers and workers, in the same run.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import psycopg
from figures import Gauges
from psycopg.conninfo import conninfo_to_dict

from eliza_site.celery import app
from eliza_site.embedded.postgres import find_binary

# Celery registers it with every worker by itself; it returns what it was given.
NO_OP = "celery.accumulate"
INSERT_CLIENTS = 8


def no_op_tasks(gauges: Gauges, count: int) -> dict[str, Any]:
    """Publish tasks that do nothing from one producer, and time them until the workers have done them all."""
    before, started = gauges.read(), time.perf_counter()
    with app.producer_pool.acquire(block=True) as producer:
        for _ in range(count):
            app.send_task(NO_OP, queue="agents", producer=producer, retry=False)
        published = time.perf_counter() - started
        broker = producer.channel.client
        while broker.llen("agents") or broker.hlen("unacked"):
            time.sleep(0.01)
    seconds, after = time.perf_counter() - started, gauges.read()
    return {
        "tasks": count,
        "tasks_per_second": count / seconds,
        "published_per_second": count / published,
        "workers_cpu_ms_a_task": (after.cpu["workers"] - before.cpu["workers"]) * 1000 / count,
    }


def inserts(gauges: Gauges, seconds: int) -> dict[str, Any]:
    """Time transactions of one INSERT each, from INSERT_CLIENTS connections by PostgreSQL's own pgbench."""
    gauges.session.execute(
        "CREATE TABLE IF NOT EXISTS benchmark_row"
        " (id bigserial PRIMARY KEY, text text NOT NULL, at timestamptz NOT NULL DEFAULT now())"
    )
    before = gauges.read()
    with tempfile.TemporaryDirectory() as folder:
        script = Path(folder) / "insert.sql"
        script.write_text(
            "INSERT INTO benchmark_row (text) VALUES ('What a small row can say in one line.');\n"
        )
        command = [str(find_binary("pgbench")), "--no-vacuum", "--client", str(INSERT_CLIENTS)]
        command += ["--jobs", "1", "--time", str(seconds), "--file", str(script)]
        subprocess.run(command, env=_pgbench_environment(), check=True, capture_output=True)
    after = gauges.read()
    row = gauges.session.execute("SELECT count(*) FROM benchmark_row").fetchone()
    assert row is not None
    gauges.session.execute("DROP TABLE benchmark_row")
    return {
        "clients": INSERT_CLIENTS,
        "inserts_per_second": row[0] / seconds,
        "postgresql_cpu_ms_an_insert": (after.cpu["postgresql"] - before.cpu["postgresql"]) * 1000 / row[0],
    }


def _pgbench_environment() -> dict[str, str]:
    """Hand the address over by the environment: everybody on the machine can read a command line."""
    names = {
        "host": "PGHOST",
        "port": "PGPORT",
        "user": "PGUSER",
        "password": "PGPASSWORD",
        "dbname": "PGDATABASE",
    }
    address = conninfo_to_dict(os.environ["DATABASE_URL"])
    given = {variable: str(address[name]) for name, variable in names.items() if address.get(name)}
    return {**os.environ, **given}


def durability(session: psycopg.Connection[tuple[Any, ...]], gauges: Gauges) -> dict[str, str]:
    """Tell whether the servers write to disk as in production."""
    names = ("server_version", "fsync", "synchronous_commit", "full_page_writes", "shared_buffers")
    told = {}
    for name in names:
        row = session.execute("SELECT current_setting(%s)", [name]).fetchone()
        assert row is not None
        told[name] = str(row[0])
    valkey: dict[str, str] = gauges.valkey.config_get("append*")  # type: ignore[assignment]
    return {**told, **{f"valkey_{name}": valkey[name] for name in ("appendonly", "appendfsync")}}
