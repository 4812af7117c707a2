"""Django's cache in two levels: an LRU in this process, in front of Valkey or Redis. See docs/cache.md.

`settings.CACHES` names `TwoLevelCache`; everybody else says `django.core.cache.cache`.
"""

from eliza_site.cache.backend import TwoLevelCache

__all__ = ["TwoLevelCache"]
