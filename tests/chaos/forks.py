"""Runs pytest in forks of this process, which has imported what others wrote and nothing of the product.

A run of one quick test takes a second or two of CPU instead of ten: nearly all of those went into imports.
"""

from __future__ import annotations

import importlib
import multiprocessing
import os
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

HEAVY = (
    "celery",
    "celery.app.amqp",
    "celery.fixups.django",
    "django.contrib.postgres.fields",
    "django.core.management",
    "django.core.serializers.json",
    "django.db.backends.postgresql.base",
    "django.db.models",
    "django.test",
    "django.urls",
    "hypothesis.strategies",
    "kombu.pools",
    "kombu.transport.redis",
    "numpy",
    "openai",
    "openai.types.chat",
    "prometheus_client",
    "psycopg_pool",
    "pydantic",
    "pytest",
    "redis.asyncio",
    "structlog",
)
PRODUCT = frozenset({"agents", "eliza_site", "memory", "plugins", "transports"})
ALWAYS = (
    *("-q", "--tb=short", "--reuse-db", "-p", "no:cacheprovider"),
    # The tests are named, and may be `long` ones.
    *("-m", ""),
    # Helpers of tests that were imported before pytest could rewrite their assertions.
    *("-W", "ignore::pytest.PytestAssertRewriteWarning"),
)


@dataclass(frozen=True, kw_only=True)
class Run:
    """What pytest said of some tests."""

    exit_code: int
    output: str
    seconds: float


def import_heavy() -> None:
    """Import what takes long and belongs to others."""
    for name in HEAVY:
        importlib.import_module(name)


def run_pytest(folder: Path, arguments: Sequence[str], *, is_compiling: bool, timeout_seconds: float) -> Run:
    """Run pytest in a fork, on the code in this folder; one that takes too long is killed.

    With `is_compiling`, what is compiled is kept beside the code.
    """
    loaded = PRODUCT & {name.split(".")[0] for name in sys.modules}
    assert not loaded, f"a fork would run the code of this process: {loaded}"
    started = time.monotonic()
    with tempfile.NamedTemporaryFile(mode="r", prefix="pytest-") as output:
        child = multiprocessing.get_context("fork").Process(
            target=_live, args=(folder, [*ALWAYS, *arguments], output.name, is_compiling)
        )
        child.start()
        child.join(timeout_seconds)
        if child.exitcode is None:
            child.kill()
            child.join()
        code = child.exitcode
        assert code is not None
        return Run(exit_code=code, output=output.read(), seconds=time.monotonic() - started)


def _live(folder: Path, arguments: list[str], output: str, is_compiling: bool) -> None:
    """Run pytest, and end without what an interpreter does at its end: threads that hang are no reason to wait."""
    import pytest

    descriptor = os.open(output, os.O_WRONLY | os.O_APPEND)
    for stream in (1, 2):
        os.dup2(descriptor, stream)
    sys.dont_write_bytecode = not is_compiling
    os.chdir(folder)
    os.environ |= {"PYTHONPATH": str(folder), "COLUMNS": "400"}
    sys.path[0] = str(folder)
    for name in [name for name in sys.modules if name.split(".")[0] == "tests"]:
        del sys.modules[name]
    importlib.invalidate_caches()
    code = 70
    try:
        code = int(pytest.main(arguments))
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
