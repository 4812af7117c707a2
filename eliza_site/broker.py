"""The broker's transport: kombu's own for Valkey and Redis, but with one client a channel.

`eliza_site.celery` registers it. Kombu builds a redis-py client for every command that it sends, and redis-py
fills each with 169 callbacks: 6 % of a worker's Python under load, by samples
(`docs/decisions/the-brokers-channel-keeps-its-client.md`).
"""

from __future__ import annotations

from typing import Any

from kombu.transport import redis

ALIASES = dict.fromkeys(("redis", "rediss"), f"{__name__}:Transport")
"""What kombu's transports are to be called by, so that addresses stay the usual ones."""


class Channel(redis.Channel):
    """Kombu's channel, which keeps its client for as long as the pool of connections stays the same."""

    _kept: Any = None

    def _create_client(self, asynchronous: bool = False) -> Any:
        # The asynchronous clients are long-lived already. A client of a pool that was given up is of no use.
        if asynchronous:
            return super()._create_client(asynchronous=True)  # type: ignore[misc]
        if self._kept is None or self._kept.connection_pool is not self.pool:
            self._kept = super()._create_client()  # type: ignore[misc]
        return self._kept


class Transport(redis.Transport):
    """Kombu's transport with that channel."""

    Channel = Channel
