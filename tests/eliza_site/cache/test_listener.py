"""What is near is true: changes by others are heard, and where nothing is heard nothing is vouched for."""

from __future__ import annotations

import threading
from typing import Any

import pytest
import redis
from structlog.testing import capture_logs

from eliza_site.cache import TwoLevelCache
from eliza_site.cache.near import MISSING
from tests.chaos.proxy import FaultProxy, Mode
from tests.eliza_site.cache.conftest import MakeCache, through, wait_for


def is_near(cache: TwoLevelCache, key: str) -> bool:
    return cache.levels.near.get(cache.make_key(key)) is not MISSING


def settle_near(cache: TwoLevelCache, key: str) -> None:
    """Read until the value is near, and what is near is vouched for."""
    cache.get(key)
    wait_for(cache.levels.near.is_vouched_for, "nobody listens")
    wait_for(lambda: cache.get(key) is not None and is_near(cache, key), "nothing is near")


@pytest.fixture
def two(make_cache: MakeCache) -> tuple[TwoLevelCache, TwoLevelCache]:
    """One cache as two processes have it: each with a near level and a listener of its own."""
    return make_cache(NEAR_ENTRIES=1000), make_cache(NEAR_ENTRIES=1001)


@pytest.mark.parametrize(
    "change",
    [
        lambda cache: cache.set("key", "new"),
        lambda cache: cache.set_many({"key": "new", "other": 1}),
        lambda cache: cache.delete("key"),
        lambda cache: cache.touch("key", 60),
        lambda cache: cache.clear(),
        lambda cache: cache.invalidate_pattern("k*"),
        lambda cache: cache.incr_version("key"),
    ],
    ids=["set", "set_many", "delete", "touch", "clear", "pattern", "version"],
)
def test_each_change_elsewhere_is_heard(two: Any, change: Any) -> None:
    mine, theirs = two
    theirs.set("key", "old")
    settle_near(mine, "key")
    change(theirs)
    wait_for(lambda: not is_near(mine, "key"), "the change was not heard")
    assert mine.get("key") == theirs.get("key")


def test_counting_elsewhere_is_heard(two: Any) -> None:
    mine, theirs = two
    theirs.set("key", 1)
    settle_near(mine, "key")
    theirs.incr("key", 4)
    wait_for(lambda: mine.get("key") == 5, "the count was not heard")


def test_whoever_changes_a_key_is_heard(two: Any, settings: Any) -> None:
    mine, _theirs = two
    mine.set("key", "old")
    settle_near(mine, "key")
    client = redis.Redis.from_url(settings.REDIS_URL)
    client.set(mine.levels.far.value_prefix + mine.make_key("key"), 7)
    wait_for(lambda: mine.get("key") == 7, "a stranger's change was not heard")
    client.close()


def test_one_s_own_writes_are_seen_at_once(two: Any) -> None:
    mine, _theirs = two
    for number in range(200):
        mine.set("key", number)
        assert mine.get("key") == number
        assert mine.get("key") == number
        assert mine.incr("key") == number + 1
        assert mine.get("key") == number + 1


