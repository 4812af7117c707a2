"""What a turn costs on the database that DATABASE_URL names: one after the other in one process, answered by a script.

    python -m eliza_site.embedded exec -- python -m tests.benchmarks.databases
    DATABASE_URL=sqlite:////tmp/turns.sqlite3 python -m eliza_site.embedded exec -- python -m tests.benchmarks.databases

Both from nothing, with `make test`'s servers: PostgreSQL without fsync. PostgreSQL's own CPU is that of all its
processes. Unit: milliseconds a turn, from receipt to delivery.
"""

from __future__ import annotations

import os
import statistics
import sys
import time

TURNS, WARM = 100, 20


def main() -> None:
    """Measure, and print one line."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "eliza_site.settings")
    os.environ["EMBEDDING_MODEL"] = "hashed"
    import django

    django.setup()
    import psutil
    from django.core.management import call_command
    from django.db import connection

    from agents import work
    from agents.inbox import receive
    from agents.llm.router import answering_with
    from agents.llm.scripted import ScriptedModel
    from tests.conftest import incoming as make_incoming
    from tests.conftest import make_agent
    from transports.delivery import deliver_room
    from transports.models import Connection

    call_command("migrate", verbosity=0)
    link = Connection.objects.create(agent=make_agent(), platform="telegram", transport="fake")
    make = make_incoming.__wrapped__(link)  # type: ignore[attr-defined]
    supervisor = psutil.Process(os.getppid())

    def servers() -> float:
        """Return the CPU seconds of PostgreSQL's processes."""
        found = [child for child in supervisor.children(recursive=True) if "postgres" in child.name()]
        return sum(sum(child.cpu_times()[:2]) for child in found)

    taken: list[float] = []
    with answering_with(ScriptedModel("Hello to you too.")):
        for number in range(WARM + TURNS):
            if number == WARM:
                cpu, server = time.process_time(), servers()
            began = time.perf_counter()
            receipt = receive(
                make(f"message {number} about bees", person=f"p{number % 20}"), is_limited=False
            )
            work.drain_lane(receipt.lane_id)
            deliver_room(link.pk, receipt.room_id)
            taken.append(time.perf_counter() - began)
    own = (time.process_time() - cpu) / TURNS * 1000
    theirs = (servers() - server) / TURNS * 1000
    half = statistics.median(taken[WARM:]) * 1000
    sys.stdout.write(
        f"{connection.vendor}: {own:.1f} ms CPU here, {theirs:.1f} ms CPU of PostgreSQL's, {half:.1f} ms p50\n"
    )


if __name__ == "__main__":
    main()
