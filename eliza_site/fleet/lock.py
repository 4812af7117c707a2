"""One fleet a run directory."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from eliza_site.fleet.errors import FleetError


@contextmanager
def hold_lock(run_dir: Path) -> Iterator[None]:
    """Hold the run directory for this process; the kernel lets it go when the process ends, however it ends.

    Raises: FleetError that names the process that holds it.
    """
    path = run_dir / "lock"
    with path.open("a+") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            file.seek(0)
            holder = file.read().strip() or "unknown"
            raise FleetError(
                f"A fleet already runs in {run_dir} (process {holder}). Stop it with Ctrl-C or "
                f"`kill {holder}`, or set RUN_DIR and PORT, FLOWER_PORT, MODEL_PORT for a second one."
            ) from None
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield
