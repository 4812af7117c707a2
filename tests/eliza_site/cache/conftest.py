"""Caches of one's own, each with its own keys on the tests' server."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from redis.connection import parse_url

from eliza_site.cache import TwoLevelCache
from eliza_site.cache.near import MISSING
from tests.chaos.proxy import FaultProxy
from tests.parallel import on_database

MakeCache = Callable[..., TwoLevelCache]


class Twice(TwoLevelCache):
    """Reads everything twice: from the server, then from what is near, which must be equal and not the same."""

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        first = super().get(key, default, version)
        deadline = time.monotonic() + 10
        while (near := self.levels.near.get(self.make_key(key, version))) is MISSING and first is not default:
            # What was just written is told by the server, too, and then asked for once more.
            assert time.monotonic() < deadline, "what was read is not near"
            first = super().get(key, default, version)
        if near is MISSING:
            return first
        assert near == first
        assert type(near) is type(first)
        assert near is not first or isinstance(first, str | bytes | int | float | None)
        return near


@pytest.fixture
def make_cache() -> Iterator[MakeCache]:
    """Make a cache; equal arguments make backends of one cache, as its threads have them."""
    made: list[TwoLevelCache] = []
    own = f"tests:{uuid4().hex[:12]}"

    def make(
        kind: type[TwoLevelCache] = TwoLevelCache, *, url: str = "", params: Any = None, **options: Any
    ) -> TwoLevelCache:
        options = {"NAMESPACE": own, "STALE_SECONDS": 2.0, **options}
        made.append(kind(url or settings.REDIS_URL, {**(params or {}), "OPTIONS": options}))
        return made[-1]

    yield make
    for cache in made:
        cache.levels.close()


@pytest.fixture(params=["both levels", "far level alone"])
def cache(request: pytest.FixtureRequest, make_cache: MakeCache) -> TwoLevelCache:
    """A cache whose values are near once they were read, and one whose values never are."""
    if request.param == "both levels":
        return make_cache(Twice)
    return make_cache(NEAR_ENTRIES=0)


@pytest.fixture
def proxy() -> Iterator[FaultProxy]:
    """A way to the tests' server that fails as told."""
    with FaultProxy(settings.REDIS_URL) as between:
        yield between


def through(proxy: FaultProxy) -> str:
    """Return the address of the tests' own database by way of the proxy."""
    return on_database(proxy.url, parse_url(settings.REDIS_URL).get("db", 0))


def wait_for(is_so: Callable[[], bool], what: str, seconds: float = 10.0) -> None:
    """Wait until it is so."""
    deadline = time.monotonic() + seconds
    while not is_so():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)
