"""Files of inbound messages for tests and benchmarks of `ingest`."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Any

PLATFORMS = ("discord", "telegram", "twitter")
START = dt.datetime(2026, 5, 1, 12, tzinfo=dt.UTC)


def inbound_lines(
    *, messages: int = 6, people: int = 3, platforms: tuple[str, ...] = PLATFORMS, key: str = "m"
) -> list[dict[str, Any]]:
    """Make messages of people who take turns; each person is on one platform, in a room of their own."""
    return [
        {
            "id": f"{key}-{number}",
            "platform": platforms[number % people % len(platforms)],
            "room": f"room-{number % people}",
            "person": f"person-{number % people}",
            "text": f"Message {number // people} of person {number % people}.",
            "at": (START + dt.timedelta(seconds=number)).isoformat(),
        }
        for number in range(messages)
    ]


def write_lines(path: Path, lines: list[dict[str, Any]]) -> Path:
    """Write the lines as JSON and return the file's path."""
    path.write_text("".join(f"{json.dumps(line)}\n" for line in lines), encoding="utf-8")
    return path
