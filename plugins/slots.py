"""Schedules and their slots: the arithmetic of cron expressions, intervals and single times, in plain Python.

A schedule is a cron expression of five fields in UTC, or `every SECONDS`, or `once`. The calendar, the
scheduler and the loader's validation ask here.
"""

from __future__ import annotations

import datetime as dt
import math
import re

from croniter import croniter
from croniter.croniter import CroniterBadDateError, CroniterError

ONCE = "once"
MINIMUM_INTERVAL_SECONDS = 1.0
MAXIMUM_INTERVAL_SECONDS = 10 * 366 * 86_400.0
_EVERY = re.compile(r"every\s+(?P<seconds>\S+)", re.IGNORECASE)
_CURE = "Write a cron expression in UTC such as '0 9 * * 1', or 'every 300' (seconds), or 'once'."


class BadSchedule(ValueError):
    """The schedule cannot be read, or never comes."""


def check_schedule(schedule: str) -> None:
    """Refuse a schedule that cannot be read or never comes.

    Raises: BadSchedule, naming the value and the cure.
    """
    next_slot(schedule, dt.datetime(2024, 1, 1, tzinfo=dt.UTC))


def next_slot(schedule: str, after: dt.datetime, *, since: dt.datetime | None = None) -> dt.datetime | None:
    """Return the first slot after `after`, or None for `once`, which has its one slot given with it.

    The slots of an interval are counted from `since`, so that a late run does not shift those to come.

    Raises: BadSchedule, naming the value and the cure; ValueError where a time has no zone.
    """
    if after.tzinfo is None or (since is not None and since.tzinfo is None):
        raise ValueError(f"{after} has no time zone. Give aware datetimes.")
    if not isinstance(schedule, str) or not schedule.strip():
        raise BadSchedule(f"The schedule {schedule!r} is empty. {_CURE}")
    text = schedule.strip()
    if text.lower() == ONCE:
        return None
    interval = _EVERY.fullmatch(text)
    if interval:
        return _next_of_interval(_seconds(text, interval["seconds"]), after, since or after)
    return _next_of_cron(text, after)


def _seconds(schedule: str, written: str) -> float:
    try:
        seconds = float(written)
    except ValueError:
        seconds = math.nan
    if not MINIMUM_INTERVAL_SECONDS <= seconds <= MAXIMUM_INTERVAL_SECONDS:
        raise BadSchedule(
            f"The schedule {schedule!r} has no interval from {MINIMUM_INTERVAL_SECONDS:g} second"
            f" to ten years. {_CURE}"
        )
    return seconds


def _next_of_interval(seconds: float, after: dt.datetime, since: dt.datetime) -> dt.datetime:
    step = dt.timedelta(seconds=seconds)
    if since > after:
        return since
    return since + ((after - since) // step + 1) * step


def _next_of_cron(expression: str, after: dt.datetime) -> dt.datetime:
    if len(expression.split()) != 5:
        raise BadSchedule(f"The schedule {expression!r} is not five fields. {_CURE}")
    try:
        slot: dt.datetime = croniter(expression, after.astimezone(dt.UTC)).get_next(dt.datetime)
    except CroniterBadDateError as error:
        raise BadSchedule(f"The schedule {expression!r} names a day that never comes. {_CURE}") from error
    except (CroniterError, ValueError) as error:
        raise BadSchedule(f"The schedule {expression!r} cannot be read ({error}). {_CURE}") from error
    return slot
