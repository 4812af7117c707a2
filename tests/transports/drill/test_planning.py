"""A drill's plan: the seed decides all of it, and the faults fall between the messages."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from transports.drill.planning import KEYED, KEYLESS, Fault, Order, make_plan

ORDER = Order(seed=7, messages=50, people=6, kills=5, flushes=2, cuts=1)


def test_the_same_seed_makes_the_same_plan_and_another_one_does_not() -> None:
    assert make_plan(ORDER) == make_plan(ORDER)
    assert make_plan(ORDER).moments != make_plan(replace(ORDER, seed=8)).moments


def test_each_fault_comes_as_often_as_was_asked_and_none_after_the_last_message() -> None:
    for seed in range(50):
        plan = make_plan(replace(ORDER, seed=seed, messages=4))
        assert len(plan.moments) == 4
        assert Counter(fault for moment in plan.moments for fault in moment.faults) == {
            Fault.KILL_WORKER: 5,
            Fault.FLUSH_BROKER: 2,
            Fault.CUT_DATABASE: 1,
        }
        assert not plan.moments[-1].faults


def test_a_single_message_is_followed_by_all_faults() -> None:
    (moment,) = make_plan(replace(ORDER, messages=1)).moments
    assert len(moment.faults) == 8


def test_everyone_who_speaks_has_a_network_and_half_of_them_may_be_without_keys() -> None:
    plan = make_plan(ORDER)
    assert {moment.person for moment in plan.moments} == set(range(6))
    assert plan.networks == (KEYED,) * 6
    assert Counter(make_plan(replace(ORDER, is_half_keyless=True)).networks) == {KEYED: 3, KEYLESS: 3}


@pytest.mark.parametrize(("changes", "has_faults"), [({}, False), ({"kills": 1}, True), ({"cuts": 1}, True)])
def test_an_order_knows_whether_it_harms_anything(changes: dict[str, int], has_faults: bool) -> None:
    assert Order(seed=1, **changes).has_faults is has_faults  # type: ignore[arg-type]
