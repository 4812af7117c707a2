"""Errors in logs: kind and place always, words only where they are nobody's."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
import structlog
from django.conf import settings
from django.db import DatabaseError, transaction
from django.db import connection as database

from agents.lanes import Fenced
from agents.llm.base import ModelError, ModelFailure
from eliza_site import logs
from transports.base import TransportError

Written = Callable[[], list[dict[str, Any]]]
WORD = "zqword"


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Iterator[Written]:
    logs.configure({"level": "debug", "format": "json"})
    yield lambda: [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    structlog.contextvars.clear_contextvars()
    logs.configure(settings.LOGGING)


def log_raised(error: Exception, **bound: Any) -> None:
    with structlog.contextvars.bound_contextvars(**bound):
        try:
            raise error
        except Exception as raised:
            structlog.get_logger("agents.x").exception("failed", error=raised)


SHOWN = [
    Fenced("Lane 7 is no longer held by token 3."),
    ConnectionRefusedError(111, "Connection refused"),
    redis.ConnectionError("Error 111 connecting to a socket."),
    ModelError("http://m cannot be reached.", failure=ModelFailure.UNREACHABLE),
]
HIDDEN = [
    ValueError(f"can't read {WORD!r}"),
    KeyError(WORD),
    ModelError(f"http://m answered 400: {WORD}", failure=ModelFailure.REFUSED, quotes_others=True),
    ModelError(f"http://m sent {WORD}", failure=ModelFailure.GARBAGE),
    TransportError(f"400: {WORD}"),
]


@pytest.mark.parametrize("error", SHOWN, ids=lambda error: type(error).__name__)
def test_words_of_our_own_code_and_of_connections_are_shown_in_a_turns_line(
    written: Written, error: Exception
) -> None:
    log_raised(error, turn="t1")
    (line,) = written()
    assert str(error) in line["error"]
    assert str(error) in line["exception"]


@pytest.mark.parametrize("error", HIDDEN, ids=lambda error: f"{type(error).__name__}{str(error)[:9]}")
@pytest.mark.parametrize("bound", ["turn", "conversation", "delivery", "task_id", "request_id"])
def test_words_of_others_are_counted_in_a_line_that_is_somebodys(
    written: Written, error: Exception, bound: str
) -> None:
    log_raised(error, **{bound: "x"})
    (line,) = written()
    assert WORD not in json.dumps(line)
    assert type(error).__name__ in line["error"]
    assert "characters]" in line["error"]
    assert "test_log_errors.py" in line["exception"], "the place is there"


def test_elsewhere_foreign_words_are_shown_and_quotations_are_not(written: Written) -> None:
    log_raised(ValueError("PORT is 'x'"))
    log_raised(TransportError(f"400: {WORD}"))
    first, second = written()
    assert "ValueError: PORT is 'x'" in first["exception"]
    assert WORD not in json.dumps(second)


def test_what_is_behind_an_error_is_told_with_its_place_and_not_its_words(written: Written) -> None:
    def wrap() -> None:
        try:
            raise ValueError(WORD)
        except ValueError as error:
            raise Fenced("Lost.") from error

    with structlog.contextvars.bound_contextvars(turn="t1"):
        try:
            wrap()
        except Fenced:
            structlog.get_logger("agents.x").exception("failed")
    (line,) = written()
    shown = line["exception"]
    assert WORD not in shown
    assert shown.index("ValueError: [6 characters]") < shown.index("direct cause") < shown.index("Lost.")
    assert shown.count("Traceback (most recent call last):") == 2


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("statement", "kept"),
    [
        (f"SELECT '{WORD}'::uuid", "DataError: ["),
        (f"INSERT INTO agents_person (id, name) VALUES (gen_random_uuid(), '{WORD}')", "null value in column"),
        (f"INSERT INTO agents_world VALUES (gen_random_uuid(), 'p', '{WORD}', '', now()), (gen_random_uuid(), 'p',"
         f" '{WORD}', '', now())", "one_world_a_platform_id"),
    ],
)  # fmt: skip
def test_of_the_databases_errors_no_row_is_shown(written: Written, statement: str, kept: str) -> None:
    with (
        pytest.raises(DatabaseError, match=WORD) as raised,
        transaction.atomic(),
        database.cursor() as cursor,
    ):
        cursor.execute(statement)
    structlog.get_logger("agents.x").error("failed", error=raised.value, exc_info=raised.value)
    (line,) = [line for line in written() if line["event"] == "failed"]
    assert WORD not in line["error"]
    assert kept in line["error"]
    assert f"'{WORD}'" not in line["exception"].replace(statement, "")


def test_a_string_that_an_error_was_made_to_is_counted(written: Written) -> None:
    with structlog.contextvars.bound_contextvars(turn="t1"):
        structlog.get_logger("agents.x").warning("failed", error=f"ValueError: bad {WORD}")
        structlog.get_logger("agents.x").warning("failed", error=f"bad {WORD}")
    structlog.get_logger("agents.x").warning("failed", error="no port")
    assert [line["error"] for line in written()] == [
        "ValueError: [10 characters]",
        "[10 characters]",
        "no port",
    ]


def test_a_librarys_own_line_loses_them_too(written: Written) -> None:
    with structlog.contextvars.bound_contextvars(task_id="t1"):
        try:
            raise ValueError(WORD)
        except ValueError as error:
            logging.getLogger("celery.app.trace").error("Task x raised unexpected: %r", error, exc_info=True)
    (line,) = written()
    assert WORD not in json.dumps(line)
    assert line["event"] == "Task x raised unexpected: ValueError: [6 characters]"
