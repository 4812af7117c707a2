"""Runs a plugin's function within its time limit. Celery's thread pool knows no limits, so this is it."""

from __future__ import annotations

import concurrent.futures
from collections.abc import Callable
from functools import cache
from typing import TypeVar

from django.db import connection

T = TypeVar("T")

PLUGIN_THREADS = 64


class TimeLimitPassed(Exception):
    """A function did not return within its limit; it is left behind, and what it returns is dropped."""


@cache
def _executor() -> concurrent.futures.ThreadPoolExecutor:
    return concurrent.futures.ThreadPoolExecutor(max_workers=PLUGIN_THREADS, thread_name_prefix="plugin")


def call_within(seconds: float, function: Callable[[], T], *, what: str) -> T:
    """Call the function on another thread and wait for it so long.

    Unit: seconds.
    Raises: TimeLimitPassed; whatever the function raises.
    """
    future = _executor().submit(_call, function)
    try:
        return future.result(timeout=seconds)
    except concurrent.futures.TimeoutError as error:
        if future.done():
            raise
        future.cancel()
        raise TimeLimitPassed(f"{what} did not return within {seconds:g} s.") from error


def _call(function: Callable[[], T]) -> T:
    try:
        return function()
    finally:
        connection.close()
