"""What is measured of turns and models, under the names that dashboards rely on."""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import Counter, Histogram

from plugins.time_limits import TimeLimitExceeded

SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 120.0)

MESSAGE_PROCESSING = Histogram(
    "eliza_message_processing_seconds", "From receipt to the end of the turn.", buckets=SECONDS
)
QUEUE_WAIT = Histogram("eliza_queue_wait_seconds", "From receipt to the start of the turn.", buckets=SECONDS)
AI_RESPONSE = Histogram("eliza_ai_response_seconds", "How long a model took to answer.", buckets=SECONDS)
STEP = Histogram("eliza_step_seconds", "How long a step of a turn took.", ["step"], buckets=SECONDS)
MESSAGES_PROCESSED = Counter("eliza_messages_processed_total", "Turns that ended.", ["platform", "outcome"])
PLUGIN_EXECUTIONS = Counter(
    "eliza_plugin_executions_total", "Plugins' functions that ran.", ["plugin", "component", "outcome"]
)
DELIVERIES = Counter(
    "eliza_deliveries_total", "Deliveries that were sent, or given up as state says.", ["platform", "state"]
)
ERRORS = Counter("eliza_errors_total", "Errors that were caught at a door.", ["where"])
AI_FAILURES = Counter("eliza_ai_failures_total", "Requests that brought no answer.", ["model", "reason"])


@contextmanager
def counted(plugin: str, component: str) -> Iterator[None]:
    """Count the block as one execution of a plugin's component: ok, failed, or over its time limit."""
    outcome = "failed"
    try:
        yield
        outcome = "ok"
    except TimeLimitExceeded:
        outcome = "time_limit"
        raise
    finally:
        PLUGIN_EXECUTIONS.labels(plugin, component, outcome).inc()


def seconds_since(moment: dt.datetime) -> float:
    """Return how long ago this was, by this machine's clock; never below 0.

    Unit: seconds.
    """
    return max(0.0, (dt.datetime.now(dt.UTC) - moment).total_seconds())
