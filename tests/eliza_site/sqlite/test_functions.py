"""The functions that stand for PostgreSQL's."""

from __future__ import annotations

import datetime as dt
import json
import sqlite3
from typing import Any

import pytest

from eliza_site.sqlite import functions


@pytest.fixture
def ask() -> Any:
    """Ask a connection that knows the functions."""
    connection = sqlite3.connect(":memory:")
    functions.register_functions(connection)
    yield lambda sql, *values: connection.execute(f"SELECT {sql}", values).fetchone()[0]
    connection.close()


def test_times_are_kept_as_text_that_compares_as_they_do() -> None:
    whole = dt.datetime(2026, 1, 31, 12, tzinfo=dt.UTC)
    later = whole + dt.timedelta(microseconds=1)
    east = whole.astimezone(dt.timezone(dt.timedelta(hours=9)))
    assert functions.time_text(whole) == functions.time_text(east) == "2026-01-31 12:00:00"
    assert functions.time_text(whole) < functions.time_text(later)
    assert functions.read_time(functions.time_text(later)) == later


@pytest.mark.parametrize(
    ("sql", "found"),
    [
        ("time_add('2026-01-31 23:59:59.5', 0.75)", "2026-02-01 00:00:00.250000"),
        ("time_add('2026-01-31 00:00:01', -1)", "2026-01-31 00:00:00"),
        ("time_add(NULL, 1)", None),
        ("time_difference('2026-01-02 00:00:00', '2026-01-01 00:00:00.5')", 86399.5),
        ("time_epoch('1970-01-02 00:00:00')", 86400.0),
        ("to_time('2026-01-31T12:00:00+09:00')", "2026-01-31 03:00:00"),
        ("greatest(1, NULL, 3)", 3),
        ("greatest(NULL, NULL)", None),
        ("least('b', NULL, 'a')", "a"),
        ("concat_ws('-', 'a', NULL, 'b')", "a-b"),
        ("array_cat('[1]', '[2]')", "[1, 2]"),
        ("array_cat(NULL, '[2]')", "[2]"),
        ("array_slice('[1,2,3]', 1, 2)", "[1, 2]"),
        ("array_slice('[1,2,3]', 3, NULL)", "[3]"),
        ("array_slice('[1,2,3]', 4, NULL)", "[]"),
        ("array_element('[1,2]', 1)", 2),
        ("array_element('[1,2]', 2)", None),
        ("array_position('[\"a\",\"b\"]', 'b')", 2),
        ("array_replace('[\"a\",\"b\"]', 'b', 'c')", '["a", "c"]'),
        ("""jsonb_concat('{"a":1,"b":1}', '{"b":2}')""", '{"a": 1, "b": 2}'),
        ("jsonb_concat('[1]', '[2]')", "[1, 2]"),
        ("json_contains('[1,2]', '[2]')", 1),
        ("json_contains('[1]', '[2]')", 0),
        ("json_contains('[1]', '1')", 1),
        ("""json_contains('{"a":{"b":[1,2]},"c":3}', '{"a":{"b":[2]}}')""", 1),
        ("""json_contains('{"a":{"b":[1,2]}}', '{"a":{"b":[3]}}')""", 0),
        ("""jsonb_exists_any('["a"]', '["b","a"]')""", 1),
        ("""json_field('{"a":null}', 'a')""", None),
        ("""json_field('{"a":"x"}', 'a')""", '"x"'),
        ("substr(encode(sha256(convert_to('', 'UTF8')), 'hex'), 1, 8)", "e3b0c442"),
        ("cosine_distance('[1,0]', '[0,1]')", 1.0),
        ("cosine_distance('[1,0]', '[0,0]')", None),
        ("vector_dims(vector_binary('[1,0,0]'))", 3),
    ],
)  # fmt: skip
def test_a_function_answers_as_postgresql_does(ask: Any, sql: str, found: Any) -> None:
    assert ask(sql) == found


@pytest.mark.parametrize(
    ("first", "second", "are_same"),
    [
        ('{"b":1,"a":2}', '{"a":2, "b":1}', True),
        ('{"aa":1,"b":2}', '{"b":2,"aa":1}', True),
        ("1e22", "10000000000000000000000", True),
        ("9007199254740993", "9007199254740992", False),
        ('{"a":null}', "{}", False),
        ('"é"', '"\\u00e9"', True),
    ],
)
def test_equal_values_are_written_as_one_text(first: str, second: str, are_same: bool) -> None:
    assert (functions.json_canonical(first) == functions.json_canonical(second)) is are_same


def test_vectors_are_the_same_in_either_form() -> None:
    text = "[0.1,-2,3.25]"
    binary = functions.vector_binary(text)
    assert isinstance(binary, bytes)
    assert list(functions.read_vector(binary)) == list(functions.read_vector(text))
    assert functions.vector_text(text.encode()) == text
    assert functions.vector_dims(binary) == 3


def test_values_are_collected_in_their_order_and_none_makes_null(ask: Any) -> None:
    rows = "(SELECT 2 AS place, 'b' AS name UNION ALL SELECT 1, 'a' UNION ALL SELECT 3, 'a')"
    assert ask(f"array_agg_ordered(name, 0, place) FROM {rows}") == '["a", "b", "a"]'
    assert ask(f"array_agg_distinct(name, 0) FROM {rows}") == '["a", "b"]'
    assert ask(f"array_agg_ordered(name, 0) FROM {rows} WHERE false") is None
    assert json.loads(ask("""array_agg_ordered('{"a": [1]}', 1)""")) == [{"a": [1]}]
