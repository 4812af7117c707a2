"""Another embedder while people go on speaking: filled under killed workers, switched, undone, finished, and back."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

ROOT = Path(__file__).resolve().parents[2]
BACKLOG = 1500
KNOWN = (
    "The lighthouse of Zanzibar is painted green",
    "A lighthouse stands on the cape beyond the old harbour",
    "Colour is what is left of light",
)

QUESTION = "what colour has the lighthouse of Zanzibar"

pytestmark = pytest.mark.fleet

KEEP = """
INSERT INTO memory_memory (id, agent_id, kind, scope, speaker, text, embedding_model, importance, source_messages,
                           source_key, said_at, created_at)
SELECT gen_random_uuid(), (SELECT id FROM agents_agent WHERE name = 'Eliza'), 'fact', %s, '', text, '', 0.5, '[]',
       'reembedding:' || md5(text), now(), now()
FROM unnest(%s::text[]) AS text RETURNING 1
"""
RECALLS = """
SELECT step.error, step.output::text FROM agents_step AS step JOIN agents_turn AS turn ON turn.id = step.turn_id
JOIN agents_message AS message ON message.id = turn.message_id
WHERE step.name = 'recall' AND message.external_id LIKE %s
"""
SENT = """
SELECT count(*), count(DISTINCT reply.reply_to_external_id) FROM agents_delivery AS delivery
JOIN agents_message AS reply ON reply.id = delivery.message_id
WHERE delivery.state = 'sent' AND reply.reply_to_external_id LIKE %s
"""


@pytest.fixture
def backlog(fleet: Any) -> Iterator[None]:
    """A few memories that can be recalled everywhere, and many that nobody can recall."""
    fleet.sql(KEEP, "nobody", [f"a sentence that has to be embedded, number {n}" for n in range(BACKLOG)])
    fleet.sql(KEEP, "agent", list(KNOWN))
    fleet.wait_for("SELECT 1 WHERE NOT EXISTS (SELECT 1 FROM memory_memory WHERE embedding IS NULL)")
    yield
    fleet.model.control({"embedding_latency_ms": None})
    fleet.sql("DELETE FROM memory_memory WHERE source_key LIKE 'reembedding:%%' RETURNING 1")


def manage(fleet: Any, *arguments: str) -> Any:
    done = fleet.manage("reembed_memories", *arguments, "--json", timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def kill_workers(fleet: Any) -> None:
    for worker in [worker for worker in fleet.workers if worker.is_running()]:
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait(5)


@dataclass(kw_only=True)
class Speaking:
    process: subprocess.Popen[str]
    prefix: str

    def end(self) -> list[str]:
        """Let them fall silent, and return the ids of what they said."""
        assert self.process.poll() is None, "they spoke all the time"
        said, _ = self.process.communicate(timeout=30)
        assert self.process.returncode == 0
        return said.split()


@pytest.fixture
def speaking(fleet: Any, message_file: Callable[..., Path]) -> Iterator[Speaking]:
    """People who ask for the lighthouse for as long as the test wants."""
    first = {"id": uuid4().hex, "platform": "telegram", "room": "first", "person": "first", "text": "hello"}
    done = fleet.manage("ingest", str(message_file([{**first, "at": "2026-05-01T12:00:00+00:00"}])), "--wait")
    assert done.returncode == 0, done.stderr
    ((connection,),) = fleet.sql("SELECT id::text FROM transports_connection WHERE platform = 'telegram'")
    prefix = f"reembed-{uuid4().hex[:6]}"
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.doubles.speaking", connection, prefix, QUESTION],
        cwd=ROOT,
        env=fleet.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    yield Speaking(process=process, prefix=prefix)
    process.kill()
    process.wait(10)


def test_people_are_answered_and_memories_recalled_through_the_whole_life(
    fleet: Any, backlog: None, speaking: Speaking
) -> None:
    its = f"{speaking.prefix}%"
    fleet.wait_for(RECALLS, its)

    # While it is filled, all workers are killed; those that come go on.
    fleet.model.control({"embedding_latency_ms": 400.0})
    manage(fleet, "--model", "stub-embedding", "--base-url", fleet.model.base_url)
    fleet.wait_for("SELECT 1 FROM memory_vectorspace WHERE state = 'filling' AND filled_count > 300")
    kill_workers(fleet)
    refused = fleet.manage("reembed_memories", "--switch")
    assert refused.returncode == 1
    assert "memories have no vector of stub-embedding yet" in refused.stderr
    ((made,),) = fleet.sql("SELECT count(*) FROM memory_memory WHERE second_embedding IS NOT NULL")
    assert 300 < made < BACKLOG
    for _number in range(2):
        fleet.start_worker()
    # The lease of the dead ends by itself; the test does not wait for it.
    fleet.sql("UPDATE memory_vectorspace SET leased_until = NULL WHERE state = 'filling' RETURNING 1")
    fleet.model.control({"embedding_latency_ms": 20.0})
    fleet.wait_for(
        "SELECT 1 FROM memory_vectorspace WHERE state = 'filling' AND filled_at IS NOT NULL", seconds=60
    )

    compared = manage(fleet, "--compare", "--sample", "10")
    assert (compared["used"], compared["other"]) == ("hashed-384", "stub-embedding")
    assert compared["questions"] == 10
    manage(fleet, "--switch")
    # What is said from now on has its vector in the new space with its turn, and in the former one soon after.
    fleet.wait_for(
        "SELECT 1 FROM memory_memory WHERE kind = 'message' AND second_embedding_model = 'stub-embedding'"
        " AND created_at > (SELECT switched_at FROM memory_vectorspace WHERE state = 'used') + interval '3 s'"
    )
    manage(fleet, "--undo")
    manage(fleet, "--switch")
    manage(fleet, "--finish")
    assert fleet.sql("SELECT count(*) FROM memory_memory WHERE embedding IS NOT NULL") == [(0,)]
    assert fleet.sql("SELECT to_regclass('memory_embedding_half_384_hnsw')::text") == [(None,)]

    # Back to what the settings say, which puts it into the first column again.
    manage(fleet, "--model", "hashed", "--dimensions", "384")
    fleet.wait_for(
        "SELECT 1 FROM memory_vectorspace WHERE state = 'filling' AND filled_at IS NOT NULL", seconds=60
    )
    manage(fleet, "--switch")
    manage(fleet, "--finish")
    ((column, name),) = fleet.sql("SELECT \"column\", name FROM memory_vectorspace WHERE state <> 'removed'")
    assert (column, name) == ("embedding", "hashed-384")

    said = speaking.end()
    all_sent = f"SELECT 1 WHERE ({SENT.replace('count(*), ', '')}) = {len(said)}"
    fleet.wait_for(all_sent, its, seconds=60)
    assert fleet.sql(SENT, its) == [(len(said), len(said))], "each was answered once"
    recalls = [(error, json.loads(output)["memories"]) for error, output in fleet.sql(RECALLS, its)]
    assert len(recalls) >= len(said)
    assert {error for error, _hits in recalls} == {""}
    assert all(any("vector" in hit["scores"] for hit in hits) for _error, hits in recalls), (
        "nothing was recalled without vectors"
    )
