"""What Django's documentation promises of every cache, held against both levels and the far one alone."""

from __future__ import annotations

import asyncio
import datetime as dt
import sys
import time
from decimal import Decimal
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.core.cache.backends.base import CacheKeyWarning
from django.utils.safestring import SafeString, mark_safe

from tests.eliza_site.cache.conftest import MakeCache, Twice, wait_for

VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -5,
    2**70,
    1.5,
    "",
    "42",
    "ünïcode 你好 🙂",
    b"\x80\x00bytes",
    b"42",
    [],
    [1, [2, {"three": (4, 5)}]],
    (1, "2"),
    {"a": {1: None}},
    {1, 2},
    frozenset({"x"}),
    bytearray(b"abc"),
    3 + 4j,
    dt.datetime(2026, 5, 1, 12, tzinfo=dt.UTC),
    dt.datetime(2026, 5, 1, 12, tzinfo=dt.timezone(dt.timedelta(hours=2), "Rome")),
    dt.date(2026, 5, 1),
    dt.time(1, 2),
    dt.timedelta(days=1, microseconds=3),
    Decimal("1.10"),
    UUID(int=2**127 + 5),
]


@pytest.mark.parametrize("value", VALUES, ids=lambda value: repr(value)[:30])
def test_a_value_comes_back_equal_and_of_its_type(cache: Any, value: Any) -> None:
    cache.set("key", value)
    found = cache.get("key", "nothing")
    assert found == value
    assert type(found) is type(value)
    assert cache.get_many(["key"]) == {"key": value}


def test_a_safe_text_stays_safe(cache: Any) -> None:
    cache.set("key", mark_safe("<b>"))
    assert isinstance(cache.get("key"), SafeString)


def test_what_is_not_there_is_the_default(cache: Any) -> None:
    assert cache.get("gone") is None
    assert cache.get("gone", "x") == "x"
    assert cache.get("gone", default=7) == 7
    assert not cache.has_key("gone")
    assert "gone" not in cache
    assert cache.get_many(["gone"]) == {}


def test_a_kept_none_is_a_value(cache: Any) -> None:
    cache.set("none", None)
    assert cache.get("none", "x") is None
    assert "none" in cache
    assert cache.get_many(["none", "gone"]) == {"none": None}
    assert cache.add("none", 1) is False
    assert cache.get_or_set("none", 1) is None


def test_set_goes_over_what_was_there(cache: Any) -> None:
    for value in ("one", "two", ["three"]):
        cache.set("key", value)
        assert cache.get("key") == value


def test_add_sets_only_what_is_not_there(cache: Any) -> None:
    assert cache.add("key", "first") is True
    assert cache.add("key", "second") is False
    assert cache.get("key") == "first"
    cache.delete("key")
    assert cache.add("key", "third") is True
    assert cache.get("key") == "third"


def test_many_are_set_and_got_together(cache: Any) -> None:
    assert cache.set_many({"a": 1, "b": [2], "c": None}) == []
    assert cache.get_many(["a", "b", "c", "d"]) == {"a": 1, "b": [2], "c": None}
    assert cache.get_many(key for key in ("a", "d")) == {"a": 1}
    assert cache.get_many([]) == {}
    assert cache.set_many({}) == []


def test_a_great_many_go_at_once(cache: Any) -> None:
    values = {f"key{number}": number for number in range(3000)}
    cache.set_many(values)
    assert cache.get_many(values) == values
    cache.delete_many(values)
    assert cache.get_many(values) == {}


def test_delete_tells_whether_there_was_one(cache: Any) -> None:
    cache.set("key", 1)
    cache.get("key")
    assert cache.delete("key") is True
    assert cache.delete("key") is False
    assert cache.get("key") is None


def test_many_are_deleted_together(cache: Any) -> None:
    cache.set_many({"a": 1, "b": 2, "c": 3})
    cache.get_many(["a", "b", "c"])
    cache.delete_many(["a", "b", "gone"])
    cache.delete_many([])
    cache.delete_many(key for key in ("none",))
    assert cache.get_many(["a", "b", "c"]) == {"c": 3}


