"""The near level: bounded, fresh, and nobody's to change."""

from __future__ import annotations

import threading
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from eliza_site.cache import near as near_module
from eliza_site.cache.near import ENTRY_BYTES, MISSING, NearLevel
from eliza_site.cache.pickles import dump


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Any:
    class Clock:
        now = 1000.0

    monkeypatch.setattr(near_module.time, "monotonic", lambda: Clock.now)
    return Clock


def make(**changes: Any) -> NearLevel:
    shape = {"most_entries": 100, "most_bytes": 1_000_000, "most_seconds": 60.0, "stale_seconds": 2.0}
    return NearLevel(**{**shape, **changes})


def keep(near: NearLevel, key: str, value: Any, *, lasts: float | None = None, ticket: Any = None) -> bool:
    return near.keep(
        key,
        ticket or near.ticket(key),
        value=value,
        data=dump(value),
        read_at=near_module.time.monotonic(),
        lasts_seconds=lasts,
    )


def test_unvouched_for_a_value_is_served_for_the_bound_alone(clock: Any) -> None:
    near = make()
    keep(near, "a", 1)
    clock.now += 1.99
    assert near.get("a") == 1
    clock.now += 0.01
    assert near.get("a") is MISSING


def test_vouched_for_it_is_served_until_the_vouching_ends(clock: Any) -> None:
    near = make()
    keep(near, "a", 1)
    near.vouch(clock.now + 30)
    clock.now += 29.9
    assert near.get("a") == 1
    assert near.is_vouched_for()
    clock.now += 0.1
    assert near.get("a") is MISSING
    assert not near.is_vouched_for()
    near.vouch(clock.now + 30)
    assert near.get("a") == 1, "nothing was lost meanwhile: the connection is the same"


def test_no_value_outlives_its_own_time_or_the_level_s(clock: Any) -> None:
    near = make()
    near.vouch(clock.now + 1000)
    keep(near, "brief", 1, lasts=5)
    keep(near, "long", 2, lasts=500)
    keep(near, "endless", 3)
    clock.now += 5
    assert [near.get(key) for key in ("brief", "long", "endless")] == [MISSING, 2, 3]
    clock.now += 55
    assert [near.get(key) for key in ("brief", "long", "endless")] == [MISSING] * 3
    assert (len(near), near.byte_count) == (0, 0)


def test_what_was_dropped_while_it_was_asked_for_is_not_kept() -> None:
    near = make()
    for forget in (lambda: near.drop(["a"]), near.clear):
        ticket = near.ticket("a")
        forget()
        assert keep(near, "a", "old", ticket=ticket) is False
        assert near.get("a") is MISSING
    assert keep(near, "a", "new") is True
    assert near.get("a") == "new"


def test_a_reader_changes_its_own_copy() -> None:
    near = make()
    value = {"a": [1]}
    keep(near, "a", value)
    value["a"].append("the writer's")
    near.get("a")["a"].append("a reader's")
    assert near.get("a") == {"a": [1]}


def test_the_least_lately_used_goes_first() -> None:
    near = make(most_entries=3)
    for key in "abc":
        keep(near, key, key)
    near.get("a")
    keep(near, "d", "d")
    assert [near.get(key) for key in "abcd"] == ["a", MISSING, "c", "d"]


def test_a_value_that_would_push_out_the_rest_is_not_kept() -> None:
    near = make(most_bytes=80_000)
    keep(near, "small", "x")
    assert keep(near, "large", "x" * 20_000) is True, "nothing dropped it; it is only too large"
    assert near.get("large") is MISSING
    assert near.get("small") == "x"


def test_off_means_nothing_is_kept() -> None:
    near = make(most_entries=0)
    assert keep(near, "a", 1) is True
    assert near.get("a") is MISSING


@hypothesis_settings(max_examples=200, deadline=None)
@given(
    st.lists(
        st.tuples(st.sampled_from("kkkgdc"), st.integers(0, 30), st.integers(0, 3000)),
        max_size=80,
    )
)
def test_it_stays_within_its_bounds_whatever_comes(steps: list[tuple[str, int, int]]) -> None:
    near = make(most_entries=10, most_bytes=20_000)
    for step, number, size in steps:
        key = f"key{number}"
        if step == "k":
            keep(near, key, b"x" * size)
        elif step == "g":
            near.get(key)
        elif step == "d":
            near.drop([key])
        else:
            near.clear()
        entries = near._entries
        assert len(near) <= 10
        assert near.byte_count <= 20_000
        assert near.byte_count == sum(entry.size for entry in entries.values())
        assert near.byte_count >= len(near) * ENTRY_BYTES


def test_an_entry_costs_no_more_than_is_reckoned() -> None:
    import tracemalloc

    near = make(most_entries=100_000, most_bytes=1_000_000_000)
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        for number in range(20_000):
            keep(near, f"agent:facts:{number}", {"number": number, "text": "some words"})
        taken = tracemalloc.get_traced_memory()[0] - before
    finally:
        tracemalloc.stop()
    assert taken <= near.byte_count


def test_threads_neither_break_the_count_nor_see_each_others_changes() -> None:
    near = make(most_entries=20, most_bytes=100_000)
    wrong: list[Any] = []
    end = time.monotonic() + 1

    def use(seed: int) -> None:
        number = seed
        while time.monotonic() < end:
            number = (number * 1103515245 + 12345) % 2**31
            key = f"key{number % 40}"
            found = near.get(key)
            if found is not MISSING:
                if found != [key]:
                    wrong.append(found)
                found.append("mine")
            elif number % 7 == 0:
                near.drop([key])
            elif number % 501 == 0:
                near.clear()
            else:
                keep(near, key, [key])

    threads = [threading.Thread(target=use, args=(seed,)) for seed in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert not wrong
    assert near.byte_count == sum(entry.size for entry in near._entries.values())
    assert len(near) <= 20
