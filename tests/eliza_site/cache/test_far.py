"""A server that is away, hangs, or refuses: no caller hears of it, and nothing old comes back."""

from __future__ import annotations

import os
import socket
import threading
from typing import Any

import pytest
from structlog.testing import capture_logs

from agents import circuits
from eliza_site.cache import TwoLevelCache, far
from tests.chaos.proxy import FaultProxy, Mode
from tests.eliza_site.cache.conftest import MakeCache, through, wait_for


@pytest.fixture
def pair(make_cache: MakeCache, proxy: FaultProxy) -> tuple[TwoLevelCache, TwoLevelCache, FaultProxy]:
    """One cache twice: by way of the proxy, as one process has it, and straight, as all others do."""
    return make_cache(url=through(proxy), TIMEOUT_SECONDS=0.2), make_cache(), proxy


@pytest.fixture
def no_rest(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ask a server that failed again at once."""
    monkeypatch.setattr(circuits, "REST_SECONDS", 0.0)


@pytest.mark.usefixtures("no_rest")
@pytest.mark.parametrize("mode", [Mode.RESET, Mode.HOLE])
def test_without_a_server_reads_find_nothing_and_writes_are_lost(pair: Any, mode: Mode) -> None:
    cut, straight, proxy = pair
    straight.set_many({"a": "far", "number": 1})
    proxy.set(mode)
    assert cut.get("a", "default") == "default"
    assert cut.get_many(["a", "b"]) == {}
    assert "a" not in cut
    assert cut.add("b", 1) is False
    assert cut.touch("a", 5) is False
    assert cut.touch("a", None) is False
    assert cut.delete("gone") is False
    assert cut.set_many({"x": 1, "y": 2}) == ["x", "y"]
    assert cut.invalidate_pattern("nothing*") == 0
    with pytest.raises(ValueError, match="number"):
        cut.incr("number")
    assert cut.get_or_set("c", lambda: "computed") == "computed"
    assert cut.get_or_set("d", "given") == "given"
    assert straight.get("a") == "far"


@pytest.mark.usefixtures("no_rest")
def test_what_is_written_without_a_server_is_read_here_for_a_moment(pair: Any) -> None:
    cut, _straight, proxy = pair
    proxy.set(Mode.RESET)
    cut.set("a", ["mine"])
    assert cut.get("a") == ["mine"]
    calls: list[int] = []
    for _time in range(3):
        assert cut.get_or_set("b", lambda: calls.append(1) or "once") == "once"
    assert calls == [1]
    cut.delete("a")
    assert cut.get("a") is None


@pytest.mark.usefixtures("no_rest")
@pytest.mark.parametrize(
    "write",
    [
        lambda cache: cache.set("a", "new"),
        lambda cache: cache.delete("a"),
        lambda cache: cache.invalidate_pattern("a*"),
        lambda cache: cache.clear(),
    ],
    ids=["set", "delete", "pattern", "clear"],
)
def test_what_was_to_be_replaced_never_comes_back(pair: Any, write: Any) -> None:
    cut, straight, proxy = pair
    straight.set("a", "old")
    straight.set("b", "old")
    assert cut.get("a") == "old"
    proxy.set(Mode.RESET)
    write(cut)
    cut.levels.near.clear()
    assert cut.get("a") is None
    assert straight.get("a") == "old", "it could not be told"
    proxy.set(Mode.PASS)

    def is_paid() -> bool:
        # At every look, whether the server has been told yet or not: a busy machine may miss the 0.2 s.
        assert cut.get("a") is None
        return straight.get("a") is None

    wait_for(is_paid, "nobody paid what was owed")


@pytest.mark.usefixtures("no_rest")
def test_debts_are_paid_without_anybody_asking(pair: Any) -> None:
    cut, straight, proxy = pair
    straight.set("a", "old")
    assert cut.get("a") == "old"
    proxy.set(Mode.RESET)
    cut.delete("a")
    proxy.set(Mode.PASS)
    wait_for(lambda: straight.get("a") is None, "nobody paid what was owed")


@pytest.mark.usefixtures("no_rest")
def test_debts_are_paid_while_the_listener_goes_on(make_cache: MakeCache) -> None:
    cut, straight = make_cache(CONNECTIONS=1, TIMEOUT_SECONDS=0.1), make_cache()
    straight.set("a", "old")
    wait_for(lambda: cut.get("a") == "old" and cut.levels.near.is_vouched_for(), "nobody listens")
    pool = cut.levels.far._client.connection_pool
    taken = pool.get_connection()
    cut.delete("a")
    assert straight.get("a") == "old", "It could be deleted, so nothing is owed."
    pool.release(taken)
    wait_for(lambda: straight.get("a") is None, "nobody paid what was owed", seconds=30.0)


@pytest.mark.usefixtures("no_rest")
def test_debts_are_bounded(pair: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(far, "MOST_OWED", 5)
    cut, straight, proxy = pair
    straight.set("a", "old")
    proxy.set(Mode.RESET)
    cut.delete("a")
    cut.delete_many([f"key{number}" for number in range(20)])
    level = cut.levels.far
    assert len(level._owed) + len(level._owed_globs) <= 5
    proxy.set(Mode.PASS)
    assert cut.get("a") is None
    wait_for(lambda: straight.get("a") is None, "nobody paid what was owed")
    wait_for(lambda: not level._owed and not level._owed_globs, "what was paid is owed still")


def test_a_hung_server_is_waited_for_once_and_then_left_alone(make_cache: MakeCache) -> None:
    with socket.socket() as silent:
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        cache = make_cache(url=f"redis://127.0.0.1:{silent.getsockname()[1]}/0", TIMEOUT_SECONDS=0.1)
        with capture_logs() as lines:
            assert cache.get("a") is None
            first, _address = silent.accept()
            for _time in range(20):
                cache.get("a")
                cache.set("a", 1)
        first.close()
        silent.settimeout(0.1)
        with pytest.raises(TimeoutError):
            silent.accept()
        assert [line["event"] for line in lines] == ["cache_not_asked"]


def test_the_site_s_cache_shares_what_is_known_of_its_server(settings: Any, make_cache: MakeCache) -> None:
    cache = make_cache(url=settings.REDIS_URL)
    assert cache.levels.far._circuit is circuits.cache_circuit()
    cache.set("a", 1)
    circuits.cache_circuit().fail()
    assert cache.get("a") is None
    circuits.cache_circuit().succeed()
    cache.delete("a")


def test_a_server_that_refuses_a_write_is_asked_again(
    make_cache: MakeCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    import redis

    cache = make_cache()
    cache.set("a", "old")
    level = cache.levels.far

    def refuse(**_arguments: Any) -> None:
        raise redis.exceptions.OutOfMemoryError("command not allowed when used memory > 'maxmemory'.")

    with monkeypatch.context() as patch, capture_logs() as lines:
        patch.setattr(level, "_write", refuse)
        for _time in range(3):
            assert cache.set_many({"a": "new"}) == ["a"]
        assert level._circuit.may_try(), "it answers, so it is there"
    assert [line["event"] for line in lines] == ["cache_not_asked"], "said once"
    cache.levels.near.clear()
    assert cache.get("a") is None, "what was to be replaced is gone, rather than old"


def test_a_forked_child_begins_with_nothing_and_hangs_on_no_lock(make_cache: MakeCache) -> None:
    cache = make_cache()
    cache.set("a", 1)
    wait_for(lambda: cache.get("a") == 1 and cache.levels.near.is_vouched_for(), "nobody listens")
    locked = threading.Event()
    released = threading.Event()

    def hold() -> None:
        with cache.levels.near._lock, cache.levels.far._paying, cache.levels.flights._lock:
            locked.set()
            released.wait(20)

    thread = threading.Thread(target=hold)
    thread.start()
    locked.wait(5)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            is_empty = len(cache.levels.near) == 0 and not cache.levels.near.is_vouched_for()
            works = cache.get("a") == 1 and cache.get_or_set("b", lambda: 2) == 2 and cache.delete("a")
            code = 0 if is_empty and works else 2
        finally:
            os._exit(code)
    released.set()
    thread.join(5)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
