"""The cache of a process that is alone (`talk --ephemeral`): Django's own in memory, asked as `TwoLevelCache` is."""

from __future__ import annotations

from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT
from django.core.cache.backends.locmem import LocMemCache


class OneProcessCache(LocMemCache):
    """Values in this process' memory."""

    def get_or_set(
        self,
        key: Any,
        default: Any,
        timeout: Any = DEFAULT_TIMEOUT,
        version: int | None = None,
        *,
        old_seconds: float = 0.0,  # noqa: ARG002
    ) -> Any:
        """Return the value; where there is none, set it to the default, which may be a callable.

        Nobody waits for another to compute, so `old_seconds` changes nothing.
        """
        return super().get_or_set(key, default, timeout=timeout, version=version)
