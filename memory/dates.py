"""Dates that are said in a question: "on 7 May 2023", "last May", "yesterday", "2023-05-07". Plain Python.

`memory.questions` calls it. Words are read in English; dates in digits in any language.
"""

from __future__ import annotations

import calendar
import datetime as dt
import re
from collections.abc import Iterator
from dataclasses import dataclass

MONTHS = tuple(calendar.month_name)[1:]
WEEKDAYS = tuple(calendar.day_name)
SEASONS = {"spring": 3, "summer": 6, "autumn": 9, "fall": 9, "winter": 12}
"""The month that each begins with, on the northern half of the earth."""
_TO_TEN = ("one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten")
NUMBERS = {word: number for number, word in enumerate(_TO_TEN, 1)}
NUMBERS |= {"a": 1, "an": 1, "couple of": 2, "a couple of": 2, "few": 3, "a few": 3}
YEARS_BACK = 10
"""A month without its year is any of these last years'."""

_MONTH = "|".join(f"{name}|{name[:3]}" for name in MONTHS)
_SHORT = {name[:3].lower(): number for number, name in enumerate(MONTHS, 1)}
_DAY = r"(?P<{}>\d{{1,2}})(?:st|nd|rd|th)?"
_YEAR = r"(?:19|20)\d\d"
_UNIT = r"day|week|month|year"
_NUMBER = "|".join(sorted(NUMBERS, key=len, reverse=True))
_PATTERNS = tuple(
    (name, re.compile(pattern, re.IGNORECASE))
    for name, pattern in (
        ("iso", rf"\b(?P<year>{_YEAR})-(?P<month>\d\d)(?:-(?P<day>\d\d))?\b"),
        ("dotted", rf"\b(?P<day>\d{{1,2}})\.\s?(?P<month>\d{{1,2}})\.\s?(?P<year>{_YEAR})\b"),
        (
            "month",
            rf"(?:\b{_DAY.format('day')}(?: of)?,? )?\b(?P<last>last )?(?P<name>{_MONTH})\b\.?"
            rf"(?: {_DAY.format('day_after')}\b(?![:.]\d))?(?:,? (?:of )?(?P<year>{_YEAR}))?\b",
        ),
        (
            "season",
            rf"\b(?P<last>last |this )?(?P<name>{'|'.join(SEASONS)})\b(?: of)?(?: (?P<year>{_YEAR}))?",
        ),
        ("relative", rf"\b(?:last|past) (?P<unit>{_UNIT}|weekend)\b"),
        ("weekday", rf"\b(?:last|past) (?P<name>{'|'.join(WEEKDAYS)})\b"),
        ("ago", rf"\b(?P<number>\d+|{_NUMBER}) (?P<unit>{_UNIT})s? ago\b"),
        ("day", r"\b(?:yesterday|last night)\b"),
        ("year", rf"\b(?:in|of|during|since|year) (?P<year>{_YEAR})\b"),
    )
)

_MAY_NAME = re.compile(rf"\d|\b(?:last|past|ago|yesterday|{_MONTH})\b", re.IGNORECASE)
"""Without any of it a text names no date: most don't."""


@dataclass(frozen=True, kw_only=True)
class Span:
    """From `start` on, and before `end`."""

    start: dt.datetime
    end: dt.datetime


def find_spans(text: str, now: dt.datetime) -> tuple[Span, ...]:
    """Find the days, months and years before `now` that the text names, newest first.

    A month without a year is that of each of the last ten years; a day is one of `now`'s time zone. What can't be a
    date is left out, and so are "today" and "on Monday", which tell in a chat of what is and will be.
    """
    if not _MAY_NAME.search(text):
        return ()
    found: list[Span] = []
    taken: list[tuple[int, int]] = []
    for kind, pattern in _PATTERNS:
        for match in pattern.finditer(text):
            # "7 May 2023" is no year besides.
            if any(start < match.end() and match.start() < end for start, end in taken):
                continue
            spans = list(_spans(kind, match, now))
            if spans:
                taken.append(match.span())
                found += spans
    past = {span for span in found if span.start <= now}
    return tuple(sorted(past, key=lambda span: span.start, reverse=True))


