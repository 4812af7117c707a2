"""How long memory takes: `eliza_memory_operation_seconds{operation}`. The verbs of memory time themselves."""

from __future__ import annotations

from prometheus_client import Histogram
from prometheus_client.context_managers import Timer

_OPERATION_SECONDS = Histogram(
    "eliza_memory_operation_seconds",
    "How long an operation of memory took.",
    ["operation"],
    buckets=(0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0),
)


def timed(operation: str) -> Timer:
    """Observe how long the block takes, under this operation's name."""
    return _OPERATION_SECONDS.labels(operation).time()
