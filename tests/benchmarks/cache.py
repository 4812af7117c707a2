"""What a read of the cache costs in each level. Run it beside nothing else:

.venv/bin/python -m eliza_site.embedded exec -- .venv/bin/python tests/benchmarks/cache.py
"""

from __future__ import annotations

import os
import statistics
import sys
import threading
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
os.environ.setdefault("DJANGO_SETTINGS_MODULE", "eliza_site.settings")

import django

django.setup()

from django.conf import settings  # noqa: E402
from django.core.cache.backends.locmem import LocMemCache  # noqa: E402
from django.core.cache.backends.redis import RedisCache  # noqa: E402

from eliza_site.cache import TwoLevelCache  # noqa: E402
from eliza_site.cache.levels import close_levels  # noqa: E402

ROUNDS = 9
VALUES: dict[str, Any] = {
    "a text": "a line of text that somebody said",
    "a dict of 10": {f"field{number}": number for number in range(10)},
    "1.5 KB of bytes": array("f", [0.5] * 384).tobytes(),
    "a list of 1,000 numbers": list(range(1000)),
}


def main() -> None:
    """Measure, and print a table."""
    options = {"NAMESPACE": "benchmark"}
    cache, other = (
        TwoLevelCache(settings.REDIS_URL, {"OPTIONS": {**options, "NEAR_ENTRIES": entries}})
        for entries in (10_000, 10_001)
    )
    far = TwoLevelCache(settings.REDIS_URL, {"OPTIONS": {**options, "NEAR_ENTRIES": 0}})
    django_far = RedisCache(settings.REDIS_URL, {"KEY_PREFIX": "benchmark"})
    django_near = LocMemCache("benchmark", {"KEY_PREFIX": "benchmark"})
    say("", "µs wall", "µs CPU")
    for number, (name, value) in enumerate(VALUES.items()):
        key = f"value{number}"
        for each in (cache, django_far, django_near):
            each.set(key, value, timeout=600)
        settle(cache, key)
        measure(f"near hit, {name}", lambda key=key: cache.get(key), 20_000)
        measure(f"far hit, {name}", lambda key=key: far.get(key), 1000)
        measure(f"Django's RedisCache, {name}", lambda key=key: django_far.get(key), 1000)
        measure(f"Django's LocMemCache, {name}", lambda key=key: django_near.get(key), 5000)
    measure("miss", lambda: cache.get("gone"), 1000)
    measure("set", lambda: cache.set("written", "a line of text"), 1000)
    measure("Django's RedisCache, set", lambda: django_far.set("written", "a line of text"), 1000)
    cache.set_many({f"many{number}": number for number in range(50)})
    measure("get_many of 50, far", lambda: far.get_many(f"many{number}" for number in range(50)), 200)
    settle(cache, *(f"many{number}" for number in range(50)))
    measure("get_many of 50, near", lambda: cache.get_many(f"many{number}" for number in range(50)), 500)
    measure_hearing(cache, other)
    measure_pattern(cache)
    cache.clear()
    django_far.delete_many(["written", *(f"value{number}" for number in range(len(VALUES)))])
    close_levels()


def settle(cache: TwoLevelCache, *keys: str) -> None:
    """Read until all of it is near."""
    while not cache.levels.near.is_vouched_for() or any(
        type(cache.levels.near.get(cache.make_key(key))).__name__ == "Missing" for key in keys
    ):
        cache.get_many(keys)
        time.sleep(0.01)


def measure(name: str, call: Callable[[], Any], count: int) -> None:
    """Print the median of several rounds."""
    wall, cpu = [], []
    for _round in range(ROUNDS):
        started, used = time.perf_counter(), time.thread_time()
        for _time in range(count):
            call()
        wall.append((time.perf_counter() - started) / count * 1e6)
        cpu.append((time.thread_time() - used) / count * 1e6)
    say(name, f"{statistics.median(wall):.2f}", f"{statistics.median(cpu):.2f}")


def measure_hearing(cache: TwoLevelCache, other: TwoLevelCache) -> None:
    """Print how long after a write another process' near level has dropped the old value."""
    taken = []
    for number in range(300):
        settle(cache, "value0")
        key = cache.make_key("value0")
        dropped = threading.Event()
        drop = cache.levels.near.drop

        def noted(keys: list[str], drop: Any = drop, dropped: Any = dropped, key: str = key) -> int:
            count: int = drop(keys)
            if key in keys:
                dropped.set()
            return count

        cache.levels.near.drop = noted  # type: ignore[method-assign]
        started = time.perf_counter()
        other.levels.far.write({key: number}, 60_000)
        dropped.wait(5)
        taken.append((time.perf_counter() - started) * 1e6)
        cache.levels.near.drop = drop  # type: ignore[method-assign]
    taken.sort()
    say("from a write's begin until it is dropped elsewhere, p50", f"{taken[150]:.0f}", "")
    say("the same, p99", f"{taken[297]:.0f}", "")


def measure_pattern(cache: TwoLevelCache) -> None:
    """Print what a pattern costs among many other names on the server."""
    client = cache.levels.far._client
    for start in range(0, 100_000, 10_000):
        client.mset({f"elsewhere:{number}": 1 for number in range(start, start + 10_000)})
    cache.set_many({f"agent:{number}:facts": 1 for number in range(1000)})
    started = time.perf_counter()
    count = cache.invalidate_pattern("agent:*")
    taken = (time.perf_counter() - started) * 1e6
    say(f"invalidate_pattern: {count} values among 100,000 other names", f"{taken:.0f}", "")
    for start in range(0, 100_000, 10_000):
        client.unlink(*(f"elsewhere:{number}" for number in range(start, start + 10_000)))


def say(*columns: str) -> None:
    """Print a row."""
    name, *figures = columns
    sys.stdout.write(f"{name:66}" + "".join(f"{figure:>10}" for figure in figures) + "\n")


if __name__ == "__main__":
    main()
