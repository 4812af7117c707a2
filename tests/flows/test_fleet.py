"""Journeys through real processes: many people, a worker that is killed, a model that fails."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.request
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.fleet


def conversation(people: int, messages: int, prefix: str) -> list[dict[str, Any]]:
    networks = ("discord", "telegram", "twitter")
    return [
        {
            "id": f"{prefix}-{person}-{number}",
            "platform": networks[person % 3],
            "room": f"{prefix}-room-{person}",
            "person": f"{prefix}-person-{person}",
            "text": f"message {number} of {person}",
            "at": f"2026-05-01T12:{number:02d}:00+00:00",
        }
        for number in range(messages)
        for person in range(people)
    ]


def test_each_of_many_messages_is_answered_once_and_in_order(
    fleet: Any, message_file: Callable[..., Path], tmp_path: Path
) -> None:
    lines = conversation(people=12, messages=10, prefix="many")
    path, out = message_file(lines), tmp_path / "replies.jsonl"
    done = fleet.manage("ingest", str(path), "--wait", "--replies", str(out), timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "fake" in done.stdout + done.stderr, "a platform without a connection is told of"

    replies = [json.loads(line) for line in out.read_text().splitlines()]
    assert sorted(reply["in_reply_to"] for reply in replies) == sorted(line["id"] for line in lines)
    assert {reply["state"] for reply in replies} == {"sent"}
    by_person: dict[str, list[Any]] = defaultdict(list)
    for reply in sorted(replies, key=lambda reply: reply["replied_at"]):
        by_person[reply["person"]].append(reply["in_reply_to"])
    assert all(
        said == [f"many-{person}-{number}" for number in range(10)]
        for person, said in ((said[0].split("-")[1], said) for said in by_person.values())
    )
    count = (
        "SELECT count(*) FROM agents_message"
        " WHERE external_id LIKE 'many-%%' OR reply_to_external_id LIKE 'many-%%'"
    )
    assert fleet.sql(count) == [(240,)]

    again = fleet.manage("ingest", str(path), "--wait", timeout=60)
    assert again.returncode == 0, again.stderr
    assert fleet.sql(count) == [(240,)]


def test_talk_prints_the_reply(fleet: Any) -> None:
    done = fleet.manage("talk", "Eliza", "How are you?", "--json")
    assert done.returncode == 0, done.stderr
    assert "That is a good question" in done.stdout


def test_the_web_process_logs_neither_who_asked_nor_for_what(fleet: Any) -> None:
    log = fleet.logs / "web.log"
    before = len(log.read_text())
    with urllib.request.urlopen(f"{fleet.url}/admin/login/?q=zqsearch") as page:
        assert page.status == 200
    # uvicorn writes its line before it sends the answer.
    written = log.read_text()[before:]
    assert not any(word in written for word in ("zqsearch", "/admin/", "127.0.0.1"))


def test_a_message_whose_worker_is_killed_is_answered_once(
    fleet: Any, message_file: Callable[..., Path]
) -> None:
    fleet.model.control({"latency_ms": 3000.0})
    lines = conversation(people=4, messages=1, prefix="killed")
    assert fleet.manage("ingest", str(message_file(lines))).returncode == 0
    running = (
        "SELECT 1 FROM agents_turn t JOIN agents_message m ON m.id = t.message_id"
        " WHERE t.state = 'running' AND m.external_id LIKE 'killed-%%'"
    )
    fleet.wait_for(running)
    killed_at = time.monotonic()
    for worker in [worker for worker in fleet.workers if worker.is_running()]:
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait(5)
    fleet.model.control({"latency_ms": 0.0})
    for _number in range(2):
        fleet.start_worker()
    fleet.wait_for(
        "SELECT 1 WHERE (SELECT count(*) FROM agents_delivery d JOIN agents_message m ON m.id = d.message_id"
        " WHERE d.state = 'sent' AND m.reply_to_external_id LIKE 'killed-%%') = 4",
        seconds=40,
    )
    assert time.monotonic() - killed_at < 40
    assert fleet.sql(
        "SELECT count(*), count(DISTINCT reply_to_external_id) FROM agents_message"
        " WHERE reply_to_external_id LIKE 'killed-%%'"
    ) == [(4, 4)]


def test_a_model_that_fails_brings_one_apology(fleet: Any, message_file: Callable[..., Path]) -> None:
    fleet.model.control({"fault": "401"})
    lines = conversation(people=1, messages=1, prefix="failed")
    done = fleet.manage("ingest", str(message_file(lines)), "--wait", timeout=60)
    rows = fleet.wait_for(
        "SELECT t.state, t.error, r.text FROM agents_turn t JOIN agents_message m ON m.id = t.message_id"
        " JOIN agents_message r ON r.turn_id = t.id WHERE m.external_id = 'failed-0-0'"
    )
    assert len(rows) == 1, done.stdout
    state, error, text = rows[0]
    assert state == "dead"
    assert "401" in error or "key" in error.lower()
    assert text.startswith("I'm sorry")
