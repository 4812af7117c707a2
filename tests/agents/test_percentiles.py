"""Percentiles by nearest rank."""

from __future__ import annotations

import pytest

from agents.percentiles import percentile


@pytest.mark.parametrize(
    ("times", "half", "most"),
    [([3.0], 3.0, 3.0), ([9.0, 1.0], 1.0, 9.0), ([*map(float, range(1, 21))], 10.0, 19.0)],
)
def test_a_percentile_is_a_time_that_was_taken(times: list[float], half: float, most: float) -> None:
    assert (percentile(times, 0.5), percentile(times, 0.95)) == (half, most)