def _spans(kind: str, match: re.Match[str], now: dt.datetime) -> Iterator[Span]:
    parts = match.groupdict()
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    try:
        if kind in ("iso", "dotted"):
            day = int(parts["day"]) if parts["day"] else None
            yield _calendar_span(today, int(parts["year"]), int(parts["month"]), day)
        elif kind == "month":
            yield from _month_spans(match, today)
        elif kind == "season":
            yield from _season_spans(parts, today)
        elif kind == "relative":
            yield _relative_span(parts, today)
        elif kind == "weekday":
            back = (today.weekday() - WEEKDAYS.index(parts["name"].capitalize())) % 7 or 7
            yield _days(today - dt.timedelta(days=back), 1)
        elif kind == "ago":
            yield _ago_span(parts, today)
        elif kind == "day":
            yield _days(today - dt.timedelta(days=1), 1)
        else:
            yield _calendar_span(today, int(parts["year"]), None, None)
    except (ValueError, OverflowError):
        return


def _month_spans(match: re.Match[str], today: dt.datetime) -> Iterator[Span]:
    parts = match.groupdict()
    name, number = parts["name"], _SHORT[parts["name"][:3].lower()]
    written = parts["day"] or parts["day_after"]
    day = int(written) if written else None
    is_sure = bool(day or parts["year"] or parts["last"])
    # "may" and "march" are words of their own, which a capital within a sentence tells from the months; "Jan"
    # and "Mar" are names, too.
    is_month = (
        name[0].isupper() and match.start("name") > 0 if name.lower() in ("may", "march") else len(name) > 3
    )
    if not (is_sure or is_month):
        return
    if parts["year"]:
        yield _calendar_span(today, int(parts["year"]), number, day)
        return
    newest = today.year if number <= today.month else today.year - 1
    if parts["last"] and number == today.month:
        newest -= 1
    for year in range(newest, newest - (1 if parts["last"] else YEARS_BACK), -1):
        try:
            yield _calendar_span(today, year, number, day)
        except ValueError:
            # 29 February, in most years.
            continue


def _season_spans(parts: dict[str, str | None], today: dt.datetime) -> Iterator[Span]:
    # "spring" and "fall" are words of their own: a season needs its "last" or its year.
    if not (parts["last"] or parts["year"]):
        return
    month = SEASONS[(parts["name"] or "").lower()]
    year = int(parts["year"]) if parts["year"] else today.year - (month > today.month)
    start = today.replace(year=year, month=month, day=1)
    yield Span(start=start, end=_months_later(start, 3))


def _relative_span(parts: dict[str, str | None], today: dt.datetime) -> Span:
    unit = (parts["unit"] or "").lower()
    monday = today - dt.timedelta(days=today.weekday())
    if unit == "day":
        return _days(today - dt.timedelta(days=1), 1)
    if unit == "week":
        return _days(monday - dt.timedelta(days=7), 7)
    if unit == "weekend":
        return _days(monday - dt.timedelta(days=2), 2)
    if unit == "month":
        start = _months_later(today.replace(day=1), -1)
        return Span(start=start, end=_months_later(start, 1))
    return _calendar_span(today, today.year - 1, None, None)


def _ago_span(parts: dict[str, str | None], today: dt.datetime) -> Span:
    words = (parts["number"] or "").lower()
    number = int(words) if words.isdecimal() else NUMBERS[words]
    unit = (parts["unit"] or "").lower()
    if unit == "day":
        return _days(today - dt.timedelta(days=number), 1)
    if unit == "week":
        return _days(today - dt.timedelta(days=7 * number + 3), 7)
    if unit == "month":
        start = _months_later(today.replace(day=1), -number)
        return Span(start=start, end=_months_later(start, 1))
    return _calendar_span(today, today.year - number, None, None)


def _calendar_span(today: dt.datetime, year: int, month: int | None, day: int | None) -> Span:
    start = today.replace(year=year, month=month or 1, day=day or 1)
    if day:
        return _days(start, 1)
    return Span(start=start, end=_months_later(start, 1 if month else 12))


def _days(start: dt.datetime, count: int) -> Span:
    return Span(start=start, end=start + dt.timedelta(days=count))


def _months_later(start: dt.datetime, count: int) -> dt.datetime:
    months = start.year * 12 + start.month - 1 + count
    return start.replace(year=months // 12, month=months % 12 + 1)
