"""The face that Django knows: every method of its caches, over the two levels.

A server that is away is no error here: reads find nothing, or what this process kept a moment ago, and writes are
lost. Whoever must know asks `eliza_site.health`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import cached_property, lru_cache
from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache, memcache_key_warnings

from eliza_site.cache.computing import Computation
from eliza_site.cache.far import FarAway
from eliza_site.cache.levels import Levels, Shape, levels_for
from eliza_site.cache.near import MISSING
from eliza_site.cache.pickles import dump

_HOLE = "\0"


class TwoLevelCache(BaseCache):
    """Django's cache in two levels. OPTIONS are the fields of `Shape`, in capitals.

    Values are those that `eliza_site.cache.pickles` trusts; others are refused when they are set. Timeouts may be
    parts of a second.
    """

    def __init__(self, server: str, params: dict[str, Any]) -> None:
        super().__init__(params)
        options = {name.lower(): value for name, value in params.get("OPTIONS", {}).items()}
        self._shape = Shape(location=server, **options)

    @cached_property
    def levels(self) -> Levels:
        """The levels that all threads of this process share."""
        return levels_for(self._shape)

    def get(self, key: Any, default: Any = None, version: int | None = None) -> Any:
        """Return the value, or the default where there is none."""
        found = self.levels.read(self._name(key, version))
        return default if found is MISSING else found

    def get_many(self, keys: Iterable[Any], version: int | None = None) -> dict[Any, Any]:
        """Return the values of those keys that have one, by one question to the server."""
        names = {self._name(key, version): key for key in keys}
        found = self.levels.read_many(list(names))
        return {names[name]: value for name, value in found.items()}

    def has_key(self, key: Any, version: int | None = None) -> bool:
        """Tell whether there is a value."""
        name = self._name(key, version)
        if self.levels.near.get(name) is not MISSING:
            return True
        try:
            return self.levels.far.exists(name)
        except FarAway:
            return False

    def set(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> None:
        """Set the value, over whatever was there."""
        self.set_many({key: value}, timeout=timeout, version=version)

    def set_many(
        self, data: Mapping[Any, Any], timeout: Any = DEFAULT_TIMEOUT, version: int | None = None
    ) -> list[Any]:
        """Set the values, together, and return the keys of those that the server did not take."""
        if not data:
            return []
        names = {self._name(key, version): key for key in data}
        values = dict(zip(names, data.values(), strict=True))
        dumped = {name: dump(value) for name, value in values.items()}
        milliseconds = self._milliseconds(timeout)
        if milliseconds == 0:
            self.delete_many(list(data), version=version)
            return []
        try:
            self.levels.far.write(dumped, milliseconds)
        except FarAway:
            self.levels.drop(names)
            for name, value in values.items():
                self.levels.keep_alone(name, value, dumped[name], milliseconds)
            return list(names.values())
        self.levels.drop(names)
        return []

    def add(self, key: Any, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """Set the value where there is none; tell whether it was set, which it is not while the server is away."""
        name = self._name(key, version)
        data, milliseconds = dump(value), self._milliseconds(timeout)
        if milliseconds == 0:
            return not self.has_key(key, version=version)
        try:
            is_added = self.levels.far.add(name, data, milliseconds)
        except FarAway:
            return False
        if is_added:
            self.levels.drop([name])
        return is_added

    def touch(self, key: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        """Let the value live for so long from now; tell whether there is one."""
        milliseconds = self._milliseconds(timeout)
        if milliseconds == 0:
            return self.delete(key, version=version)
        name = self._name(key, version)
        try:
            return self.levels.far.touch(name, milliseconds)
        except FarAway:
            return False
        finally:
            self.levels.drop([name])

    def incr(self, key: Any, delta: int = 1, version: int | None = None) -> int:
        """Add to a whole number, over all processes at once, and return what it is then.

        Raises: ValueError where there is none, which is so too while the server is away.
        """
        name = self._name(key, version)
        try:
            value = self.levels.far.increment(name, delta)
        except FarAway:
            value = None
        finally:
            self.levels.drop([name])
        if value is None:
            raise ValueError(f"Key {key!r} not found")
        return value

    def delete(self, key: Any, version: int | None = None) -> bool:
        """Delete the value, and tell whether there was one."""
        return self._delete([self._name(key, version)]) > 0

    def delete_many(self, keys: Iterable[Any], version: int | None = None) -> None:
        """Delete the values, together."""
        names = [self._name(key, version) for key in keys]
        if names:
            self._delete(names)

    def clear(self) -> None:
        """Delete every value of the cache, of all prefixes and versions; nothing else on the server."""
        self._delete_matching("*")

    def invalidate_pattern(self, pattern: str, version: int | None = None) -> int:
        """Delete the values whose keys the pattern matches (`*`, `?`, `[abc]`), and return how many there were.

        It reads all names on the server, thousands at a time: for what is rare. While the server is away it is
        owed, and done as soon as it is back.
        """
        around = self.make_key(_HOLE, version=version).split(_HOLE)
        if len(around) != 2:
            raise ValueError(
                "KEY_FUNCTION hides the keys, so no pattern can match them: delete them by name."
            )
        return self._delete_matching(_escaped(around[0]) + pattern + _escaped(around[1]))

    def get_or_set(
        self,
        key: Any,
        default: Any,
        timeout: Any = DEFAULT_TIMEOUT,
        version: int | None = None,
        *,
        old_seconds: float = 0.0,
    ) -> Any:
        """Return the value; where there is none, set it to the default, which may be a callable.

        Of all callers in the fleet one computes, the others wait for it; with `old_seconds`, they get the value
        that ended up to so long ago instead. What was deleted or set meanwhile is not overwritten.
        """
        name = self._name(key, version)
        found = self.levels.read(name)
        if found is not MISSING:
            return found
        milliseconds = self._milliseconds(timeout)
        if not callable(default):
            self.add(key, default, timeout=timeout, version=version)
            return self.get(key, default, version=version)
        if milliseconds == 0:
            return default()
        compute: Callable[[], Any] = default
        old = 0 if milliseconds is None or not old_seconds else milliseconds + int(old_seconds * 1000)
        return Computation(
            self.levels, name, compute, milliseconds=milliseconds, old_milliseconds=old
        ).result()

    def _name(self, key: Any, version: int | None) -> str:
        """Return what the key is called here, with Django's warning where other caches would refuse it."""
        name = self.make_key(key, version=version)
        if not _is_portable(name):
            self.validate_key(name)
        return name

    def _milliseconds(self, timeout: Any) -> int | None:
        """Return how long a value lives, 0 where it does not, None for ever."""
        if timeout is DEFAULT_TIMEOUT:
            timeout = self.default_timeout
        if timeout is None:
            return None
        return max(1, int(timeout * 1000)) if timeout > 0 else 0

    def _delete(self, names: list[str]) -> int:
        try:
            return self.levels.far.delete(names)
        except FarAway:
            return 0
        finally:
            self.levels.drop(names)

    def _delete_matching(self, glob: str) -> int:
        try:
            return self.levels.far.delete_matching(glob)
        except FarAway:
            return 0
        finally:
            # Which of them the glob would have matched is the server's to say; all are few and soon back.
            self.levels.clear()


@lru_cache(maxsize=16_384)
def _is_portable(name: str) -> bool:
    """Tell whether Django has nothing to say against the name; to ask takes ten times as long as a near hit."""
    return not any(memcache_key_warnings(name))


def _escaped(text: str) -> str:
    return "".join(f"\\{letter}" if letter in "*?[]\\" else letter for letter in text)