def test_a_number_is_counted_up_and_down(cache: Any) -> None:
    cache.set("number", 41)
    assert cache.get("number") == 41
    assert cache.incr("number") == 42
    assert cache.get("number") == 42
    assert cache.incr("number", 10) == 52
    assert cache.decr("number", 2) == 50
    assert cache.incr("number", -60) == -10
    assert cache.get("number") == -10


def test_what_is_no_number_or_not_there_is_not_counted(cache: Any) -> None:
    cache.set_many({"text": "x", "flag": True, "most": 2**63 - 1})
    for key in ("gone", "text", "flag", "most"):
        with pytest.raises(ValueError, match=f"{key}"):
            cache.incr(key)
    with pytest.raises(ValueError, match="gone"):
        cache.decr("gone")
    assert cache.get("text") == "x"


def test_counting_keeps_the_time_to_live(cache: Any) -> None:
    cache.set("number", 1, timeout=0.4)
    assert cache.incr("number") == 2
    wait_for(lambda: cache.get("number") is None, "a counted number lives on")


@pytest.mark.parametrize("timeout", [0, -1, -0.5])
def test_no_time_to_live_is_none_at_all(cache: Any, timeout: float) -> None:
    cache.set("key", "old")
    cache.set("key", "new", timeout=timeout)
    assert cache.get("key") is None
    assert cache.add("key", "x", timeout=timeout) is True
    assert cache.get("key") is None
    cache.set("kept", 1)
    assert cache.add("kept", 2, timeout=timeout) is False
    assert cache.touch("kept", timeout) is True
    assert cache.get("kept") is None
    cache.set_many({"a": 1}, timeout=timeout)
    assert cache.get("a") is None
    assert cache.get_or_set("b", lambda: 3, timeout=timeout) == 3
    assert cache.get_or_set("b", 4, timeout=timeout) == 4
    assert cache.get("b") is None


def test_a_value_ends_with_its_time_near_and_far(cache: Any) -> None:
    cache.set("key", "value", timeout=0.3)
    assert cache.get("key") in ("value", None)
    # The server's clock goes by whole milliseconds, and ends a value after its last one.
    time.sleep(0.32)
    assert cache.get("key") is None
    assert "key" not in cache


def test_a_timeout_may_be_long_or_none(cache: Any) -> None:
    for timeout in (None, 60 * 60 * 24 * 365, sys.maxsize, 100.2):
        cache.set("key", "eggs", timeout=timeout)
        assert cache.get("key") == "eggs"
        assert cache.add("key", "ham", timeout=timeout) is False
        cache.set_many({"a": 1}, timeout=timeout)
        assert cache.touch("a", timeout) is True
        assert cache.get("a") == 1
        cache.delete("key")


def test_the_default_timeout_is_the_settings(make_cache: MakeCache) -> None:
    cache = make_cache(params={"TIMEOUT": 1})
    cache.set("key", 1)
    cache.set("longer", 1, timeout=60)
    assert cache.add("added", 1) is True
    wait_for(lambda: cache.get("key") is None and cache.get("added") is None, "the default does not end")
    assert cache.get("longer") == 1
    forever = make_cache(params={"TIMEOUT": None})
    forever.set("key", 1)
    assert forever.levels.far.read([forever.make_key("key")])[0][1] is None


def test_touch_lets_a_value_live_longer_or_shorter(cache: Any) -> None:
    cache.set("key", "value", timeout=0.4)
    assert cache.touch("key", 60) is True
    time.sleep(0.4)
    assert cache.get("key") == "value"
    assert cache.touch("key", None) is True
    assert cache.touch("key", None) is True
    assert cache.touch("key") is True
    assert cache.touch("key", 0.2) is True
    wait_for(lambda: cache.get("key") is None, "a shorter life is not heeded")
    assert cache.touch("key", 60) is False
    assert cache.touch("key", None) is False


