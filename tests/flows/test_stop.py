"""Stop, through real processes: a word or the button ends an answer within two seconds, while it streams."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.doubles.openai_server import ANSWER

pytestmark = pytest.mark.fleet

STOPPED_AFTER = (
    "SELECT extract(epoch FROM t.ended_at - s.received_at)::float, t.outcome"
    " FROM agents_turn t JOIN agents_message m ON m.id = t.message_id"
    " JOIN agents_message s ON s.external_id = %s"
    " WHERE m.external_id = %s AND t.state = 'stopped'"
)


def line(name: str, text: str, person: str) -> dict[str, Any]:
    return {
        "id": name,
        "platform": "discord",
        "room": f"room-{person}",
        "person": person,
        "text": text,
        "at": "2026-05-01T12:00:00+00:00",
    }


@pytest.fixture
def long_answer(fleet: Any) -> Iterator[None]:
    """An answer that streams for a minute, at 200 ms between its pieces."""
    fleet.model.control({"answer": "and so on " * 300, "chunks": 300})
    yield
    fleet.model.control({"answer": ANSWER, "chunks": 12})


@pytest.mark.parametrize("controls", [{"gap_ms": 200.0}, {"fault": "silence"}])
def test_stop_ends_an_answer_within_two_seconds(
    fleet: Any, message_file: Callable[..., Path], long_answer: None, controls: dict[str, Any]
) -> None:
    name = "-".join(map(str, controls.values()))
    fleet.model.control(controls)
    asked = message_file([line(f"asked-{name}", "Tell me all of it.", f"ann-{name}")])
    assert fleet.manage("ingest", str(asked)).returncode == 0
    fleet.wait_for(
        "SELECT 1 FROM agents_turn t JOIN agents_message m ON m.id = t.message_id"
        " WHERE m.external_id = %s AND t.state = 'running'",
        f"asked-{name}",
    )
    stop = message_file([line(f"stop-{name}", "Stop!", f"ann-{name}")], "stop.jsonl")
    done = fleet.manage("ingest", str(stop), "--wait", "--json", timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads(done.stdout)["results"] == {"control": 1}
    ((seconds, outcome),) = fleet.wait_for(STOPPED_AFTER, f"stop-{name}", f"asked-{name}")
    assert (seconds <= 2.0, outcome) == (True, ""), seconds
    assert fleet.sql(
        "SELECT count(*) FROM agents_message WHERE reply_to_external_id = ANY(%s)",
        [f"asked-{name}", f"stop-{name}"],
    ) == [(0,)]


def test_a_newer_message_interrupts_an_answer_that_another_process_makes(
    fleet: Any, message_file: Callable[..., Path]
) -> None:
    fleet.sql("UPDATE agents_agent SET double_texting = 'interrupt', revision = revision + 1 RETURNING 1")
    try:
        fleet.model.control({"latency_ms": 60_000.0})
        first = message_file([line("first", "What is the capital of", "zoe")])
        assert fleet.manage("ingest", str(first)).returncode == 0
        fleet.wait_for(
            "SELECT 1 FROM agents_turn t JOIN agents_message m ON m.id = t.message_id"
            " WHERE m.external_id = 'first' AND t.state = 'running'"
        )
        newer = message_file([line("newer", "France?", "zoe")], "newer.jsonl")
        assert fleet.manage("ingest", str(newer)).returncode == 0
        fleet.wait_for(
            "SELECT 1 FROM agents_turn t JOIN agents_message m ON m.id = t.message_id"
            " WHERE m.external_id = 'first' AND t.outcome = 'superseded'"
        )
    finally:
        fleet.model.control({"latency_ms": 0.0})
        fleet.sql("UPDATE agents_agent SET double_texting = 'queue', revision = revision + 1 RETURNING 1")
        fleet.sql("UPDATE agents_turn SET stop_requested_at = now() WHERE state = 'running' RETURNING 1")
