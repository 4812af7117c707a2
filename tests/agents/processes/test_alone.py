"""A turn in a process of its own: real processes that end as a poisoned message wants."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from agents import lanes
from agents.inbox import receive
from agents.models import Lane, Message, Step, Turn
from agents.processes import alone, nursery
from agents.processes.alone import End, Verdict
from tests.doubles.openai_server import OpenAIServer
from tests.doubles.programs import own_database_url

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(scope="module")
def nurseries(django_db_setup: None) -> Iterator[alone._Nurseries]:
    """A nursery that works in the tests' own database, with a model on loopback."""
    made = alone._Nurseries()
    with OpenAIServer() as model, pytest.MonkeyPatch.context() as patch:
        patch.setattr(alone, "_nurseries", made)
        for name, value in {
            "DATABASE_URL": own_database_url(),
            "OPENAI_BASE_URL": model.base_url,
            "MODEL_LARGE": "stub",
            "EMBEDDING_MODEL": "hashed",
            "EMBEDDING_BASE_URL": "",
            "ELIZA_PLUGINS": "tests.doubles.poison",
            "SUSPECT_MEMORY_MB": "1024",
            "SHUTDOWN_GRACE_SECONDS": "0.5",
        }.items():
            patch.setenv(name, value)
        yield made
        if made._nursery is not None:
            made._nursery.close()


@pytest.fixture
def work_alone(incoming: Any, nurseries: Any) -> Callable[..., Verdict]:
    """Have a message of this text worked in a process of its own."""

    def work(text: str, **questions: Callable[[], bool]) -> Verdict:
        receipt = receive(incoming(text))
        Lane.objects.update(lease_until=None, next_run_at="2020-01-01T00:00:00Z")
        Turn.objects.exclude(pk=receipt.turn_id).update(state="stopped")
        claimed = lanes.claim(receipt.lane_id)
        assert claimed is not None
        assert claimed[1] is not None
        return alone.work_alone(claimed[1], **{"is_stopping": lambda: False, **questions})

    return work


def latest() -> Turn:
    return Turn.objects.order_by("-id")[0]


def test_an_innocent_turn_is_answered_and_a_guilty_ones_death_is_seen(
    work_alone: Any, nurseries: Any
) -> None:
    assert work_alone("hello").end == End.RELEASED
    assert (latest().state, Message.objects.filter(direction="out").count()) == ("done", 1)
    first = nurseries._nursery

    verdict = work_alone("poison exit 7")
    assert (verdict.end, "exit code 7" in verdict.reason) == (End.DIED, True)
    assert work_alone("poison exit 0").end == End.DIED, "an exit without a word is no success"
    verdict = work_alone("poison segfault")
    assert (verdict.end, "signal 11" in verdict.reason) == (End.DIED, True)
    assert latest().state == "running", "what it means is decided by whoever looks on"

    assert work_alone("hello again").end == End.RELEASED
    assert nurseries._nursery is first, "deaths cost the nursery nothing"


def test_memory_without_end_is_refused_before_the_machine_has_none(work_alone: Any) -> None:
    assert work_alone("poison memory").end == End.RELEASED
    assert latest().state == "done"
    assert "MemoryError" in str(list(Step.objects.filter(name="providers").values_list("output", "error")))


def test_a_turn_that_never_ends_is_killed_and_it_counts(work_alone: Any, monkeypatch: Any) -> None:
    assert work_alone("hello").end == End.RELEASED, "the nursery is there"
    monkeypatch.setattr(nursery, "LIMIT_SECONDS", 3.0)
    verdict = work_alone("slow 50")
    assert (verdict.end, "longer than 3 s" in verdict.reason) == (End.DIED, True)


def test_a_frozen_turn_that_nobody_wants_any_more_is_killed_and_it_counts_nothing(
    work_alone: Any, nurseries: Any
) -> None:
    assert work_alone("hello").end == End.RELEASED, "the nursery is there"
    is_seen = iter([False] * 8)
    assert work_alone("poison freeze", is_unwanted=lambda: next(is_seen, True)).end == End.KILLED
    assert latest().state == "running", "whoever looks on puts it back"


def test_a_process_that_is_to_end_has_its_turn_given_back(work_alone: Any) -> None:
    is_seen = iter([False] * 8)
    verdict = work_alone("slow 50", is_stopping=lambda: next(is_seen, True))
    assert verdict.end == End.RELEASED
    turn = latest()
    assert (turn.state, turn.crash_count, turn.error_count) == ("waiting", 0, 0)
    assert Lane.objects.get().lease_until is None


def test_a_nursery_that_dies_says_nothing_of_its_children_and_they_finish(
    work_alone: Any, nurseries: Any
) -> None:
    def kill_nursery() -> bool:
        if Step.objects.exists() or not nurseries._nursery:
            return False
        children = Path(f"/proc/{nurseries._nursery.pid}/task/{nurseries._nursery.pid}/children")
        if children.read_text().split():
            os.kill(nurseries._nursery.pid, signal.SIGKILL)
        return False

    verdict = work_alone("slow 2", is_stopping=kill_nursery)
    assert verdict.end == End.RELEASED, "the child's own word counts"
    assert latest().state == "done"
    assert work_alone("hello").end == End.RELEASED, "another nursery is started"


def test_the_nursery_has_one_thread_and_no_connection(work_alone: Any, nurseries: Any) -> None:
    work_alone("hello")
    pid = nurseries._nursery.pid
    assert len(os.listdir(f"/proc/{pid}/task")) == 1, "a fork copies one thread, and the locks of all"
    files = subprocess.run(["ls", "-l", f"/proc/{pid}/fd"], capture_output=True, text=True, check=True).stdout
    assert "socket:" not in files
