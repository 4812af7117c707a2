"""Percentiles of what commands measured: `ingest` and `evaluate_recall` tell them. Plain Python."""

from __future__ import annotations

import math
from collections.abc import Sequence


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that this share of the values does not exceed; there must be one at least.

    Unit: the values' own. Source: the nearest-rank method.
    """
    return sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
