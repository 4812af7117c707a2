"""A server that failed is left alone, then asked by one."""

from __future__ import annotations

from typing import Any

import pytest

from agents import circuits
from agents.circuits import Circuit


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    class Clock:
        now = 1000.0

    monkeypatch.setattr(circuits.time, "monotonic", lambda: Clock.now)
    return Clock


def test_after_a_failure_nobody_asks_until_the_rest_is_over_and_then_one_does(clock: Any) -> None:
    circuit = Circuit()
    assert circuit.may_try()
    circuit.fail()
    assert not circuit.may_try()
    assert circuit.is_resting()
    clock.now += circuits.REST_SECONDS
    assert [circuit.may_try() for _caller in range(3)] == [True, False, False]
    clock.now += circuits.PROBE_SECONDS
    assert circuit.may_try(), "the one that asked was never heard of again"


def test_a_success_lets_everybody_ask_again(clock: Any) -> None:
    circuit = Circuit()
    circuit.fail()
    clock.now += circuits.REST_SECONDS
    assert circuit.may_try()
    circuit.succeed()
    assert [circuit.may_try() for _caller in range(3)] == [True, True, True]
    assert not circuit.is_resting()


def test_broker_and_cache_share_what_is_known_where_they_are_one_server(settings: Any) -> None:
    settings.BROKER_IS_CACHE = True
    circuits.cache_circuit().fail()
    assert circuits.broker_circuit().is_resting()
    settings.BROKER_IS_CACHE = False
    assert not circuits.broker_circuit().is_resting()
