"""The disk is full: what can't be stored is refused, what was taken waits, and all is worked when there is room."""

from __future__ import annotations

import os
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from eliza_site.embedded.servers import open_run_dir
from tests.chaos.harness import Fleet, Spoken, fleet_running
from tests.chaos.site import TAKEN, Client, Site

pytestmark = [pytest.mark.fleet, pytest.mark.long]

DISK_MB = 16
FULL_SECONDS = 12.0
"""Longer than a turn's attempts would last, if each error of the disk were one."""
TABLES = ("agents_message", "agents_turn", "agents_step", "agents_modelcall", "memory_memory")
HALF = """
SELECT message.external_id FROM agents_message AS message LEFT JOIN agents_turn AS turn ON turn.message_id = message.id
WHERE message.direction = 'in' AND turn.id IS NULL
UNION ALL
SELECT reply.id::text FROM agents_message AS reply
LEFT JOIN agents_delivery AS delivery ON delivery.message_id = reply.id
WHERE reply.direction = 'out' AND delivery.id IS NULL
"""


class SmallDisk:
    """A file system of DISK_MB that can be filled."""

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="chaos-disk-"))
        mounted = subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m", "tmpfs", str(self.folder)],
            capture_output=True,
            text=True,
        )
        if mounted.returncode:
            self.folder.rmdir()
            pytest.skip(f"A file system can't be mounted here: {mounted.stderr.strip()}")
        open_run_dir(self.folder, for_postgres=True)
        self.tables = self.folder / "tables"
        self.tables.mkdir()
        self._ballast = self.folder / "ballast"

    def fill(self) -> None:
        """Leave no room at all."""
        with self._ballast.open("ab", buffering=0) as file:
            for size in (1 << 20, 4096):
                try:
                    while file.write(bytes(size)) == size:
                        pass
                except OSError:
                    continue

    def free(self) -> None:
        """Make room again."""
        self._ballast.unlink()

    def end(self) -> None:
        """Unmount it, with all that is on it."""
        subprocess.run(["umount", str(self.folder)], check=True)
        shutil.rmtree(self.folder)


@pytest.fixture(scope="module")
def disk() -> Iterator[SmallDisk]:
    """A small disk of this module's own."""
    if sys.platform != "linux" or os.geteuid() != 0:
        pytest.skip("Filling a disk takes root on Linux, to mount a small one.")
    small = SmallDisk()
    yield small
    small.end()


@pytest.fixture(scope="module")
def cramped(tmp_path_factory: pytest.TempPathFactory, disk: SmallDisk) -> Iterator[Fleet]:
    """A fleet whose messages and turns are on the small disk."""
    with fleet_running(tmp_path_factory.mktemp("disk"), workers=2, has_own_postgres=True) as running:
        assert running.postgres is not None
        running.postgres.move_tables(disk.tables, *TABLES)
        yield running


@pytest.fixture
def cramped_site(cramped: Fleet) -> Iterator[Site]:
    """That fleet's web process."""
    site = Site(cramped)
    yield site
    site.end()


def large(message: Spoken) -> Spoken:
    """Make the message so large that it hardly finds room beside others, however it is packed."""
    return replace(message, text=f"{message.text} {secrets.token_hex(3000)}")


def post(clients: list[Client], *, rounds: int) -> tuple[list[Spoken], list[tuple[Client, Spoken]]]:
    """Let each say so many things once; return what was taken, and what was refused by whom."""
    taken: list[Spoken] = []
    refused: list[tuple[Client, Spoken]] = []
    for _round in range(rounds):
        for client in clients:
            message = large(client.next_message())
            posted = client.post(message)
            if posted.status == TAKEN:
                taken.append(message)
            else:
                assert posted.status >= 500, posted
                refused.append((client, message))
    return taken, refused


def test_a_full_disk_costs_time_alone(cramped: Fleet, cramped_site: Site, disk: SmallDisk) -> None:
    fleet = cramped
    clients = [cramped_site.new_client() for _client in range(4)]
    before, none = post(clients, rounds=2)
    assert not none
    # Turns whose answers are to be stored when there is no room any more.
    fleet.model.control({"latency_ms": 1500.0})
    waiting, none = post([cramped_site.new_client() for _client in range(4)], rounds=1)
    assert not none
    disk.fill()
    fleet.model.control({"latency_ms": 0.0})
    taken, refused = post(clients, rounds=10)
    assert refused, "the disk was not full"
    time.sleep(FULL_SECONDS)
    disk.free()
    for client, message in refused:
        assert client.post(message).is_new, "what was refused had been stored"
    spoken = [*before, *waiting, *taken, *(message for _client, message in refused)]
    fleet.wait_until_over(spoken)
    verdict = fleet.verdict(spoken)
    # What was refused was said again after what was taken meanwhile: the order is the one of the lanes.
    assert not verdict.lost, verdict
    assert not verdict.doubled, verdict
    assert verdict.answered == len(spoken)
    assert fleet.sql(HALF) == []
    assert fleet.sql("SELECT 1 FROM agents_turn WHERE state = 'dead'") == []
