"""`make bench`: how many turns a second, how long a person waits, and what a turn costs.

Real web, workers, PostgreSQL and Valkey, by the Procfile's own lines; people speak through the HTTP API; the
model and the embeddings are a stub of a chosen latency. Run it with fresh servers:

    python -m eliza_site.embedded exec --durable -- python tests/benchmarks/turns.py [--json FILE] [--quick]
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT))

import django  # noqa: E402
import limits  # noqa: E402
import psycopg  # noqa: E402
import redis  # noqa: E402
from figures import Gauges, figures_of  # noqa: E402
from fleet import (  # noqa: E402
    BenchmarkError,
    Shape,
    benchmark_environment,
    fleet_running,
    stub_running,
    wait_quiet,
)
from report import console, show  # noqa: E402
from rich.console import Console  # noqa: E402

AGENT = "eliza"
MEMORIES = 1000
MOST_PEOPLE = 200
QUICK_SHARE = 0.2

progress = Console(stderr=True, highlight=False)


@dataclass(frozen=True, kw_only=True)
class Scenario:
    """So many people, a model that takes so long, and so many turns in all."""

    name: str
    people: int
    latency_ms: float
    turns: int
    warm_up_rounds: int = 2


SCENARIOS = (
    Scenario(name="50 people, 0 ms", people=50, latency_ms=0, turns=2000, warm_up_rounds=8),
    Scenario(name="50 people, 200 ms", people=50, latency_ms=200, turns=2000),
    Scenario(name="1 person, 0 ms", people=1, latency_ms=0, turns=100, warm_up_rounds=5),
    Scenario(name="200 people, 5 s", people=200, latency_ms=5000, turns=200, warm_up_rounds=1),
)


def main() -> int:
    """Measure everything and return the exit code: 1 where a turn went without its reply."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--json", type=Path, default=ROOT / ".run" / "bench.json", metavar="FILE")
    parser.add_argument("--quick", action="store_true", help="a fifth of the turns: a look, no measurement")
    parser.add_argument("--only", default="", help="only the scenarios whose name has this in it, no limits")
    parser.add_argument("--workers", type=int, default=2, help="worker processes")
    parser.add_argument("--pool", default="threads", help="Celery's pool, where it isn't the Procfile's")
    parser.add_argument("--concurrency", type=int, default=112, help="the pool's size in each process")
    options = parser.parse_args()
    if not os.environ.get("DATABASE_URL") or not os.environ.get("REDIS_URL"):
        parser.error("DATABASE_URL and REDIS_URL name no servers: run `make bench`, which starts them.")
    try:
        results = _measure(options)
    except BenchmarkError as error:
        progress.print(str(error), style="bold red", markup=False)
        return 1
    show(results)
    options.json.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    options.json.write_text(json.dumps(results, indent=2) + "\n")
    console.print(f"As JSON: {options.json}", markup=False)
    return 0 if all(run["replied"] == run["turns"] for run in results["runs"].values()) else 1


def _measure(options: argparse.Namespace) -> dict[str, Any]:
    load_before = os.getloadavg()[0]
    shape = Shape(workers=options.workers, pool=options.pool, concurrency=options.concurrency)
    logs = Path(os.environ.get("RUN_DIR") or ROOT / ".run") / "logs"
    with stub_running() as (stub, stub_url):
        os.environ.update(benchmark_environment(stub_url))
        _say("Migrating, and loading the character")
        keys = _prepare()
        _say("Starting web and workers")
        with (
            fleet_running(stub, stub_url, shape=shape, logs=logs, environment=os.environ) as fleet,
            psycopg.connect(os.environ["DATABASE_URL"], autocommit=True) as session,
        ):
            gauges = Gauges(
                fleet=fleet, session=session, valkey=redis.Redis.from_url(os.environ["REDIS_URL"])
            )
            _say(f"Getting to know {MOST_PEOPLE} people, and remembering {MEMORIES} things")
            fleet.drive(agent=AGENT, keys=keys, turns=MOST_PEOPLE)
            _remember()
            share = QUICK_SHARE if options.quick else 1.0
            wanted = [scenario for scenario in SCENARIOS if options.only in scenario.name]
            runs = {scenario.name: _run(scenario, gauges, keys, share) for scenario in wanted}
            results: dict[str, Any] = {"runs": runs}
            if not options.only:
                _say("The limits: tasks that do nothing, bare inserts")
                results["limits"] = {
                    "no_op_tasks": limits.no_op_tasks(gauges, int(6000 * share)),
                    "inserts": limits.inserts(gauges, 2 if options.quick else 8),
                }
            results["conditions"] = _conditions(gauges, shape, load_before)
    return results


