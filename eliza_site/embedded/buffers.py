"""How much memory the embedded PostgreSQL keeps its pages in."""

from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import psutil

LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
"""Where a container's limit stands, of the second and the first version of control groups."""
SHARE = 8
LEAST_MB, MOST_MB = 128, 8192
MIB = 1024 * 1024


def shared_buffers(limits: Sequence[Path] = LIMITS) -> str:
    """Choose `shared_buffers`: one part in SHARE of what this machine or container has, within bounds.

    The index of a million vectors has 1.1 GB; in 128 MB, half of what a recall reads of it is not there. Workers
    and a model live on the same machine, so it is less than the quarter that a server of its own would be given.
    """
    memory = min([psutil.virtual_memory().total, *_limits(limits)])
    return f"{min(MOST_MB, max(LEAST_MB, memory // SHARE // MIB))}MB"


def _limits(files: Sequence[Path]) -> list[int]:
    told = []
    for file in files:
        with suppress(OSError):
            told.append(file.read_text().strip())
    return [int(limit) for limit in told if limit.isdecimal()]
