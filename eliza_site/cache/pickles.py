"""What a cached value may be, and how it becomes bytes: pickles of a few types that are trusted, and of no other.

A pickle runs what it names when it is read, so whoever can write to the server could run code in every process.
Reading is therefore held to types whose making does nothing but make them. JSON would be as safe, but turns
tuples into lists, keys into texts, and knows neither dates nor UUIDs: callers would get back something else than
they gave.
"""

from __future__ import annotations

import datetime as dt
import io
import pickle
from collections import OrderedDict
from decimal import Decimal
from typing import Any
from uuid import UUID

from django.utils.safestring import SafeString

TRUSTED = frozenset(
    {
        *(dt.datetime, dt.date, dt.time, dt.timedelta, dt.timezone),
        *(UUID, Decimal, complex, bytearray, OrderedDict),
        # What Django's template tag `cache` keeps.
        SafeString,
    }
)
"""Besides None, bool, int, float, str, bytes, and list, tuple, dict, set, frozenset of trusted values."""

PLAIN = frozenset({type(None), bool, int, float, str, bytes})
"""What no caller can change, and so may be handed to all of them as it is."""

_NAMES = {(known.__module__, known.__qualname__): known for known in TRUSTED}
_FIRST_BYTE = b"\x80"


class UntrustedValue(TypeError):
    """A value that the cache does not keep, or does not read; the text names its type and the cure."""


class _Writer(pickle.Pickler):
    def reducer_override(self, obj: Any) -> Any:
        """Refuse what is neither built in nor trusted; pickle asks for no other types."""
        if type(obj) in TRUSTED or (isinstance(obj, type) and obj in TRUSTED):
            return NotImplemented
        raise UntrustedValue(
            f"The cache keeps no {type(obj).__module__}.{type(obj).__qualname__}: "
            "give it plain values (numbers, texts, dates, UUIDs, lists, dicts), or a text made of it."
        )


class _Reader(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        """Refuse every name but those of trusted types."""
        try:
            return _NAMES[module, name]
        except KeyError:
            raise UntrustedValue(f"A cached value names {module}.{name}, which is not trusted.") from None


def dump(value: Any) -> int | bytes:
    """Make bytes of a value. An int stays one: the server counts with it.

    Raises: UntrustedValue.
    """
    if type(value) is int:
        return value
    buffer = io.BytesIO()
    _Writer(buffer, pickle.HIGHEST_PROTOCOL).dump(value)
    return buffer.getvalue()


def load(data: bytes) -> Any:
    """Make the value of bytes that came from the server.

    Raises: UntrustedValue where they name another type, or are no value at all.
    """
    if data[:1] != _FIRST_BYTE:
        try:
            return int(data)
        except ValueError:
            raise UntrustedValue("A cached value is neither a pickle nor a number.") from None
    try:
        return _Reader(io.BytesIO(data)).load()
    except UntrustedValue:
        raise
    except Exception as error:  # bytes that are no pickle fail in any way
        raise UntrustedValue(f"A cached value cannot be read: {type(error).__name__}.") from error


def load_again(data: bytes) -> Any:
    """Make a new copy of a value whose bytes `load` has read before; quicker, for it looks at no name."""
    return pickle.loads(data)  # noqa: S301 — these very bytes were read under guard
