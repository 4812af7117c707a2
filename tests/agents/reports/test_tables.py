"""Tables of reports: elsewhere than at a terminal, plain columns that stand below one another."""

from __future__ import annotations

from io import StringIO

from rich.console import Console

from agents.reports.tables import FOLDED_CHARACTERS, Row, print_table


def printed(columns: Row, *rows: Row) -> list[str]:
    out = StringIO()
    print_table(Console(file=out, highlight=False), "Steps", columns, rows)
    return out.getvalue().splitlines()[2:]


def test_columns_are_as_wide_as_what_is_folded_and_numbers_stand_at_the_right() -> None:
    long = "x" * FOLDED_CHARACTERS
    assert printed(
        ("step", ">ms", "input", "output"), ("act", "7.5", long, "a"), ("reply", "1007.5", "b", "c")
    ) == [
        f"step       ms  {'input':<160}  output",
        f"act       7.5  {long}  a",
        f"reply  1007.5  {'b':<160}  c",
    ]


def test_signs_that_are_two_columns_wide_count_so() -> None:
    assert printed(("who", "text"), ("愛子", "hello"), ("Ann", "hi")) == [
        "who   text",
        "愛子  hello",
        "Ann   hi",
    ]


def test_what_is_longer_than_a_fold_moves_its_own_line_alone() -> None:
    whole = "x" * (FOLDED_CHARACTERS + 1)
    assert printed(("text", "error"), (whole, "a"), ("", "b")) == [
        f"{'text':<160}  error",
        f"{whole}  a",
        f"{'':<160}  b",
    ]
