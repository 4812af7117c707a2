"""What is measured of the cache: `eliza_cache_…` of docs/operations.md."""

from __future__ import annotations

from prometheus_client import Counter

READS = Counter("eliza_cache_reads_total", "Values that were asked for: near, far, or miss.", ["level"])
INVALIDATIONS = Counter(
    "eliza_cache_invalidations_total",
    "Copies of this process that were dropped: told by the server, own writes, or blind after a lost connection.",
    ["cause"],
)
FAILURES = Counter("eliza_cache_failures_total", "Commands that the cache's server did not take.")
COMPUTATIONS = Counter(
    "eliza_cache_computations_total",
    "How get_or_set came by a value that was not there: computed, waited, old, or alone.",
    ["how"],
)

NEAR_HITS = READS.labels("near")
FAR_HITS = READS.labels("far")
MISSES = READS.labels("miss")
