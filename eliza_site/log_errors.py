"""How errors stand in logs: with their kind and place always, with their words only where these are nobody's.

An error may quote what it could not work with: a person's message, a model's prompt, a row. Shown are the words of
errors of our own code, of connections and of the operating system. Those of all others are only counted in lines
that belong to somebody's turn, conversation, request or task; the turn's trace has them whole (`show_turn`).
`eliza_site.logs` has each line pass through here.
"""

from __future__ import annotations

import re
import sys
import traceback
from collections.abc import MutableMapping
from typing import Any

Event = MutableMapping[str, Any]

OWN = frozenset({"eliza_site", "transports", "plugins", "agents", "memory"})
BOUND = frozenset({"turn", "conversation", "delivery", "run_id", "event_id", "task", "task_id", "request_id"})
"""Fields that say that a line belongs to work on what somebody said."""

_CAUSE = "\nThe above exception was the direct cause of the following exception:\n\n"
_CONTEXT = "\nDuring handling of the above exception, another exception occurred:\n\n"
_KIND = re.compile(r"[A-Za-z_][\w.]*(?=: )")
_DATA_EXCEPTION = "22"
"""The class of PostgreSQL's errors whose first line quotes a value."""


def hide_words(_logger: Any, _method: str, event: Event) -> Event:
    """Write the line's errors without words that may be a person's: a processor of structlog's."""
    is_bound = not BOUND.isdisjoint(event)
    error = _error_of(event.pop("exc_info", None))
    if error is not None:
        event["exception"] = traceback_of(error, is_bound=is_bound)
        event["event"] = _without(str(event.get("event", "")), error, is_bound=is_bound)
    for name, value in event.items():
        if isinstance(value, BaseException):
            event[name] = shown_error(value, is_bound=is_bound)
        elif is_bound and name == "error" and isinstance(value, str):
            # A string has lost what it came from; where it begins with a kind, that is shown.
            event[name] = _counted(value)
    return event


def shown_error(error: BaseException, *, is_bound: bool) -> str:
    """Return the error in one line, with its words where they may be shown.

    An error that says `quotes_others` has words of a server's, or of a text that was read, in its own.
    """
    from django.db import Error

    kind = _kind_of(error)
    words = str(error)
    if isinstance(error, Error):
        # What follows the first line is the row, or the statement with its values.
        words = words.splitlines()[0] if words else ""
        state = getattr(error.__cause__, "sqlstate", None) or ""
        is_shown = not state.startswith(_DATA_EXCEPTION)
    elif getattr(error, "quotes_others", False):
        is_shown = False
    else:
        is_shown = not is_bound or _is_plain(error)
    if not words:
        return kind
    return f"{kind}: {words}" if is_shown else f"{kind}: [{len(words)} characters]"


def traceback_of(error: BaseException, *, is_bound: bool) -> str:
    """Return the error with its stack, and the errors behind it, as Python writes them, values never."""
    parts: list[str] = []
    _add(error, parts, set(), is_bound=is_bound)
    return "".join(parts).rstrip("\n")


def _add(error: BaseException, parts: list[str], seen: set[int], *, is_bound: bool) -> None:
    seen.add(id(error))
    behind = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    if behind is not None and id(behind) not in seen:
        _add(behind, parts, seen, is_bound=is_bound)
        parts.append(_CAUSE if behind is error.__cause__ else _CONTEXT)
    if error.__traceback__ is not None:
        parts.append("Traceback (most recent call last):\n")
        parts += traceback.format_tb(error.__traceback__)
    parts.append(f"{shown_error(error, is_bound=is_bound)}\n")


def _without(text: str, error: BaseException, *, is_bound: bool) -> str:
    """Return a library's line about an error without the words that the error itself is not shown with."""
    shown = shown_error(error, is_bound=is_bound)
    for words in (repr(error), str(error)):
        if words and words not in shown:
            text = text.replace(words, shown)
    return text


def _is_plain(error: BaseException) -> bool:
    """Tell whether the error is one of our own, or of a kind that tells of connections, files and limits."""
    import redis
    from kombu.exceptions import OperationalError

    module = type(error).__module__
    return module.split(".")[0] in OWN or isinstance(error, OSError | redis.RedisError | OperationalError)


def _counted(text: str) -> str:
    kind = _KIND.match(text)
    return f"{kind[0]}: [{len(text) - kind.end() - 2} characters]" if kind else f"[{len(text)} characters]"


def _kind_of(error: BaseException) -> str:
    kind = type(error)
    name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
    failure = getattr(error, "failure", None)
    return f"{name} ({failure})" if failure else name


def _error_of(exc_info: Any) -> BaseException | None:
    if isinstance(exc_info, BaseException):
        return exc_info
    if isinstance(exc_info, tuple):
        found: BaseException | None = exc_info[1]
        return found
    return sys.exc_info()[1] if exc_info else None
