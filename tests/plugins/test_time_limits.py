from __future__ import annotations

import sys
import threading
import time

import pytest
import structlog
from django.db import connection

from plugins.time_limits import TimeLimitExceeded, call_within, while_wanted


def test_what_is_returned_and_raised_comes_through() -> None:
    assert call_within(5, divmod, 7, 2) == (3, 1)
    assert call_within(5, int, "ff", base=16) == 255
    with pytest.raises(ZeroDivisionError):
        call_within(5, lambda: 1 / 0)


def test_a_plugin_that_exits_costs_that_call_only() -> None:
    with pytest.raises(RuntimeError, match="SystemExit: 3"):
        call_within(5, sys.exit, 3)


def test_hanging_calls_keep_nobody_waiting() -> None:
    free = threading.Event()
    try:
        for _ in range(100):
            with pytest.raises(TimeLimitExceeded, match=r"wait took longer than 0\.001 s"):
                call_within(0.001, free.wait)
        started = time.perf_counter()
        assert call_within(5, lambda: "served") == "served"
        assert time.perf_counter() - started < 1
    finally:
        free.set()


class Unwanted(Exception):
    """Nobody wants the result any more."""


def test_a_call_that_nobody_wants_any_more_is_left() -> None:
    free, looks = threading.Event(), []

    def go_on() -> None:
        looks.append(1)
        if len(looks) > 1:
            raise Unwanted

    try:
        with while_wanted(go_on), pytest.raises(Unwanted):
            call_within(60, free.wait)
        assert call_within(60, lambda: "wanted") == "wanted"
        with while_wanted(lambda: None), pytest.raises(TimeLimitExceeded):
            call_within(0.01, free.wait)
    finally:
        free.set()


def test_threads_are_used_again() -> None:
    def here() -> int:
        return threading.get_ident()

    assert len({call_within(5, here) for _ in range(50)}) < 10


def test_what_the_log_is_bound_to_is_known_inside_and_stays_there() -> None:
    with structlog.contextvars.bound_contextvars(turn="t1"):
        assert call_within(5, structlog.contextvars.get_contextvars) == {"turn": "t1"}
    assert call_within(5, structlog.contextvars.get_contextvars) == {}


@pytest.mark.django_db(transaction=True)
def test_the_threads_connection_is_given_back_and_the_callers_not_held() -> None:
    def ask() -> object:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        return connection

    connection.ensure_connection()
    used = call_within(5, ask)
    assert used.connection is None  # type: ignore[attr-defined]
    assert connection.connection is None