def test_a_value_that_changes_while_it_is_read_is_not_kept(two: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    mine, theirs = two
    theirs.set_many({"key": "old", "other": 1})
    settle_near(mine, "other")
    read = mine.levels.far.read

    def read_slowly(keys: Any) -> Any:
        answers = read(keys)
        heard = mine.levels.near.ticket(keys[0])
        theirs.set("key", "new")
        wait_for(lambda: mine.levels.near.ticket(keys[0]) != heard, "the change was not heard")
        return answers

    with monkeypatch.context() as patch:
        patch.setattr(mine.levels.far, "read", read_slowly)
        mine.get("key")
    assert not is_near(mine, "key")
    assert mine.get("key") == "new"


def test_a_cut_connection_ends_the_vouching_and_comes_back(
    make_cache: MakeCache, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, theirs = make_cache(NEAR_ENTRIES=1000), make_cache()
    listen_by(cache, proxy, monkeypatch)
    theirs.set("key", "old")
    settle_near(cache, "key")
    proxy.set(Mode.RESET)
    wait_for(lambda: not cache.levels.near.is_vouched_for(), "a lost connection is trusted")
    theirs.set("key", "new")
    wait_for(lambda: cache.get("key") == "new", "the old value lives on")
    proxy.set(Mode.PASS)
    wait_for(cache.levels.near.is_vouched_for, "it did not come back")
    settle_near(cache, "key")
    theirs.set("key", "newer")
    wait_for(lambda: cache.get("key") == "newer", "it listens no more")


def test_a_connection_that_hangs_ends_the_vouching(
    make_cache: MakeCache, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, theirs = make_cache(NEAR_ENTRIES=1000, STALE_SECONDS=0.5), make_cache()
    listen_by(cache, proxy, monkeypatch)
    theirs.set("key", "old")
    settle_near(cache, "key")
    proxy.set(Mode.HOLE)
    theirs.set("key", "new")
    wait_for(lambda: cache.get("key") == "new", "the old value lives on")
    wait_for(lambda: not cache.levels.near.is_vouched_for(), "a hung connection is trusted")
    proxy.set(Mode.PASS)
    wait_for(cache.levels.near.is_vouched_for, "it did not come back")


def test_what_changed_while_nobody_listened_is_not_vouched_for(
    make_cache: MakeCache, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, theirs = make_cache(NEAR_ENTRIES=1000, STALE_SECONDS=0.5), make_cache()
    listen_by(cache, proxy, monkeypatch)
    theirs.set("key", "old")
    settle_near(cache, "key")
    proxy.set(Mode.RESET)
    wait_for(lambda: not cache.levels.near.is_vouched_for(), "a lost connection is trusted")
    theirs.set("key", "new")
    entries = len(cache.levels.near)
    proxy.set(Mode.PASS)
    wait_for(cache.levels.near.is_vouched_for, "it did not come back")
    assert entries
    assert not is_near(cache, "key")


def test_a_server_that_does_not_tell_is_read_from_for_the_bound_alone(
    make_cache: MakeCache, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache, theirs = make_cache(NEAR_ENTRIES=1000, STALE_SECONDS=0.3), make_cache()
    make = cache.levels.far.make_connection

    def make_old() -> Any:
        connection = make()
        send = connection.send_command

        def send_as_to_an_old_server(*command: str, **more: Any) -> None:
            send(*("NO" + word if word == "TRACKING" else word for word in command), **more)

        connection.send_command = send_as_to_an_old_server
        return connection

    with capture_logs() as lines:
        monkeypatch.setattr(cache.levels.far, "make_connection", make_old)
        theirs.set("key", "old")
        assert cache.get("key") == "old"
        wait_for(lambda: "cache_not_tracked" in [line["event"] for line in lines], "nobody is told")
    assert not cache.levels.near.is_vouched_for()
    theirs.set("key", "new")
    wait_for(lambda: cache.get("key") == "new", "the old value lives on")


def test_listening_ends_and_begins_again(make_cache: MakeCache) -> None:
    cache = make_cache(NEAR_ENTRIES=1000)
    cache.set("key", 1)
    settle_near(cache, "key")
    thread = cache.levels.listener._thread
    cache.levels.close()
    assert thread not in threading.enumerate()
    assert not cache.levels.near.is_vouched_for()
    cache.levels.near.clear()
    settle_near(cache, "key")


def test_where_nothing_may_be_old_nothing_is_near(make_cache: MakeCache) -> None:
    cache = make_cache(STALE_SECONDS=0.0)
    cache.set("key", 1)
    assert cache.get("key") == 1
    assert not is_near(cache, "key")
    assert cache.levels.listener._thread is None


def listen_by(cache: TwoLevelCache, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the listener's connection alone go by way of the proxy."""
    pool = redis.ConnectionPool.from_url(
        through(proxy), protocol=3, socket_timeout=0.5, socket_connect_timeout=0.5
    )
    monkeypatch.setattr(
        cache.levels.far, "make_connection", lambda: pool.connection_class(**pool.connection_kwargs)
    )