def test_versions_are_apart(cache: Any, make_cache: MakeCache) -> None:
    second = make_cache(type(cache), params={"VERSION": 2}, NEAR_ENTRIES=cache._shape.near_entries)
    cache.set("key", 1)
    cache.set("key", 2, version=2)
    assert (cache.get("key"), cache.get("key", version=2)) == (1, 2)
    assert (second.get("key"), second.get("key", version=1)) == (2, 1)
    assert cache.get_many(["key"], version=2) == {"key": 2}
    second.set_many({"other": 5})
    assert cache.get("other") is None
    assert cache.has_key("other", version=2)
    cache.delete("key", version=2)
    assert second.get("key") is None
    assert cache.get("key") == 1
    second.delete_many(["key"], version=1)
    assert cache.get("key") is None


def test_a_version_is_counted_up_and_down(cache: Any) -> None:
    cache.set("key", "spam", version=2)
    assert cache.incr_version("key", version=2) == 3
    assert (cache.get("key", version=2), cache.get("key", version=3)) == (None, "spam")
    assert cache.decr_version("key", version=3) == 2
    assert (cache.get("key", version=2), cache.get("key", version=3)) == ("spam", None)
    cache.set("null", None)
    assert cache.incr_version("null") == 2
    for count in (cache.incr_version, cache.decr_version):
        with pytest.raises(ValueError, match="gone"):
            count("gone")


def test_prefixes_are_apart(cache: Any, make_cache: MakeCache) -> None:
    other = make_cache(type(cache), params={"KEY_PREFIX": "other"}, NEAR_ENTRIES=cache._shape.near_entries)
    cache.set("key", 1)
    assert other.get("key") is None
    other.set("key", 2)
    assert (cache.get("key"), other.get("key")) == (1, 2)


def test_a_key_function_names_the_keys(make_cache: MakeCache) -> None:
    def name(key: str, prefix: str, version: int) -> str:
        return f"CUSTOM-{prefix}-{version}-{key}"

    cache = make_cache(Twice, params={"KEY_FUNCTION": name, "KEY_PREFIX": "p"})
    cache.set("key", 1)
    assert cache.levels.far.exists("CUSTOM-p-1-key")
    assert cache.get("key") == 1
    assert cache.invalidate_pattern("k*") == 1


def test_keys_need_not_be_texts(cache: Any) -> None:
    cache.set_many({1: "one", 2.5: "number", "ключ": "key"})
    assert cache.get(1) == "one"
    assert cache.get_many([1, 2.5, "ключ"]) == {1: "one", 2.5: "number", "ключ": "key"}


@pytest.mark.parametrize("key", ["key with spaces", "a" * 251, "control\x01"])
def test_keys_that_other_caches_would_refuse_are_warned_of_each_time(cache: Any, key: str) -> None:
    for call in (
        lambda: cache.set(key, 1),
        lambda: cache.get(key),
        lambda: cache.get_many([key]),
        lambda: cache.set_many({key: 1}),
        lambda: cache.incr(key),
        lambda: cache.touch(key),
        lambda: cache.add(key, 1),
        lambda: cache.has_key(key),
        lambda: cache.get_or_set(key, 1),
        lambda: cache.delete(key),
        lambda: cache.delete_many([key]),
    ):
        with pytest.warns(CacheKeyWarning):
            call()


def test_clear_deletes_the_cache_and_nothing_else(cache: Any, make_cache: MakeCache) -> None:
    other = make_cache(NAMESPACE=f"tests:{uuid4().hex}")
    other.set("foreign", 1)
    prefixed = make_cache(type(cache), params={"KEY_PREFIX": "p"}, NEAR_ENTRIES=cache._shape.near_entries)
    prefixed.set("key", 1)
    cache.set_many({"a": 1, "b": 2})
    cache.set("c", 3, version=7)
    cache.get_many(["a", "b"])
    cache.clear()
    assert cache.get_many(["a", "b"]) == {}
    assert cache.get("c", version=7) is None
    assert prefixed.get("key") is None
    assert other.get("foreign") == 1
    cache.clear()


