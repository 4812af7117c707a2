"""Dates that are said, read as spans of days."""

from __future__ import annotations

import datetime as dt

import pytest
from hypothesis import given
from hypothesis import strategies as st

from memory.dates import find_spans

NOW = dt.datetime(2026, 5, 6, 15, 30, tzinfo=dt.UTC)  # a Wednesday


def spans(text: str, now: dt.datetime = NOW) -> list[tuple[str, str]]:
    return [(f"{span.start:%Y-%m-%d}", f"{span.end:%Y-%m-%d}") for span in find_spans(text, now)]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("on 7 May 2023", ("2023-05-07", "2023-05-08")),
        ("on May 7th, 2023", ("2023-05-07", "2023-05-08")),
        ("on the 7th of May, 2023", ("2023-05-07", "2023-05-08")),
        ("in May 2023", ("2023-05-01", "2023-06-01")),
        ("in December 2023", ("2023-12-01", "2024-01-01")),
        ("on 2023-05-07", ("2023-05-07", "2023-05-08")),
        ("in 2023-05", ("2023-05-01", "2023-06-01")),
        ("am 7.5.2023", ("2023-05-07", "2023-05-08")),
        ("in 2023", ("2023-01-01", "2024-01-01")),
        ("last May", ("2025-05-01", "2025-06-01")),
        ("last March", ("2026-03-01", "2026-04-01")),
        ("last summer", ("2025-06-01", "2025-09-01")),
        ("in the summer of 2022", ("2022-06-01", "2022-09-01")),
        ("yesterday", ("2026-05-05", "2026-05-06")),
        ("last week", ("2026-04-27", "2026-05-04")),
        ("last weekend", ("2026-05-02", "2026-05-04")),
        ("last month", ("2026-04-01", "2026-05-01")),
        ("last year", ("2025-01-01", "2026-01-01")),
        ("last Wednesday", ("2026-04-29", "2026-04-30")),
        ("two days ago", ("2026-05-04", "2026-05-05")),
        ("3 weeks ago", ("2026-04-12", "2026-04-19")),
        ("a month ago", ("2026-04-01", "2026-05-01")),
        ("a couple of years ago", ("2024-01-01", "2025-01-01")),
    ],
)
def test_a_date_is_read(text: str, expected: tuple[str, str]) -> None:
    assert spans(f"What happened {text}?") == [expected]


def test_a_month_without_a_year_is_that_of_each_of_the_last_ten_years() -> None:
    found = spans("What did we do in June?")
    assert len(found) == 10
    assert found[0] == ("2025-06-01", "2025-07-01")
    assert spans("What did we do in April?")[0] == ("2026-04-01", "2026-05-01")
    assert spans("What happened on 29 February?") == [
        ("2024-02-29", "2024-03-01"),
        ("2020-02-29", "2020-03-01"),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "May I ask you something?",
        "You may march on.",
        "On 45 May 2023?",
        "on 2023-13-40",
        "Jan and Mar said so",
        "in the spring of joy",
        "page 2023",
        "How are you today, and this week?",
        "See you on Monday!",
        "What will be on 7 May 2030?",
        "99999999999999999999 weeks ago",
    ],
)
def test_what_is_no_date_is_left_out(text: str) -> None:
    assert spans(text) == []


def test_several_dates_are_found_newest_first() -> None:
    assert spans("Between 3 May 2022 and 7 May 2023?") == [
        ("2023-05-07", "2023-05-08"),
        ("2022-05-03", "2022-05-04"),
    ]


@given(text=st.text(max_size=80), years=st.integers(1, 9000))
def test_no_text_and_no_day_is_an_error(text: str, years: int) -> None:
    now = dt.datetime(years, 2, 28, tzinfo=dt.UTC)
    for words in (text, f"{text} 3 years ago, last May, 29 Feb {text}, in June, last winter, 9 weeks ago"):
        assert all(span.start < span.end for span in find_spans(words, now))
