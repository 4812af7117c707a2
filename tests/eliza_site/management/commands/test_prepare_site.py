"""`prepare_site`: what the fleet's supervisor is told of the site at its start."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

from django.core.management import call_command

from agents import work
from agents.inbox import receive
from eliza_site.fleet.conversation import SAMPLE, room_of


def prepared() -> dict[str, Any]:
    out = io.StringIO()
    call_command("prepare_site", "--json", stdout=out)
    report: dict[str, Any] = json.loads(out.getvalue())
    return report


def test_the_database_tells_whether_the_sample_conversation_was_held(
    incoming: Any, model: Any, settings: Any, tmp_path: Path
) -> None:
    """Whatever was held in another database by the same folder of a fleet."""
    settings.STATIC_ROOT = tmp_path
    _platform, person, text = next(row for row in SAMPLE if row[0] == "telegram")
    assert prepared()["has_conversed"] is False

    receipt = receive(incoming(text, room=room_of(person)))
    assert prepared()["has_conversed"] is False, "nothing was answered"

    work.drain_lane(receipt.lane_id)
    assert prepared()["has_conversed"] is True
