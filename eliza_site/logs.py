"""Logs: everybody's lines in one shape, bound to the request or task that they belong to, without secrets.

Django calls `configure` with `settings.LOGGING`, and so does Celery (`eliza_site.celery`). Our own loggers are
structlog's; those of Django, Celery and uvicorn are the standard library's, and are written by the same chain.
What people said is never logged: whoever needs it looks into the turn.
"""

from __future__ import annotations

import logging
import logging.config
import re
import sys
import uuid
from collections.abc import Callable, Mapping, MutableMapping
from functools import lru_cache
from typing import Any

import structlog
from django.core.exceptions import ImproperlyConfigured
from django.http import HttpRequest, HttpResponse

from eliza_site.log_errors import OWN, hide_words

LEVELS = {
    # With `debug` our own code speaks up; with `trace` every library does too.
    "trace": logging.DEBUG,
    "debug": logging.DEBUG,
    "info": logging.INFO,
    "warn": logging.WARNING,
    "warning": logging.WARNING,
    "error": logging.ERROR,
    "fatal": logging.CRITICAL,
    "critical": logging.CRITICAL,
}

QUIET = (
    "celery.app.trace",  # "Task … succeeded", for every wake-up
    "celery.worker.strategy",  # "Task … received"
    "celery.beat",  # "Sending due task", every few seconds
    "httpx2",  # a line a request
    "openai",
    "psycopg.pool",  # a line for each connection taken and given back
)
"""Loggers whose information is noise: they begin at a warning, unless `trace` is asked for."""

TALKATIVE = ("django.db.backends", "openai", "httpx2")
"""Loggers whose debugging lines hold what people said: they never begin below information."""

STACKLESS = ("django.security.DisallowedHost", "celery.beat")
"""Loggers whose stack says nothing: whoever is outside makes the first speak, by a foreign Host header; the second
says at every tick that the broker is away. One line each.
"""

Event = MutableMapping[str, Any]


class StandardError(logging.Handler):
    """Writes to whatever standard error is at that moment: commands keep standard output for answers."""

    def emit(self, record: logging.LogRecord) -> None:
        """Write one line, or a line with its traceback below."""
        try:
            sys.stderr.write(self.format(record) + "\n")
        except Exception:  # as every handler: a line that can't be written must not stop the work
            self.handleError(record)


def drop_stack(record: logging.LogRecord) -> bool:
    """Take a line's stack away and let it pass: a filter where the stack is always the same and says nothing.

    Celery's beat writes a second one as an argument, below the first line of its message.
    """
    record.exc_info = record.exc_text = None
    first, is_more, _ = str(record.msg).partition("\n")
    if is_more and isinstance(record.args, tuple):
        record.msg, record.args = first, record.args[: first.count("%s")]
    return True


def configure(choice: Mapping[str, str]) -> None:
    """Configure structlog and logging by `level` and `format`.

    Raises: ImproperlyConfigured, naming the value and the cure.
    """
    level_name, renderers = choice["level"].strip().lower(), _renderers(choice["format"].strip().lower())
    if level_name not in LEVELS:
        raise ImproperlyConfigured(f"LOG_LEVEL={choice['level']!r} is none of {', '.join(LEVELS)}.")
    level = LEVELS[level_name]
    common: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    structlog.configure(
        # A line below the level costs a call of a function that does nothing.
        wrapper_class=structlog.make_filtering_bound_logger(level),
        logger_factory=structlog.stdlib.LoggerFactory(),
        processors=[*common, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        cache_logger_on_first_use=True,
    )
    formatter = {
        "()": structlog.stdlib.ProcessorFormatter,
        "foreign_pre_chain": common,
        "processors": [
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            hide_words,
            redact,
            *renderers,
        ],
    }
    handler = {"()": StandardError, "formatter": "all"}
    logging.config.dictConfig(
        {
            "version": 1,
            "disable_existing_loggers": False,
            "formatters": {"all": formatter},
            "filters": {"stackless": {"()": lambda: drop_stack}},
            "handlers": {"all": handler},
            "root": {"handlers": ["all"], "level": level},
            "loggers": _loggers(level_name, level),
        }
    )


def _loggers(level_name: str, level: int) -> dict[str, Any]:
    """Return the levels of single loggers; those that bring handlers of their own lose them."""
    foreign = max(level, logging.INFO) if level_name != "trace" else level
    loggers: dict[str, Any] = {
        name: {"level": foreign, "handlers": [], "propagate": True}
        for name in ("django", "django.server", "celery", "uvicorn", "uvicorn.error")
    }
    # Its lines are visitors' addresses and what they searched for. What `--no-access-log` did is undone by dictConfig.
    loggers["uvicorn.access"] = {"handlers": [], "propagate": False}
    loggers |= {name: {"level": level} for name in OWN}
    loggers |= {name: {"filters": ["stackless"]} for name in STACKLESS}
    loggers |= {name: {"level": max(level, logging.INFO)} for name in TALKATIVE}
    if level_name != "trace":
        loggers |= {name: {**loggers.get(name, {}), "level": max(level, logging.WARNING)} for name in QUIET}
        loggers |= {name: {"level": foreign} for name in ("kombu", "amqp", "asyncio", "psycopg")}
    return loggers


def _renderers(format_name: str) -> list[Any]:
    if format_name == "json":
        return [
            structlog.processors.EventRenamer("event"),
            structlog.processors.JSONRenderer(default=str, ensure_ascii=False),
        ]
    if format_name == "console":
        plain = structlog.dev.plain_traceback
        return [structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=plain)]
    raise ImproperlyConfigured(f"LOG_FORMAT={format_name!r} is neither 'console' nor 'json'.")


