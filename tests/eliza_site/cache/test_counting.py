"""What is measured of the cache."""

from __future__ import annotations

from typing import Any

import pytest
from prometheus_client import REGISTRY

from agents import circuits
from tests.chaos.proxy import FaultProxy, Mode
from tests.eliza_site.cache.conftest import MakeCache, through, wait_for


class Counted:
    """How much a metric grew since it was made."""

    def __init__(self, name: str, **labels: str) -> None:
        self._name, self._labels = name, labels
        self._before = self._now()

    def _now(self) -> float:
        return REGISTRY.get_sample_value(self._name, self._labels) or 0.0

    def grew(self) -> float:
        return self._now() - self._before


def test_hits_are_counted_by_their_level_and_misses_too(make_cache: MakeCache) -> None:
    cache = make_cache()
    cache.set_many({"a": 1, "b": 2})
    wait_for(lambda: cache.get("a") == 1 and cache.levels.near.is_vouched_for(), "nobody listens")
    wait_for(lambda: len(cache.get_many(["a", "b"])) == len(cache.levels.near), "nothing is near")
    cache.levels.count()
    near, far, miss = (Counted("eliza_cache_reads_total", level=level) for level in ("near", "far", "miss"))
    for _time in range(300):
        cache.get("a")
    cache.get("gone")
    cache.levels.near.clear()
    cache.get_many(["a", "b", "gone"])
    assert (near.grew(), far.grew(), miss.grew()) == (300, 2, 2)


def test_invalidations_are_counted_by_their_cause(make_cache: MakeCache) -> None:
    mine, theirs = make_cache(NEAR_ENTRIES=1000), make_cache(NEAR_ENTRIES=1001)
    theirs.set("key", 1)
    wait_for(lambda: mine.get("key") == 1 and mine.levels.near.is_vouched_for(), "nobody listens")
    wait_for(lambda: mine.get("key") == 1 and len(mine.levels.near) == 1, "nothing is near")
    told = Counted("eliza_cache_invalidations_total", cause="told")
    theirs.set("key", 2)
    wait_for(lambda: told.grew() == 1, "not counted")
    own = Counted("eliza_cache_invalidations_total", cause="own")

    def has_deleted_what_was_near() -> bool:
        # What is near may go at any moment, when the server is slow to say that it still holds.
        theirs.set("key", 2)
        wait_for(lambda: mine.get("key") == 2 and len(mine.levels.near) == 1, "nothing is near")
        mine.delete("key")
        return own.grew() == 1

    wait_for(has_deleted_what_was_near, "not counted")
    assert mine.get("key") is None


def test_computations_are_counted(make_cache: MakeCache) -> None:
    computed = Counted("eliza_cache_computations_total", how="computed")
    make_cache().get_or_set("key", lambda: 1)
    make_cache().get_or_set("key", lambda: 1)
    assert computed.grew() == 1


def test_what_the_server_does_not_take_is_counted(
    make_cache: MakeCache, proxy: FaultProxy, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(circuits, "REST_SECONDS", 0.0)
    cache: Any = make_cache(url=through(proxy))
    failures = Counted("eliza_cache_failures_total")
    proxy.set(Mode.RESET)
    cache.get("a")
    cache.set("a", 1)
    assert failures.grew() == 2
