"""One computes, the others wait; and what was computed of what is no longer true is not kept."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from eliza_site.cache import TwoLevelCache, computing
from tests.chaos.proxy import FaultProxy, Mode
from tests.eliza_site.cache.conftest import MakeCache, through, wait_for


class Work:
    """Computes when it is let, and counts how often it began."""

    def __init__(self, result: Callable[[int], Any] = lambda number: f"value {number}") -> None:
        self.result = result
        self.begun = 0
        self._begins = threading.Event()
        self._goes_on = threading.Event()
        self._lock = threading.Lock()

    def __call__(self) -> Any:
        with self._lock:
            self.begun += 1
            number = self.begun
        self._begins.set()
        assert self._goes_on.wait(20), "nobody lets it go on"
        return self.result(number)

    def await_begin(self) -> None:
        assert self._begins.wait(10), "nobody computes"

    def go_on(self) -> None:
        self._goes_on.set()


@pytest.fixture
def processes(make_cache: MakeCache) -> list[TwoLevelCache]:
    """One cache as three processes have it."""
    return [make_cache(NEAR_ENTRIES=1000 + number) for number in range(3)]


def test_of_all_who_ask_at_once_one_computes(processes: list[TwoLevelCache]) -> None:
    work = Work()
    with ThreadPoolExecutor(24) as threads:
        asked = [threads.submit(processes[number % 3].get_or_set, "key", work, 60) for number in range(24)]
        work.await_begin()
        work.go_on()
        assert [answer.result(20) for answer in asked] == ["value 1"] * 24
    assert work.begun == 1
    assert [cache.get("key") for cache in processes] == ["value 1"] * 3


def test_other_keys_do_not_wait(processes: list[TwoLevelCache]) -> None:
    work = Work()
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(processes[0].get_or_set, "slow", work, 60)
        work.await_begin()
        assert processes[0].get_or_set("quick", lambda: 1) == 1
        work.go_on()
        assert asked.result(20) == "value 1"


def test_an_error_is_its_caller_s_and_another_computes(processes: list[TwoLevelCache]) -> None:
    def result(number: int) -> str:
        if number == 1:
            raise LookupError("the first fails")
        return f"value {number}"

    work = Work(result)
    with ThreadPoolExecutor(6) as threads:
        asked = [threads.submit(processes[number % 3].get_or_set, "key", work, 60) for number in range(6)]
        work.await_begin()
        work.go_on()
        errors = [error for answer in asked if (error := answer.exception(20))]
    assert [str(error) for error in errors] == ["the first fails"]
    assert work.begun == 2
    assert processes[0].get("key") == "value 2"


@pytest.mark.parametrize(
    ("change", "left"),
    [
        (lambda cache: cache.delete("key"), None),
        (lambda cache: cache.delete_many(["key"]), None),
        (lambda cache: cache.invalidate_pattern("k*"), None),
        (lambda cache: cache.clear(), None),
        (lambda cache: cache.set("key", "set"), "set"),
        (lambda cache: cache.set_many({"key": "set"}), "set"),
    ],
    ids=["delete", "delete_many", "pattern", "clear", "set", "set_many"],
)
@pytest.mark.parametrize("place", [0, 1], ids=["in the same process", "in another"])
def test_what_was_computed_before_a_change_is_not_kept_after_it(
    processes: list[TwoLevelCache], change: Any, left: Any, place: int
) -> None:
    work = Work()
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(processes[0].get_or_set, "key", work, 60, old_seconds=60)
        work.await_begin()
        change(processes[place])
        work.go_on()
        assert asked.result(20) == "value 1"
    assert [cache.get("key") for cache in processes] == [left] * 3
    assert processes[2].get_or_set("key", lambda: "anew", 60, old_seconds=60) == (left or "anew")


def test_whoever_asks_after_a_change_gets_nothing_older(processes: list[TwoLevelCache]) -> None:
    """It waits for one who computes from what was true before the change, and computes again."""
    work = Work()
    with ThreadPoolExecutor(2) as threads:
        before = threads.submit(processes[0].get_or_set, "key", work, 60)
        work.await_begin()
        processes[1].delete("key")
        after = threads.submit(processes[0].get_or_set, "key", work, 60)
        work.go_on()
        assert before.result(20) == "value 1"
        assert after.result(20) == "value 2"
    assert processes[2].get("key") == "value 2"


def test_while_one_computes_the_others_get_the_value_that_ended(processes: list[TwoLevelCache]) -> None:
    cache = processes[0]
    assert cache.get_or_set("key", lambda: "old", 0.2, old_seconds=60) == "old"
    wait_for(lambda: cache.get("key") is None, "it does not end")
    work = Work()
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(cache.get_or_set, "key", work, 60, old_seconds=60)
        work.await_begin()
        assert [other.get_or_set("key", work, 60, old_seconds=60) for other in processes] == ["old"] * 3
        work.go_on()
        assert asked.result(20) == "value 1"
    assert work.begun == 1


@pytest.mark.parametrize(
    "change",
    [lambda cache: cache.delete("key"), lambda cache: cache.invalidate_pattern("*"), lambda c: c.clear()],
    ids=["delete", "pattern", "clear"],
)
def test_what_was_deleted_is_nobody_s_older_value(processes: list[TwoLevelCache], change: Any) -> None:
    cache = processes[0]
    cache.get_or_set("key", lambda: "old", 60, old_seconds=60)
    change(processes[1])
    work = Work()
    with ThreadPoolExecutor(2) as threads:
        asked = [threads.submit(one.get_or_set, "key", work, 60, old_seconds=60) for one in processes[:2]]
        work.await_begin()
        work.go_on()
        assert [answer.result(20) for answer in asked] == ["value 1"] * 2


def test_an_older_value_ends_too(make_cache: MakeCache) -> None:
    cache = make_cache()
    cache.get_or_set("key", lambda: "old", 0.1, old_seconds=0.1)
    name = cache.make_key("key")
    wait_for(lambda: cache.levels.far.read_old(name) is None, "it lives on")


def test_whoever_computes_for_too_long_is_not_waited_for(
    processes: list[TwoLevelCache], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(computing, "LEASE_SECONDS", 0.3)
    work = Work()
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(processes[0].get_or_set, "key", work, 60)
        work.await_begin()
        assert processes[1].get_or_set("key", lambda: "mine", 60) == "mine"
        assert processes[0].get_or_set("other", lambda: 1, 60) == 1
        work.go_on()
        assert asked.result(20) == "value 1"
    assert processes[2].get("key") in ("mine", None), "what came late has no lease any more"


def test_one_who_died_computing_is_followed(
    processes: list[TwoLevelCache], monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = processes[0]
    assert cache.levels.far.lease(cache.make_key("key"), "whoever died", 300)
    assert processes[1].get_or_set("key", lambda: "mine", 60) == "mine"
    assert cache.get("key") == "mine"


def test_without_a_server_one_a_process_computes(make_cache: MakeCache, proxy: FaultProxy) -> None:
    cache = make_cache(url=through(proxy))
    cache.get("warm")
    proxy.set(Mode.RESET)
    work = Work()
    with ThreadPoolExecutor(8) as threads:
        asked = [threads.submit(cache.get_or_set, "key", work, 60) for _number in range(8)]
        work.await_begin()
        work.go_on()
        assert [answer.result(20) for answer in asked] == ["value 1"] * 8
    assert work.begun == 1


def test_a_server_that_goes_while_one_computes_costs_nothing(
    make_cache: MakeCache, proxy: FaultProxy
) -> None:
    cache = make_cache(url=through(proxy))
    work = Work()
    with ThreadPoolExecutor(1) as threads:
        asked = threads.submit(cache.get_or_set, "key", work, 60)
        work.await_begin()
        proxy.set(Mode.RESET)
        work.go_on()
        assert asked.result(20) == "value 1"


def test_each_caller_gets_a_value_of_its_own(processes: list[TwoLevelCache]) -> None:
    work = Work(lambda number: [number])
    with ThreadPoolExecutor(6) as threads:
        asked = [threads.submit(processes[number % 2].get_or_set, "key", work, 60) for number in range(6)]
        work.await_begin()
        work.go_on()
        results = [answer.result(20) for answer in asked]
    for result in results:
        result.append("mine")
    assert all(result == [1, "mine"] for result in results)
    assert processes[0].get("key") == [1]


def test_where_the_value_came_meanwhile_nobody_computes_it_again(processes: list[TwoLevelCache]) -> None:
    cache = processes[0]
    cache.set("key", "value")
    assert cache.levels.far.lease(cache.make_key("key"), "a caller that had looked before", 60_000) is False
    cache.delete("key")
    assert cache.levels.far.lease(cache.make_key("key"), "the next", 60_000) is True