def _prepare() -> list[str]:
    """Make the tables, the character and an API key for each person; return the keys."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "eliza_site.settings")
    django.setup()
    from django.contrib.auth.models import User
    from django.core.management import call_command

    from transports.web.auth import create_api_key

    call_command("migrate", verbosity=0, interactive=False)
    with Path(os.devnull).open("w") as nowhere:
        call_command("load_character", str(ROOT / "characters" / "eliza.json"), stdout=nowhere)
    keys = []
    for number in range(1, MOST_PEOPLE + 1):
        user = User(username=f"person-{number}", first_name=f"Person {number}")
        user.set_unusable_password()
        user.save()
        keys.append(create_api_key("benchmark", user))
    return keys


def _remember() -> None:
    """Give the agent MEMORIES things to remember: a fifth is known everywhere, the rest is people's own."""
    from django.db import connection
    from django.utils import timezone
    from driver import sentences

    from agents.models import Agent, Person
    from memory.memories import MemoryDraft, remember
    from memory.writes import embed_pending, find_unembedded_count

    agent = Agent.objects.get(slug=AGENT)
    people = list(Person.objects.order_by("id").values_list("id", flat=True)[:50])
    spoken = sentences(100_000)
    drafts = [
        MemoryDraft(
            agent_id=agent.pk,
            kind="fact",
            scope="agent" if number % 5 == 0 else "person",
            person_id=None if number % 5 == 0 else people[number % len(people)],
            text=next(spoken),
            said_at=timezone.now(),
            source_key=f"benchmark:{number}",
        )
        for number in range(MEMORIES)
    ]
    remember(drafts)
    while find_unembedded_count():
        embed_pending()
    with connection.cursor() as cursor:
        # What autovacuum does by itself within a minute or two; the runs would begin before.
        cursor.execute("ANALYZE")


def _run(scenario: Scenario, gauges: Gauges, keys: list[str], share: float) -> dict[str, Any]:
    _say(scenario.name)
    people = keys[: scenario.people]
    gauges.fleet.slow_model(0)
    gauges.fleet.drive(agent=AGENT, keys=people, turns=scenario.people * scenario.warm_up_rounds)
    gauges.fleet.slow_model(scenario.latency_ms)
    wait_quiet(0.5)
    turns = max(scenario.people, int(scenario.turns * share))
    gauges.reset()
    before = gauges.read()
    done = gauges.fleet.drive(agent=AGENT, keys=people, turns=turns)
    after = gauges.read()
    figures = figures_of(
        done,
        before=before,
        after=after,
        peak_bytes=gauges.workers_peak_bytes(),
        people=scenario.people,
        latency_ms=scenario.latency_ms,
    )
    return {**figures, "busiest_statements": gauges.busiest_statements(20)}


def _conditions(gauges: Gauges, shape: Shape, load_before: float) -> dict[str, Any]:
    return {
        "cores": os.cpu_count(),
        "load_before": load_before,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "worker_processes": shape.workers,
        "pool": shape.pool,
        "concurrency": shape.concurrency,
        "memories_beforehand": MEMORIES,
        "servers": limits.durability(gauges.session, gauges),
    }


def _say(what: str) -> None:
    progress.print(f"{what} …", style="dim", markup=False)


if __name__ == "__main__":
    sys.exit(main())
