"""The functions that SQLite lacks, in Python: what the site's statements ask of PostgreSQL.

Times are text, as Django keeps them: UTC, `2026-01-31 12:00:00.123456`, with or without the fraction. Both compare
as text. Intervals are seconds. Arrays are JSON. Vectors are in pgvector's binary form (four bytes of head, then single
floats, big-endian); where a queryset wrote one, it is in the text form, and `vector_binary` reads both.
"""

from __future__ import annotations

import datetime as dt
import hashlib
import json
import sqlite3
import uuid
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import numpy as np
from pgvector import Vector

Scalar = str | int | float | bytes | None


def register_functions(connection: sqlite3.Connection) -> None:
    """Make the functions known to a new connection."""
    for name, count, function in _FUNCTIONS:
        connection.create_function(name, count, function, deterministic=True)
    connection.create_function("gen_random_uuid", 0, lambda: str(uuid.uuid4()))
    connection.create_aggregate("array_agg_ordered", -1, _ArrayAgg)  # type: ignore[arg-type]
    connection.create_aggregate("array_agg_distinct", -1, _ArrayAggDistinct)  # type: ignore[arg-type]


def time_text(at: dt.datetime) -> str:
    """Write a time as it is kept."""
    return str(at.astimezone(dt.UTC).replace(tzinfo=None) if at.tzinfo else at)


def read_time(text: str) -> dt.datetime:
    """Return the time that is kept so."""
    return dt.datetime.fromisoformat(text).replace(tzinfo=dt.UTC)


def read_vector(kept: bytes | str) -> np.ndarray[Any, np.dtype[np.float32]]:
    """Return a vector as it is kept, in either form.

    Shape: (dimensions,).
    """
    if isinstance(kept, str):
        return np.array(json.loads(kept), dtype=np.float32)
    return np.frombuffer(kept, dtype=">f4", offset=4).astype(np.float32)


def vector_binary(kept: bytes | str | None) -> bytes | None:
    """Return the vector in pgvector's binary form."""
    return Vector(read_vector(kept)).to_binary() if isinstance(kept, str) else kept


def vector_text(kept: bytes) -> str:
    """Return a column's vector in pgvector's text form, whichever it is kept in."""
    return kept.decode() if kept.startswith(b"[") else Vector.from_binary(kept).to_text()


def vector_dims(kept: bytes | str | None) -> int | None:
    """Return how many numbers the vector has."""
    return None if kept is None else len(read_vector(kept))


def cosine_distance(one: bytes | str | None, other: bytes | str | None) -> float | None:
    """Return how far apart two vectors are, from 0 to 2, as pgvector's `<=>`; NULL where one has no direction."""
    if one is None or other is None:
        return None
    left, right = read_vector(one), read_vector(other)
    if len(left) != len(right):
        raise ValueError(f"different vector dimensions {len(left)} and {len(right)}")
    lengths = float(np.linalg.norm(left) * np.linalg.norm(right))
    return None if lengths == 0.0 else 1.0 - float(left @ right) / lengths


def time_add(at: str | None, seconds: float | None) -> str | None:
    """Return the time so many seconds later."""
    if at is None or seconds is None:
        return None
    return str(dt.datetime.fromisoformat(at) + dt.timedelta(seconds=seconds))


def time_difference(later: str | None, earlier: str | None) -> float | None:
    """Return the seconds between two times."""
    if later is None or earlier is None:
        return None
    return (dt.datetime.fromisoformat(later) - dt.datetime.fromisoformat(earlier)).total_seconds()


def time_epoch(at: str | None) -> float | None:
    """Return the seconds since 1970."""
    return None if at is None else read_time(at).timestamp()


def to_time(written: str | None) -> str | None:
    """Return a time that was written in ISO 8601, as it is kept."""
    return None if written is None else time_text(dt.datetime.fromisoformat(written))


def greatest(*values: Scalar) -> Scalar:
    """Return the greatest value that is not NULL."""
    return max((value for value in values if value is not None), default=None)


def least(*values: Scalar) -> Scalar:
    """Return the least value that is not NULL."""
    return min((value for value in values if value is not None), default=None)


def concat_ws(separator: str, *parts: Scalar) -> str:
    """Join what is not NULL."""
    return separator.join(str(part) for part in parts if part is not None)


def array_cat(one: str | None, other: str | None) -> str | None:
    """Return one array behind the other; NULL is an empty one."""
    if one is None or other is None:
        return other if one is None else one
    return json.dumps([*json.loads(one), *json.loads(other)], ensure_ascii=False)


def array_element(array: str | None, place: int | None) -> Scalar:
    """Return an element, counted from 0, or NULL where there is none."""
    if array is None or place is None:
        return None
    elements = json.loads(array)
    found: Scalar = elements[place] if 0 <= place < len(elements) else None
    return found


def array_slice(array: str | None, first: int | None, last: int | None) -> str | None:
    """Return the elements from one place to another, counted from 1, both included; without a last to the end."""
    if array is None or first is None:
        return None
    return json.dumps(json.loads(array)[max(first, 1) - 1 : last], ensure_ascii=False)


def array_position(array: str | None, value: Scalar) -> int | None:
    """Return the first place of a value, counted from 1."""
    elements = [] if array is None else json.loads(array)
    return elements.index(value) + 1 if value in elements else None


def array_replace(array: str | None, old: Scalar, new: Scalar) -> str | None:
    """Return the array with one value in another's place."""
    if array is None:
        return None
    return json.dumps([new if one == old else one for one in json.loads(array)], ensure_ascii=False)


