"""Django's cache in two levels: an LRU in this process, in front of Valkey or Redis. See docs/cache.md.

`settings.CACHES` names `TwoLevelCache`, or `OneProcessCache` where there is one process alone; everybody else says
`django.core.cache.cache`.
"""

from eliza_site.cache.backend import TwoLevelCache
from eliza_site.cache.one_process import OneProcessCache

__all__ = ["OneProcessCache", "TwoLevelCache"]
