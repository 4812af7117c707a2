import datetime as dt

import pytest

from plugins.slots import BadSchedule, check_schedule, next_slot

NOON = dt.datetime(2026, 3, 2, 12, 0, tzinfo=dt.UTC)


def test_cron_is_read_in_utc_whatever_the_zone_of_the_argument():
    berlin = dt.timezone(dt.timedelta(hours=2))
    assert next_slot("0 13 * * *", NOON.astimezone(berlin)) == NOON.replace(hour=13)
    assert next_slot("0 9 * * 1", NOON) == dt.datetime(2026, 3, 9, 9, tzinfo=dt.UTC)


def test_the_next_slot_lies_after_and_never_at():
    assert next_slot("0 12 * * *", NOON) == NOON + dt.timedelta(days=1)
    assert next_slot("every 60", NOON, since=NOON) == NOON + dt.timedelta(minutes=1)


def test_an_interval_keeps_its_beat_when_it_was_late():
    since = NOON - dt.timedelta(seconds=250)
    assert next_slot("every 60", NOON, since=since) == since + dt.timedelta(seconds=300)
    assert next_slot("every 0.5e2", NOON) == NOON + dt.timedelta(seconds=50)


def test_once_has_no_next_slot():
    assert next_slot("once", NOON) is None


@pytest.mark.parametrize(
    "schedule",
    ["", "  ", "every", "every x", "every 0", "every -5", "every nan", "every inf", "every 1e30", "* * * *",
     "* * * * * *", "61 * * * *", "0 0 30 2 *", "@daily", "twice", "a b c d e"],
)  # fmt: skip
def test_a_bad_schedule_is_named_with_the_cure(schedule):
    with pytest.raises(BadSchedule, match="Write a cron expression") as caught:
        check_schedule(schedule)
    assert repr(schedule.strip() or schedule) in str(caught.value)


def test_a_time_without_a_zone_is_refused():
    with pytest.raises(ValueError, match="time zone"):
        next_slot("once", dt.datetime(2026, 1, 1))