def jsonb_concat(one: str | None, other: str | None) -> str | None:
    """Merge two objects, or join two lists, as PostgreSQL's `||`."""
    if one is None or other is None:
        return None
    left, right = json.loads(one), json.loads(other)
    if isinstance(left, dict) and isinstance(right, dict):
        return _written({**left, **right})
    return _written(
        [*(left if isinstance(left, list) else [left]), *(right if isinstance(right, list) else [right])]
    )


def json_contains(whole: str | None, part: str | None) -> bool | None:
    """Tell whether a value holds another, as PostgreSQL's `@>`; Django's lookup `contains` asks it by this name."""
    if whole is None or part is None:
        return None
    left, right = json.loads(whole), json.loads(part)
    return _holds(left, right) or (isinstance(left, list) and right in left)


def _holds(whole: Any, part: Any) -> bool:
    if isinstance(whole, dict) and isinstance(part, dict):
        return all(name in whole and _holds(whole[name], value) for name, value in part.items())
    if isinstance(whole, list) and isinstance(part, list):
        return all(any(_holds(held, one) for held in whole) for one in part)
    return type(whole) is type(part) and bool(whole == part)


def jsonb_exists_any(whole: str | None, keys: str | None) -> bool | None:
    """Tell whether a list or object has one of these texts as its element or key."""
    if whole is None or keys is None:
        return None
    held = json.loads(whole)
    return any(key in held for key in json.loads(keys))


def json_canonical(value: str | None) -> str | None:
    """Write a value as PostgreSQL writes a jsonb: one text for equal values."""
    return None if value is None else _written(_ordered(json.loads(value, parse_float=_number)))


def json_element(kind: str, value: Scalar) -> str | None:
    """Return an element of `json_each` as JSON."""
    if kind in ("object", "array"):
        return str(value)
    return json.dumps(bool(value) if kind in ("true", "false") else value, ensure_ascii=False)


def json_field(value: str | None, name: str) -> str | None:
    """Return an object's member as JSON; NULL where it is null or missing."""
    found = None if value is None else json.loads(value).get(name)
    return None if found is None else _written(found)


def encode(data: bytes | None, form: str) -> str | None:
    """Write bytes in hexadecimal."""
    if form != "hex":
        raise ValueError(f"bytes are written as hex, not as {form}")
    return None if data is None else data.hex()


def sha256(data: bytes | None) -> bytes | None:
    """Return the hash."""
    return None if data is None else hashlib.sha256(data).digest()


def convert_to(text: str | None, coding: str) -> bytes | None:
    """Return the bytes of a text."""
    return None if text is None else text.encode(coding)


class _ArrayAgg:
    """Collects values in the order of the keys that follow: value, whether it is JSON itself, keys."""

    def __init__(self) -> None:
        self._rows: list[tuple[tuple[Scalar, ...], Scalar]] = []

    def step(self, value: Scalar, is_json: int, *keys: Scalar) -> None:
        """Take a value."""
        self._rows.append((keys, json.loads(str(value)) if is_json and value is not None else value))

    def finalize(self) -> str | None:
        """Return the array, or NULL where there was no row."""
        if not self._rows:
            return None
        if self._rows[0][0]:
            self._rows.sort(key=lambda row: row[0])
        return _written([value for _keys, value in self._rows])


class _ArrayAggDistinct(_ArrayAgg):
    """Collects each value once, in the order of the values."""

    def finalize(self) -> str | None:
        """Return the array, or NULL where there was no row."""
        if not self._rows:
            return None
        return _written(
            [json.loads(value) for value in sorted({json.dumps(value) for _keys, value in self._rows})]
        )


def _number(written: str) -> int | float:
    """Return a number so that 1e22 is the same as its 23 digits."""
    found = float(written)
    return int(Decimal(written)) if found.is_integer() else found


def _ordered(value: Any) -> Any:
    """Order an object's keys as PostgreSQL does: the shorter ones first."""
    if isinstance(value, dict):
        names = sorted(value, key=lambda name: (len(name.encode()), name.encode()))
        return {name: _ordered(value[name]) for name in names}
    return [_ordered(one) for one in value] if isinstance(value, list) else value


def _written(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


_FUNCTIONS: list[tuple[str, int, Callable[..., Any]]] = [
    ("time_add", 2, time_add),
    ("time_difference", 2, time_difference),
    ("time_epoch", 1, time_epoch),
    ("to_time", 1, to_time),
    ("greatest", -1, greatest),
    ("least", -1, least),
    ("concat_ws", -1, concat_ws),
    ("array_cat", 2, array_cat),
    ("array_element", 2, array_element),
    ("array_slice", 3, array_slice),
    ("array_position", 2, array_position),
    ("array_replace", 3, array_replace),
    ("jsonb_concat", 2, jsonb_concat),
    ("json_contains", 2, json_contains),
    ("jsonb_exists_any", 2, jsonb_exists_any),
    ("json_canonical", 1, json_canonical),
    ("json_element", 2, json_element),
    ("json_field", 2, json_field),
    ("encode", 2, encode),
    ("sha256", 1, sha256),
    ("convert_to", 2, convert_to),
    ("vector_binary", 1, vector_binary),
    ("vector_dims", 1, vector_dims),
    ("cosine_distance", 2, cosine_distance),
    # Whoever writes has the whole database: there is nothing more to lock.
    ("pg_advisory_xact_lock", 1, lambda _key: None),
    ("hashtextextended", 2, lambda _text, _seed: 0),
]