# Redaction ---------------------------------------------------------------------------------------------------

REDACTED = "[redacted]"

_SECRET_NAME = re.compile(
    r"(key|secret|token|password|passwd|authorization|cookie|credential)s?$", re.IGNORECASE
)
_COUNT_NAME = re.compile(r"(^|_)(max|min|input|output|total|count)?_?tokens$", re.IGNORECASE)
_TEXT_NAMES = frozenset({"answer", "body", "content", "prompt", "prompts", "reply", "text", "texts"})

_SECRETS = re.compile(
    r"""(?x)
    \b (?:sk|pk|rk)-[A-Za-z0-9_-]{8,}                     # keys of model servers
    | (?i:\b bearer) \s+ [A-Za-z0-9._~+/=-]{6,}
    | (?<= ://) [^/\s:@]* : [^/\s@]+ (?= @)               # the name and password of an address
    | (?<! \d ) \d{6,12} : [A-Za-z0-9_-]{30,}                  # a Telegram bot's token
    | \b eyJ[A-Za-z0-9_-]{8,} (?: \.[A-Za-z0-9_-]+ )+     # a signed token (JWT)
    """
)
_MAIL = re.compile(r"[A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)*\.[A-Za-z]{2,}")
_PHONE = re.compile(
    r"""(?x) (?<! [\w.+:-] )
    (?: \+ \d (?: [\s().-]{0,2} \d ){7,14}                # +49 30 1234567
      | \( \d{3} \) \s? \d{3} [\s.-] \d{4}                # (555) 123-4567
      | \d{3} ([\s.-]) \d{3} \1 \d{4}                     # 555-123-4567
    ) (?! [\w:-] )"""
)


def redact(_logger: Any, _method: str, event: Event) -> Event:
    """Take secrets, addresses and people's words out of a line."""
    for name, value in event.items():
        if isinstance(value, str | bytes | Mapping | list | tuple | set | frozenset | Exception):
            event[name] = _redacted(name, value)
    return event


def redact_text(text: str) -> str:
    """Return the text without what looks like a key, a mail address or a telephone number."""
    if "-" in text or ":" in text or "earer" in text.lower() or "eyJ" in text:
        text = _SECRETS.sub(REDACTED, text)
    if "@" in text:
        text = _MAIL.sub("[mail]", text)
    if "+" in text or _PHONE_HINT.search(text):
        text = _PHONE.sub("[phone]", text)
    return text


_UNPRINTABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")
_PHONE_HINT = re.compile(r"\d{3}\)?[\s.-]\s?\d")


def _redacted(name: str, value: Any) -> Any:
    if _is_secret(name):
        return REDACTED if value else value
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        return f"[{len(value)} characters]" if name in _TEXT_NAMES else redact_text(_printable(value))
    if isinstance(value, Mapping):
        return {key: _redacted(str(key), inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [_redacted(name, inner) for inner in value]
    if isinstance(value, Exception):
        return redact_text(_printable(f"{type(value).__name__}: {value}"))
    return value


def _printable(text: str) -> str:
    """Return the text without what would break a log's lines or make it a binary file."""
    return text if text.isprintable() else _UNPRINTABLE.sub("\ufffd", text)


@lru_cache(maxsize=1024)
def _is_secret(name: str) -> bool:
    return bool(_SECRET_NAME.search(name)) and not _COUNT_NAME.search(name)


# What a line belongs to --------------------------------------------------------------------------------------

REQUEST_ID_HEADER = "X-Request-ID"
_REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{8,64}")


def correlate(respond: Callable[[HttpRequest], HttpResponse]) -> Callable[[HttpRequest], HttpResponse]:
    """Bind each line of a request to its id, and tell the id to whoever asked: a Django middleware."""

    def middleware(request: HttpRequest) -> HttpResponse:
        given = request.headers.get(REQUEST_ID_HEADER, "")
        request_id = given if _REQUEST_ID.fullmatch(given) else uuid.uuid4().hex
        with structlog.contextvars.bound_contextvars(request_id=request_id):
            response = respond(request)
        response.headers.setdefault(REQUEST_ID_HEADER, request_id)
        return response

    return middleware


def bind_task(task_id: str, name: str) -> None:
    """Bind each line of this thread to a task, until `forget_task`."""
    structlog.contextvars.clear_contextvars()
    structlog.contextvars.bind_contextvars(task=name, task_id=task_id)


def forget_task() -> None:
    """Bind this thread's lines to nothing."""
    structlog.contextvars.clear_contextvars()
