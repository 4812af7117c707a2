"""The nursery of a real worker: there from the start, and of nothing that a fork must not copy."""

from __future__ import annotations

import psutil
import pytest

from agents.crashpoints import Fault
from tests.chaos.crew import Process
from tests.chaos.harness import Fleet

pytestmark = pytest.mark.fleet


def nursery_of(worker: Process) -> psutil.Process:
    """Return the only process that a worker with no suspects has made."""
    (child,) = psutil.Process(worker.pid).children()
    return child


def test_each_worker_forked_one_before_it_had_threads_or_connections(fleet: Fleet) -> None:
    for worker in fleet.crew.ready_workers():
        nursery = nursery_of(worker)
        assert nursery.num_threads() == 1, "a fork copies one thread, and the locks of all"
        assert nursery.net_connections("all") == []


def test_it_ends_with_its_worker_and_each_successor_has_its_own(fleet: Fleet) -> None:
    before = {worker: nursery_of(worker) for worker in fleet.crew.ready_workers()}
    fleet.plan(Fault(point="turn.before_commit", hits=(1, 2)))
    spoken = [fleet.say("", fleet.new_person())]
    fleet.wait_until_over(spoken)
    assert fleet.happened() == 2
    assert fleet.verdict(spoken).is_clean
    fleet.await_workers()
    died = [nursery for worker, nursery in before.items() if not worker.is_running()]
    assert died
    fleet.wait(
        lambda: not any(nursery.is_running() for nursery in died), "the end of dead workers' nurseries"
    )
    now = [nursery_of(worker) for worker in fleet.crew.ready_workers()]
    assert len(now) == fleet.crew.worker_count
    assert not {nursery.pid for nursery in now} & {nursery.pid for nursery in died}


def test_where_it_was_killed_the_next_suspect_is_worked_all_the_same(fleet: Fleet) -> None:
    person = fleet.new_person()
    spoken = [fleet.say("", person)]
    fleet.wait_until_over(spoken)
    [(lane,)] = fleet.sql("SELECT lane_id FROM agents_turn WHERE id = %s", spoken[0].turn_id)
    fleet.sql("UPDATE agents_lane SET next_run_at = 'infinity' WHERE id = %s RETURNING 1", lane)
    spoken.append(fleet.say("", person))
    fleet.sql("UPDATE agents_turn SET suspect_count = 2 WHERE id = %s RETURNING 1", spoken[1].turn_id)
    workers = fleet.crew.ready_workers()
    for worker in workers:
        nursery_of(worker).kill()
    fleet.sql("UPDATE agents_lane SET next_run_at = clock_timestamp() WHERE id = %s RETURNING 1", lane)
    fleet.wait_until_over(spoken)
    assert fleet.verdict(spoken).is_clean
    started = [
        child for worker in workers for child in psutil.Process(worker.pid).children() if child.is_running()
    ]
    assert ["work_suspects" in child.cmdline() for child in started if child.cmdline()] == [True]
    for worker in workers:
        worker.kill()
