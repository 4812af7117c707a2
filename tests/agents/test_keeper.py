"""The keeper: leases live while their turns are worked, and end with a word."""

from __future__ import annotations

import time
from typing import Any

import pytest

from agents import keeper, lanes, turns
from agents.inbox import receive
from agents.models import Agent, Lane


@pytest.mark.django_db(transaction=True)
def test_a_lease_is_renewed_a_loss_noticed_and_a_stop_heard(
    incoming: Any, settings: Any, monkeypatch: Any
) -> None:
    settings.LANE_LEASE_SECONDS = 1
    monkeypatch.setattr(keeper, "LOOK_PERIOD_SECONDS", 0.1)
    monkeypatch.setattr(keeper, "_keeper", keeper._Keeper())
    receipt = receive(incoming())
    claimed = lanes.claim(receipt.lane_id)
    assert claimed is not None
    turn = claimed[1]
    assert turn is not None
    with keeper.watch_over(turn) as watch:
        before = Lane.objects.get().lease_until
        time.sleep(1.2)
        after = Lane.objects.get().lease_until
        assert before is not None
        assert after is not None
        assert after > before
        assert not watch.is_cancelled()

        assert turns.request_stop(receipt.turn_id)
        _until(lambda: watch.is_stopped)
        Lane.objects.update(lease_token=99)
        _until(lambda: watch.is_lost)


@pytest.mark.django_db(transaction=True)
def test_a_newer_message_is_heard(incoming: Any, agent: Agent, monkeypatch: Any) -> None:
    Agent.objects.update(double_texting=Agent.DoubleTexting.INTERRUPT)
    monkeypatch.setattr(keeper, "LOOK_PERIOD_SECONDS", 0.1)
    monkeypatch.setattr(keeper, "_keeper", keeper._Keeper())
    claimed = lanes.claim(receive(incoming()).lane_id)
    assert claimed is not None
    turn = claimed[1]
    assert turn is not None
    with keeper.watch_over(turn) as watch:
        receive(incoming("and another thing"))
        _until(watch.is_cancelled)
        assert not watch.is_stopped
        with pytest.raises(keeper.Stopped):
            watch.go_on()


def _until(condition: Any) -> None:
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        if condition():
            return
        time.sleep(0.05)
    raise AssertionError("it did not happen within 5 s")
