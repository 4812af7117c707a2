"""The far level: Valkey or Redis, which all processes share. It may be away: then every call says `FarAway`, soon.

Each value may have two companions on the server: the lease of whoever computes it, and an older copy for those who
would rather have that than wait. What drops a value drops both, so that whoever computes it from what was true
before stores nothing.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import redis
import structlog
from redis.backoff import NoBackoff
from redis.retry import Retry

from agents.circuits import REST_SECONDS, Circuit
from eliza_site.cache.counting import FAILURES

log = structlog.get_logger(__name__)

Answer = TypeVar("Answer")

MOST_OWED = 10_000
SCAN_COUNT = 1000
LONGEST_MILLISECONDS = 100 * 365 * 24 * 3600 * 1000
"""A hundred years: the server refuses what overflows its clock."""

# Each of these is one command and one step: what a pipeline of two takes redis-py twice as long, and others
# could come between. KEYS are a value, its lease and its older copy, for one key or for several.
READ = """
local answers = {}
for place, key in ipairs(KEYS) do
    answers[2 * place - 1] = redis.call('GET', key)
    answers[2 * place] = redis.call('PTTL', key)
end
return answers
"""
WRITE = """
for place = 2, #ARGV do
    local first = 3 * (place - 2) + 1
    redis.call('UNLINK', KEYS[first + 1], KEYS[first + 2])
    if ARGV[1] == '' then redis.call('SET', KEYS[first], ARGV[place])
    else redis.call('SET', KEYS[first], ARGV[place], 'PX', ARGV[1]) end
end
"""
DELETE = """
local count = 0
for first = 1, #KEYS, 3 do
    redis.call('UNLINK', KEYS[first + 1], KEYS[first + 2])
    count = count + redis.call('UNLINK', KEYS[first])
