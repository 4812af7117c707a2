"""What a value may be: nothing that does anything when it is read."""

from __future__ import annotations

import os
import pickle
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from eliza_site.cache.pickles import UntrustedValue, dump, load, load_again
from tests.eliza_site.cache.conftest import MakeCache


class Colour(StrEnum):
    RED = "red"


@dataclass
class Thing:
    name: str = "x"


class Runs:
    def __reduce__(self) -> Any:
        return os.system, ("true",)


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary()
VALUES = st.recursive(
    SCALARS | st.datetimes() | st.uuids() | st.decimals(allow_nan=False) | st.frozensets(st.integers()),
    lambda inner: st.lists(inner) | st.tuples(inner, inner) | st.dictionaries(SCALARS, inner),
    max_leaves=20,
)


@hypothesis_settings(max_examples=300, deadline=None)
@given(VALUES)
def test_plain_values_come_back_as_they_were(value: Any) -> None:
    data = dump(value)
    if isinstance(data, bytes):
        assert load(data) == load_again(data) == value
        assert type(load(data)) is type(value)
    else:
        assert load(str(data).encode()) == data == value


@pytest.mark.parametrize(
    "value", [Thing(), Thing, Colour.RED, os.system, Path("/"), Runs(), [Runs()], {"a": (Thing(),)}, object()]
)
def test_others_are_refused_when_they_are_set(make_cache: MakeCache, value: Any) -> None:
    cache = make_cache()
    for keep in (
        lambda: cache.set("key", value),
        lambda: cache.add("key", value),
        lambda: cache.set_many({"good": 1, "key": value}),
        lambda: cache.get_or_set("key", value if not callable(value) else lambda: value),
    ):
        with pytest.raises(UntrustedValue, match=r"The cache keeps no [\w.]+: give it plain values"):
            keep()
    assert cache.get_many(["key", "good"]) == {}
    assert cache.get_or_set("key", lambda: "later") == "later", "a refusal leaves no lease behind"


@pytest.mark.parametrize(
    "data",
    [
        pickle.dumps(Runs()),
        pickle.dumps(Runs(), protocol=0),
        pickle.dumps(os.system),
        b"\x80\x05cos\nsystem\n(S'true'\ntR.",
        b"\x80\x04\x8c\x08builtins\x8c\x04eval\x93\x8c\x011\x85R.",
        b"\x80\x04\x8c\x08datetime\x8c\x0bsys.modules\x93.",
        b"\x80\x05garbage",
        b"",
        b"not a number",
    ],
)
def test_nothing_else_is_ever_read(
    make_cache: MakeCache, data: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(os, "system", lambda command: pytest.fail("a value ran"))
    with pytest.raises(UntrustedValue):
        load(data)
    cache = make_cache()
    cache.levels.far._client.set(cache.levels.far.value_prefix + cache.make_key("key"), data)
    assert cache.get("key", "default") == "default"
    assert cache.get_many(["key"]) == {}
    assert cache.get_or_set("other", lambda: 1) == 1
