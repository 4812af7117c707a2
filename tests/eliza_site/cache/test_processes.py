"""Two real processes: one writes, one reads, and no read is older than the stated bound, whatever is cut."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from django.conf import settings

from eliza_site.cache import TwoLevelCache
from tests.chaos.proxy import FaultProxy, Mode
from tests.doubles.programs import ROOT
from tests.eliza_site.cache.conftest import MakeCache, through

STALE_SECONDS = 1.0
READER = Path(__file__).with_name("reader.py")


class Reader:
    """The other process."""

    def __init__(self, cache: TwoLevelCache, *more: str) -> None:
        namespace = cache._shape.namespace
        self._child = subprocess.Popen(
            [sys.executable, str(READER), namespace, "key", str(STALE_SECONDS), *more],
            cwd=ROOT,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "DJANGO_SETTINGS_MODULE": "eliza_site.settings",
                "REDIS_URL": settings.REDIS_URL,
            },
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        assert self._child.stdout is not None
        assert self._child.stdout.readline().strip() == "ready"

    def reads(self) -> list[tuple[float, int, bool]]:
        """End it, and return what it saw when."""
        answer, _errors = self._child.communicate(timeout=30)
        return [tuple(read) for read in json.loads(answer)]

    def end(self) -> None:
        """Let no process be left behind."""
        if self._child.poll() is None:
            self._child.kill()
            self._child.communicate()


@pytest.fixture
def read_elsewhere(make_cache: MakeCache) -> Iterator[Callable[..., tuple[TwoLevelCache, Reader]]]:
    """Start the other process on a cache whose key is 0."""
    readers: list[Reader] = []

    def start(*more: str) -> tuple[TwoLevelCache, Reader]:
        cache = make_cache()
        cache.set("key", 0)
        readers.append(Reader(cache, *more))
        return cache, readers[-1]

    yield start
    for reader in readers:
        reader.end()


def write_for(cache: TwoLevelCache, seconds: float, written: list[float]) -> None:
    """Count the key up, and note when each number was written for sure."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        assert cache.set_many({"key": len(written)}) == []
        written.append(time.monotonic())
        time.sleep(0.05)


def find_too_old(reads: list[tuple[float, int, bool]], written: list[float], bound: float) -> list[Any]:
    """List the reads that missed a write which was done longer before than the bound."""
    return [
        (before, value, written[value + 1])
        for before, value, _is_vouched_for in reads
        if value + 1 < len(written) and written[value + 1] + bound < before
    ]


def test_no_read_is_too_old_while_the_listener_listens(read_elsewhere: Any) -> None:
    cache, reader = read_elsewhere()
    written = [time.monotonic()]
    write_for(cache, 2.0, written)
    last = len(written) - 1
    time.sleep(STALE_SECONDS)
    reads = reader.reads()
    assert find_too_old(reads, written, STALE_SECONDS) == []
    assert reads[-1][1] == last
    assert len({value for _before, value, _vouched in reads}) > 5, (
        "it saw next to nothing of what was written"
    )
    assert sum(vouched for _before, _value, vouched in reads) > len(reads) / 2


@pytest.mark.parametrize("mode", [Mode.RESET, Mode.HOLE])
def test_no_read_is_too_old_where_the_listener_is_cut_off(
    read_elsewhere: Any, proxy: FaultProxy, mode: Mode
) -> None:
    cache, reader = read_elsewhere(through(proxy))
    written = [time.monotonic()]
    write_for(cache, 0.5, written)
    cut_at = time.monotonic()
    proxy.set(mode)
    write_for(cache, 2.5 * STALE_SECONDS, written)
    last = len(written) - 1
    time.sleep(STALE_SECONDS * 1.1)
    reads = reader.reads()
    assert find_too_old(reads, written, STALE_SECONDS) == []
    assert reads[-1][1] == last
    blind = [read for read in reads if read[0] > cut_at + STALE_SECONDS]
    assert blind
    assert not any(vouched for _before, _value, vouched in blind), "it vouches for what it does not hear"


def test_reads_go_on_being_true_when_the_listener_is_back(read_elsewhere: Any, proxy: FaultProxy) -> None:
    cache, reader = read_elsewhere(through(proxy))
    written = [time.monotonic()]
    for mode in (Mode.RESET, Mode.PASS, Mode.HOLE, Mode.PASS):
        proxy.set(mode)
        write_for(cache, 1.0, written)
    write_for(cache, 3.0, written)
    time.sleep(STALE_SECONDS)
    reads = reader.reads()
    assert find_too_old(reads, written, STALE_SECONDS) == []
    assert reads[-1][1] == len(written) - 1
    assert any(vouched for _before, _value, vouched in reads[-200:]), "it never came back"


def test_what_is_deleted_by_pattern_is_gone_elsewhere(read_elsewhere: Any) -> None:
    cache, reader = read_elsewhere()
    assert cache.invalidate_pattern("k*") == 1
    gone_at = time.monotonic()
    time.sleep(STALE_SECONDS * 1.1)
    reads = reader.reads()
    assert all(value is None for before, value, _vouched in reads if before > gone_at + STALE_SECONDS)
    assert reads[-1][1] is None