end
return count
"""
INCREMENT = """
if redis.call('EXISTS', KEYS[1]) == 0 then return false end
local value = redis.call('INCRBY', KEYS[1], ARGV[1])
redis.call('UNLINK', KEYS[2], KEYS[3])
return value
"""
LEASE = """
if redis.call('EXISTS', KEYS[1]) == 1 then return 0 end
return redis.call('SET', KEYS[2], ARGV[1], 'NX', 'PX', ARGV[2]) and 1 or 0
"""
SETTLE = """
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('UNLINK', KEYS[2], KEYS[3])
if ARGV[3] == '' then redis.call('SET', KEYS[1], ARGV[2])
else redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3]) end
if ARGV[4] ~= '' then redis.call('SET', KEYS[3], ARGV[2], 'PX', ARGV[4]) end
return 1
"""
GIVE_UP = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('UNLINK', KEYS[1]) end return 0"


class FarAway(Exception):
    """The server cannot be asked now, or refused: a read is a miss, a write is lost."""


class FarLevel:
    """The cache's keys on one server. Threads share it and its few connections.

    Unit: `milliseconds` to live, None for ever. A write that did not arrive leaves its keys owed: they are deleted
    before the next command, so that this process never reads what it meant to replace.
    """

    def __init__(
        self, url: str, *, namespace: str, timeout_seconds: float, connections: int, circuit: Circuit
    ) -> None:
        self._prefix = f"{namespace}:"
        self.value_prefix = f"{namespace}:v:"
        self._circuit = circuit
        self._client: Any = redis.Redis.from_pool(
            redis.BlockingConnectionPool.from_url(
                url,
                max_connections=connections,
                timeout=timeout_seconds,
                socket_timeout=timeout_seconds,
                socket_connect_timeout=timeout_seconds,
                # redis-py's own would pause for seconds at each command.
                retry=Retry(NoBackoff(), 0),
            )
        )
        (
            self._read,
            self._write,
            self._delete,
            self._increment,
            self._lease,
            self._settle,
            self._give_up,
        ) = map(self._client.register_script, (READ, WRITE, DELETE, INCREMENT, LEASE, SETTLE, GIVE_UP))
        self.reset()

    def reset(self) -> None:
        """Begin with a new lock, after a fork."""
        self._quiet_until = 0.0
        self._paying = threading.Lock()
        self._owed: dict[str, object] = {}
        self._owed_globs: dict[str, object] = {}

    # Values -----------------------------------------------------------------------------------------------

    def read(self, keys: Sequence[str]) -> list[tuple[bytes, int | None] | None]:
        """Return each key's bytes and what they have left to live, None where there is none.

        Raises: FarAway.
        """
        names = list(map(self._value, keys))
        answers = self._ask(lambda client: self._read(keys=names, client=client))
        return [
            # What never ends has -1 left.
            None if data is None else (data, None if left == -1 else left)
            for data, left in zip(answers[::2], answers[1::2], strict=True)
        ]

    def exists(self, key: str) -> bool:
        """Tell whether there is a value. Raises: FarAway."""
        return bool(self._ask(lambda client: client.exists(self._value(key))))

    def write(self, items: Mapping[str, int | bytes], milliseconds: int | None) -> None:
        """Set the values, together. Raises: FarAway."""
        names = [name for key in items for name in self._names(key)]
        args = [_bounded(milliseconds), *items.values()]
        self._ask(lambda client: self._write(keys=names, args=args, client=client), owes=items)

    def add(self, key: str, data: int | bytes, milliseconds: int | None) -> bool:
        """Set the value where there is none, and tell whether it was. Raises: FarAway."""
        return bool(
            self._ask(
                lambda client: client.set(self._value(key), data, px=_bounded(milliseconds) or None, nx=True)
            )
        )

    def touch(self, key: str, milliseconds: int | None) -> bool:
        """Let the value live for so long from now, and tell whether there is one. Raises: FarAway."""
        name = self._value(key)
        if milliseconds is None:
            # PERSIST says no as well where nothing was to end.
            return bool(self._ask(lambda client: client.pipeline().persist(name).exists(name).execute())[1])
        return bool(self._ask(lambda client: client.pexpire(name, _bounded(milliseconds))))

    def increment(self, key: str, delta: int) -> int | None:
        """Add to the value and return what it is then; None where there is none.

        Raises: FarAway. ValueError where the value is no whole number.
        """
        names = self._names(key)

        def ask(client: Any) -> Any:
            try:
                return self._increment(keys=names, args=[delta], client=client)
            except redis.ResponseError as error:
                if "integer" in str(error) or "overflow" in str(error):
                    return error
                raise

        answer = self._ask(ask)
        if isinstance(answer, redis.ResponseError):
            raise ValueError(f"The value of {key!r} is no whole number of 64 bits: only those are counted.")
        return None if answer is None else int(answer)

    def delete(self, keys: Iterable[str]) -> int:
        """Delete the values and return how many there were. Raises: FarAway."""
        keys = list(keys)
        names = [name for key in keys for name in self._names(key)]
        return int(self._ask(lambda client: self._delete(keys=names, client=client), owes=keys))

    def delete_matching(self, glob: str) -> int:
        """Delete the values whose keys the glob matches, and return how many there were.

        Leases go first: whoever computes from what was true before stores nothing from then on, and what was
        stored until then is found afterwards.
        Raises: FarAway.
        """
        return self._ask(lambda client: self._sweep(client, glob), owes_glob=glob)

    # Leases -----------------------------------------------------------------------------------------------

    def lease(self, key: str, token: str, milliseconds: int) -> bool:
        """Take the right to compute the value; tell whether nobody had it, nor the value came meanwhile.

        Raises: FarAway.
        """
        names = self._names(key)[:2]
        return bool(
            self._ask(lambda client: self._lease(keys=names, args=[token, milliseconds], client=client))
        )

    def settle(
        self, key: str, token: str, data: int | bytes, milliseconds: int | None, old_milliseconds: int
    ) -> bool:
        """Store what was computed and end the lease; tell whether the lease still stood.

        `old_milliseconds` is how long the copy lives that may be had once the value has ended; 0 makes none.
        Raises: FarAway.
        """
        names = self._names(key)
        args = [token, data, _bounded(milliseconds), _bounded(old_milliseconds or None)]
        return bool(self._ask(lambda client: self._settle(keys=names, args=args, client=client), owes=[key]))

    def give_up(self, key: str, token: str) -> None:
        """End the lease without a value. Raises: FarAway."""
        name = self._names(key)[1]
        self._ask(lambda client: self._give_up(keys=[name], args=[token], client=client))

    def read_old(self, key: str) -> bytes | None:
        """Return the copy that outlives the value, or None. Raises: FarAway."""
        data: bytes | None = self._ask(lambda client: client.get(self._names(key)[2]))
        return data

    # The server -------------------------------------------------------------------------------------------

    def make_connection(self) -> Any:
        """Return a connection of its own, not yet connected, that hears what the server tells by itself."""
        pool = self._client.connection_pool
        return pool.connection_class(**{**pool.connection_kwargs, "protocol": 3})

    def settle_debts(self) -> None:
        """Delete what writes that did not arrive had meant to replace. Raises: FarAway."""
        if self._owed or self._owed_globs:
            self._ask(lambda _client: None)

    def close(self) -> None:
        """Close the connections."""
        self._client.connection_pool.disconnect()

    def _value(self, key: str) -> str:
        return self.value_prefix + key

    def _names(self, key: str) -> tuple[str, str, str]:
        """Return what the value, its lease and its older copy are called on the server."""
        return self.value_prefix + key, f"{self._prefix}l:{key}", f"{self._prefix}o:{key}"

    def _sweep(self, client: Any, glob: str) -> int:
        self._unlink_matching(client, f"{self._prefix}l:{glob}")
        self._unlink_matching(client, f"{self._prefix}o:{glob}")
        return self._unlink_matching(client, self.value_prefix + glob)

    def _unlink_matching(self, client: Any, match: str) -> int:
        count = cursor = 0
        while True:
            cursor, names = client.scan(cursor, match=match, count=SCAN_COUNT)
            if names:
                count += int(client.unlink(*names))
            if not cursor:
                return count

    def _ask(
        self, ask: Callable[[Any], Answer], *, owes: Iterable[str] = (), owes_glob: str | None = None
    ) -> Answer:
        if not self._circuit.may_try():
            self._owe(owes, owes_glob)
            raise FarAway("The cache's server failed a moment ago, and is left alone for a while.")
        try:
            self._pay()
            answer = ask(self._client)
        except (redis.RedisError, OSError) as error:
            self._owe(owes, owes_glob)
            FAILURES.inc()
            if isinstance(error, redis.ResponseError):
                # It is there, and refuses: it is full, or read-only.
                self._circuit.succeed()
            else:
                self._circuit.fail()
            self._tell(error)
            raise FarAway(str(error)) from error
        self._circuit.succeed()
        return answer

    def _tell(self, error: Exception) -> None:
        """Log the failure; one that full servers repeat at each command, once in a while."""
        now = time.monotonic()
        if now >= self._quiet_until:
            self._quiet_until = now + REST_SECONDS
            log.warning("cache_not_asked", error=error)

    def _owe(self, keys: Iterable[str], glob: str | None) -> None:
        for key in keys:
            self._owed[key] = object()
        if glob is not None:
            self._owed_globs[glob] = object()
        if len(self._owed) + len(self._owed_globs) > MOST_OWED:
            self._owed_globs["*"] = object()
            self._owed.clear()

    def _pay(self) -> None:
        if not self._owed and not self._owed_globs:
            return
        with self._paying:
            keys, globs = dict(self._owed), dict(self._owed_globs)
            for glob in globs:
                self._sweep(self._client, glob)
            names = [name for key in keys for name in self._names(key)]
            for start in range(0, len(names), SCAN_COUNT):
                self._client.unlink(*names[start : start + SCAN_COUNT])
            # What was owed again meanwhile stays owed.
            for owed, paid in ((self._owed, keys), (self._owed_globs, globs)):
                for name, debt in paid.items():
                    if owed.get(name) is debt:
                        del owed[name]


def _bounded(milliseconds: int | None) -> int | str:
    """Return how long a value lives as the scripts read it: nothing stands for ever."""
    return "" if milliseconds is None else min(milliseconds, LONGEST_MILLISECONDS)