def test_get_or_set_sets_what_is_not_there(cache: Any) -> None:
    assert cache.get_or_set("value", "spam") == "spam"
    assert cache.get_or_set("value", "ham") == "spam"
    assert cache.get_or_set("called", lambda: [1]) == [1]
    assert cache.get_or_set("called", lambda: pytest.fail("it was there")) == [1]
    assert cache.get_or_set("called", lambda: [2], version=2) == [2]
    assert cache.get_or_set("null", lambda: None) is None
    assert cache.get("null", "x") is None
    assert cache.get_or_set("brief", lambda: 1, timeout=0.2) == 1
    wait_for(lambda: cache.get("brief") is None, "its timeout is not heeded")


def test_pattern_deletes_what_it_matches(cache: Any) -> None:
    cache.set_many({"agent:1:facts": 1, "agent:2:facts": 2, "agent:1:goals": 3, "room:1": 4})
    cache.set("agent:1:facts", 5, version=2)
    cache.get_many(["agent:1:facts", "room:1"])
    assert cache.invalidate_pattern("agent:*:facts") == 2
    assert cache.get_many(["agent:1:facts", "agent:2:facts", "agent:1:goals", "room:1"]) == {
        "agent:1:goals": 3,
        "room:1": 4,
    }
    assert cache.get("agent:1:facts", version=2) == 5
    assert cache.invalidate_pattern("agent:?:facts", version=2) == 1
    assert cache.invalidate_pattern("nothing*") == 0


def test_pattern_keeps_to_its_prefix_whatever_stands_in_it(make_cache: MakeCache) -> None:
    starred, plain = (make_cache(params={"KEY_PREFIX": prefix}) for prefix in ("a*[b]?", "axb"))
    starred.set("key", 1)
    plain.set("key", 2)
    assert starred.invalidate_pattern("*") == 1
    assert plain.get("key") == 2


def test_pattern_refuses_keys_that_it_cannot_know(make_cache: MakeCache) -> None:
    cache = make_cache(params={"KEY_FUNCTION": lambda key, prefix, version: str(hash(key))})
    with pytest.raises(ValueError, match="KEY_FUNCTION"):
        cache.invalidate_pattern("*")


def test_the_names_for_coroutines_do_the_same(cache: Any) -> None:
    async def use() -> list[Any]:
        await cache.aset("a", 1)
        await cache.aset_many({"b": 2, "c": [3]})
        return [
            await cache.aget("a"),
            await cache.aget_many(["b", "c"]),
            await cache.aadd("a", 5),
            await cache.aincr("a"),
            await cache.adecr("a", 3),
            await cache.atouch("a", 60),
            await cache.ahas_key("b"),
            await cache.adelete("b"),
            await cache.aget_or_set("d", lambda: 4),
            await cache.aincr_version("d"),
            await cache.adelete_many(["a"]),
            await cache.aclear(),
            await cache.aget("c"),
        ]

    assert asyncio.run(use()) == [
        1,
        {"b": 2, "c": [3]},
        False,
        2,
        -1,
        True,
        True,
        True,
        4,
        2,
        None,
        None,
        None,
    ]


def test_a_template_fragment_is_kept(settings: Any) -> None:
    from django.core.cache import cache as site_cache
    from django.template import Context, Template

    said: list[int] = []
    template = Template("{% load cache %}{% cache 60 tests_fragment name %}{{ say }}<b>{% endcache %}")
    context = {"name": uuid4().hex, "say": lambda: said.append(1) or "hello"}
    assert [template.render(Context(context)) for _time in range(2)] == ["hello<b>"] * 2
    assert said == [1]
    site_cache.clear()
