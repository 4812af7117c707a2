from __future__ import annotations

import json
import logging
import traceback
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog
from django.conf import settings
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpResponse
from django.test import Client, RequestFactory

from eliza_site import logs
from eliza_site.celery import app

Written = Callable[[], list[dict[str, Any]]]


@pytest.fixture
def written(capsys: pytest.CaptureFixture[str]) -> Iterator[Written]:
    """Log as JSON at `info`, and read what was written."""
    logs.configure({"level": "info", "format": "json"})
    yield lambda: [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    structlog.contextvars.clear_contextvars()
    logs.configure(settings.LOGGING)


def test_own_and_foreign_lines_have_one_shape(written: Written) -> None:
    structlog.get_logger("agents.somewhere").warning("cup_fell", height=2)
    logging.getLogger("uvicorn.error").info("started %s", "well")
    ours, foreign = written()
    assert (ours["event"], ours["level"], ours["logger"], ours["height"]) == (
        "cup_fell",
        "warning",
        "agents.somewhere",
        2,
    )
    assert (foreign["event"], foreign["level"], foreign["logger"]) == (
        "started well",
        "info",
        "uvicorn.error",
    )
    assert ours["timestamp"].endswith("Z")


def test_a_traceback_is_part_of_its_line_and_shows_no_variables(written: Written) -> None:
    try:
        hidden = "what a person said"
        raise ValueError(f"no key sk-{'a' * 20} for {len(hidden)}")
    except ValueError:
        structlog.get_logger("agents.x").exception("failed")
    (line,) = written()
    assert "ValueError: no key [redacted]" in line["exception"]
    assert "what a person said" not in line["exception"].replace('hidden = "what a person said"', "")


def test_what_a_server_says_can_not_make_the_log_a_binary_file(written: Written) -> None:
    structlog.get_logger("agents.x").warning(
        "turn_put_back", error="oops \x00\x1b[31m \ud800\x9b", why=["\x07"]
    )
    (line,) = written()
    assert (line["error"], line["why"]) == ("oops \ufffd\ufffd[31m \ufffd\ufffd", ["\ufffd"])


def test_beat_says_in_one_line_that_the_broker_is_away(written: Written) -> None:
    try:
        raise ConnectionError("refused")
    except ConnectionError as error:
        logging.getLogger("celery.beat").error(
            "Message Error: %s\n%s", error, traceback.format_stack(), exc_info=True
        )
    (line,) = written()
    assert line["event"] == "Message Error: refused"
    assert "exception" not in line


def test_a_foreign_host_header_costs_one_line_without_a_stack(written: Written, client: Client) -> None:
    response = client.get("/healthz/nothing", headers={"host": "scanner.example"})

    assert response.status_code == 400
    (line,) = [line for line in written() if line["logger"] == "django.security.DisallowedHost"]
    assert "scanner.example" in line["event"]
    assert "exception" not in line
    assert "\n" not in line["event"]


@pytest.mark.parametrize(
    "name",
    [
        "api_key",
        "OPENAI_API_KEY",
        "secret",
        "client_secret",
        "access_token",
        "password",
        "Authorization",
        "cookies",
    ],
)
def test_values_go_by_the_name_of_their_key(name: str) -> None:
    line = logs.redact(None, "", {"event": "x", name: "harmless looking", "inner": {name: ["a", "b"]}})
    assert line[name] == "[redacted]"
    assert line["inner"] == {name: "[redacted]"}


def test_counts_and_fencing_tokens_stay() -> None:
    line = {"event": "x", "token": 7, "input_tokens": "12", "max_tokens": "512", "lane": "0199-ab"}
    assert logs.redact(None, "", dict(line)) == line


@pytest.mark.parametrize(
    ("text", "redacted"),
    [
        ("key sk-proj-abcdefgh12345678 used", "key [redacted] used"),
        ("Authorization: Bearer abc.def-123456", "Authorization: [redacted]"),
        ("from redis://:s3cret@host:6379/0", "from redis://[redacted]@host:6379/0"),
        ("POST /bot123456789:AAF-abcdefghijklmnopqrstuvwxyz012345/send", "POST /bot[redacted]/send"),
        ("mail ann.lee+x@mail.example.org now", "mail [mail] now"),
        ("call +49 30 1234567 or (555) 123-4567 or 555-123-4567.", "call [phone] or [phone] or [phone]."),
        ("at 2026-11-23 09:33:11.123456+00:00", None),
        ("turn 01936b5e-7c1a-7f3e-9d2b-0123456789ab took 120.5 s on 192.168.100.200:5432", None),
    ],
)
def test_values_go_by_how_they_look(text: str, redacted: str | None) -> None:
    shown = logs.redact_text(text)
    assert shown.startswith(redacted or text)
    assert "AAF-" not in shown


def test_what_people_said_is_never_logged(written: Written) -> None:
    structlog.get_logger("agents.x").warning("odd", text="my secret wish", answer="yes")
    (line,) = written()
    assert (line["text"], line["answer"]) == ("[14 characters]", "[3 characters]")


def test_at_info_celerys_lines_for_each_wake_up_are_left_out(written: Written) -> None:
    logging.getLogger("celery.app.trace").info("Task succeeded")
    logging.getLogger("celery.worker.strategy").info("Task received")
    logging.getLogger("httpx2").info("HTTP Request")
    structlog.get_logger("agents.x").debug("detail")
    assert written() == []


@pytest.mark.parametrize("level", ["trace", "debug", "info", "warn", "error", "fatal", "INFO"])
@pytest.mark.usefixtures("written")
def test_every_name_of_a_level_works(level: str) -> None:
    logs.configure({"level": level, "format": "console"})
    assert logging.getLogger("openai").getEffectiveLevel() >= logging.INFO
    assert logging.getLogger("celery.app.trace").isEnabledFor(logging.INFO) == (level == "trace")
    assert logging.getLogger("agents.x").isEnabledFor(logging.DEBUG) == (level in ("trace", "debug"))


@pytest.mark.parametrize("choice", [{"level": "loud", "format": "json"}, {"level": "info", "format": "xml"}])
def test_a_wrong_choice_names_the_value_and_the_cure(choice: dict[str, str]) -> None:
    with pytest.raises(ImproperlyConfigured, match=r"LOG_LEVEL='loud'.*debug|LOG_FORMAT='xml'.*console"):
        logs.configure(choice)


def test_a_request_binds_its_id_and_tells_it(written: Written) -> None:
    def respond(_request: Any) -> HttpResponse:
        structlog.get_logger("agents.x").warning("seen")
        return HttpResponse()

    given = logs.correlate(respond)(RequestFactory().get("/", headers={"X-Request-ID": "abcdef-123"}))
    made = logs.correlate(respond)(RequestFactory().get("/", headers={"X-Request-ID": "bad\nid"}))
    first, second = written()
    assert first["request_id"] == given.headers["X-Request-ID"] == "abcdef-123"
    assert second["request_id"] == made.headers["X-Request-ID"] != "bad\nid"
    assert structlog.contextvars.get_contextvars() == {}


def test_a_task_binds_its_id_while_it_runs(written: Written) -> None:
    @app.task(name="tests.log_a_line")
    def log_a_line() -> None:
        structlog.get_logger("agents.x").warning("worked")

    try:
        result = log_a_line.apply()
    finally:
        app.tasks.pop("tests.log_a_line")
    line = next(line for line in written() if line["event"] == "worked")
    assert (line["task"], line["task_id"]) == ("tests.log_a_line", result.id)
    assert structlog.contextvars.get_contextvars() == {}
