"""The gate before a server: so many at once, and rest when it is asked for."""

import threading
import time

import pytest

from agents.llm.base import CompletionRequest, ModelError, ModelFailure
from agents.llm.limits import Gate, GatedModel
from agents.llm.scripted import ScriptedModel
from tests.agents.llm.asking import ask


def test_only_so_many_calls_run_at_once() -> None:
    running: list[int] = [0, 0]
    lock = threading.Lock()

    def count(_: CompletionRequest) -> str:
        with lock:
            running[0] += 1
            running[1] = max(running)
        time.sleep(0.01)
        with lock:
            running[0] -= 1
        return "done"

    model = GatedModel(ScriptedModel(count), Gate(concurrency=3))
    threads = [threading.Thread(target=model.complete, args=(ask(),)) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert running[1] == 3


def test_waiting_for_a_place_counts_towards_the_time() -> None:
    gate = Gate(concurrency=1)
    with gate.passing(timeout_seconds=1), pytest.raises(ModelError) as caught:
        GatedModel(ScriptedModel("never"), gate).complete(ask(timeout_seconds=0.1))
    assert caught.value.failure is ModelFailure.TIMEOUT
    assert "MODEL_CONCURRENCY" in str(caught.value)


def test_who_waits_for_a_place_can_be_called_off() -> None:
    gate = Gate(concurrency=1)
    with gate.passing(timeout_seconds=1), pytest.raises(ModelError) as caught:
        GatedModel(ScriptedModel("never"), gate).complete(ask(timeout_seconds=60), is_cancelled=lambda: True)
    assert caught.value.failure is ModelFailure.CANCELLED
    assert GatedModel(ScriptedModel("served"), gate).complete(ask()).text == "served"


def test_a_server_that_asked_for_rest_is_not_asked_again() -> None:
    limited = ModelError("slow down", failure=ModelFailure.RATE_LIMITED, retry_after_seconds=30)
    script = ScriptedModel([limited, "rested"])
    model = GatedModel(script, Gate(concurrency=2))
    for _ in range(2):
        with pytest.raises(ModelError) as caught:
            model.complete(ask())
        assert caught.value.retry_after_seconds == pytest.approx(30, abs=1)
    assert len(script.requests) == 1


def test_a_short_rest_is_waited_out() -> None:
    limited = ModelError("a moment", failure=ModelFailure.RATE_LIMITED, retry_after_seconds=0.1)
    model = GatedModel(ScriptedModel([limited, "rested"]), Gate(concurrency=2))
    with pytest.raises(ModelError):
        model.complete(ask())
    started = time.monotonic()
    assert model.complete(ask()).text == "rested"
    assert time.monotonic() - started >= 0.08
