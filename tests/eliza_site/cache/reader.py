"""A process that reads one key again and again until its input ends, and then tells when it saw what.

`reader.py NAMESPACE KEY STALE_SECONDS [LISTENER_URL]` says `ready` once it listens, then a JSON of its reads:
`[moment before the read, value, read while it was vouched for]`, by the clock that all processes share.
"""

from __future__ import annotations

import json
import select
import sys
import time

import django

django.setup()

import redis  # noqa: E402
from django.conf import settings  # noqa: E402

from eliza_site.cache import TwoLevelCache  # noqa: E402


def main(namespace: str, key: str, stale_seconds: float, listener_url: str = "") -> None:
    """Read until the input ends."""
    cache = TwoLevelCache(
        settings.REDIS_URL, {"OPTIONS": {"NAMESPACE": namespace, "STALE_SECONDS": stale_seconds}}
    )
    if listener_url:
        pool = redis.ConnectionPool.from_url(listener_url, socket_timeout=0.5, protocol=3)
        cache.levels.far.make_connection = lambda: pool.connection_class(**pool.connection_kwargs)
    while cache.get(key) is None or not cache.levels.near.is_vouched_for():
        time.sleep(0.01)
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    reads: list[tuple[float, int, bool]] = []
    while not select.select([sys.stdin], [], [], 0.0005)[0]:
        is_vouched_for = cache.levels.near.is_vouched_for()
        before = time.monotonic()
        reads.append((before, cache.get(key), is_vouched_for))
    sys.stdout.write(json.dumps(reads))
    sys.stdout.flush()
    cache.levels.close()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], float(sys.argv[3]), *sys.argv[4:])
