"""Asks the product's recall for `memories.py`, times it, and holds it against an exact scan."""

from __future__ import annotations

import functools
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any
from uuid import uuid4

import numpy as np
from django.db import connection
from django.utils import timezone
from filling import MODEL, Filled, Place

from agents import work
from agents.envelopes import Incoming, IncomingPerson, IncomingRoom
from agents.inbox import receive
from agents.llm.router import answering_with
from agents.llm.scripted import ScriptedModel
from agents.models import Account, Room
from memory.embeddings import get_embedder
from memory.retrieval import RecallQuery, recall
from memory.searches import find_near
from memory.stores import row_security
from memory.vectors import vector_text

LIMIT = 10
EXACT_TIMED = 10
TURNS, TURNS_WARM_UP = 120, 30
EXACT = """
SELECT id FROM memory_memory
WHERE agent_id = %s AND scope = %s AND room_id = %s AND superseded_by_id IS NULL
  AND vector_dims(embedding) = 384 AND embedding_model = %s
ORDER BY embedding <=> %s::vector LIMIT 10
"""
"""No index is over whole floats, so all of them are compared."""


@dataclass(frozen=True, kw_only=True)
class Question:
    """A sentence that was never stored, and its vector."""

    text: str
    vector: np.ndarray[Any, Any]


@dataclass
class Cost:
    """What one thing took. Unit: ms."""

    wall: float = 0.0
    python: float = 0.0
    postgresql: float = 0.0


def begin(filled: Filled, place: Place, asked: Sequence[Question], count: int) -> dict[str, float]:
    """Recall each question, and return what the first ones took."""
    costs = [_recall(filled, place, question) for question in asked]
    return _times(costs[:count])


def measure(
    filled: Filled,
    place: Place,
    asked: Sequence[Question],
    stored: np.ndarray[Any, Any],
    *,
    sought: Sequence[Question],
) -> dict[str, float]:
    """Recall each question there; return what it took, and of `sought` how many of the ten nearest the index finds."""
    if not row_security.stands():
        raise SystemExit("Row level security does not stand here, so its cost would not be measured.")
    costs = [_recall(filled, place, question) for question in asked]
    return {
        "visible": len(place.ids),
        **_times(costs),
        "cpu_python": median(cost.python for cost in costs),
        "cpu_postgresql": median(cost.postgresql for cost in costs),
        "exact_p50": _time_exact_scan(filled, place, asked[:EXACT_TIMED]),
        "found": _found(filled, place, sought, _exact(stored, place.rows, sought)),
    }


def _times(costs: Sequence[Cost]) -> dict[str, float]:
    walls = sorted(cost.wall for cost in costs)
    return {"p50": median(walls), "p95": walls[int(len(walls) * 0.95)]}


def measure_turns(filled: Filled, asked: Sequence[Question]) -> dict[str, Any]:
    """Return what a turn takes from its receipt to its reply, without a model, beside one of the small agent's.

    The two take turns, so that a machine whose speed changes changes both.
    """
    sides = {"turn": filled} | ({"small_turn": filled.small} if filled.small else {})
    costs: dict[str, list[Cost]] = {name: [] for name in sides}
    with answering_with(ScriptedModel("I see.")):
        for number in range(TURNS_WARM_UP + TURNS):
            for name, side in sides.items():
                costs[name].append(_take_turn(side, asked[number % len(asked)]))
    return {
        name: {
            "wall": median(cost.wall for cost in taken[TURNS_WARM_UP:]),
            "cpu_postgresql": median(cost.postgresql for cost in taken[TURNS_WARM_UP:]),
            "cpu": median(cost.python + cost.postgresql for cost in taken[TURNS_WARM_UP:]),
        }
        for name, taken in costs.items()
    }


def _take_turn(filled: Filled, asked: Question) -> Cost:
    """Let Ann speak in the direct chat."""
    person = filled.person
    room = Room.objects.get(pk=filled.places[0].room_id)
    Account.objects.get_or_create(person=person, platform="bench", external_id=str(person.pk))
    message = Incoming(
        connection_id=filled.connection.pk,
        external_id=uuid4().hex,
        room=IncomingRoom(external_id=room.external_id, type="DM"),
        person=IncomingPerson(external_id=str(person.pk), name=person.name),
        text=asked.text,
        said_at=timezone.now(),
    )
    with _cost() as cost:
        work.drain_lane(receive(message).lane_id)
    return cost


def _recall(filled: Filled, place: Place, question: Question) -> Cost:
    query = RecallQuery(
        agent_id=filled.agent.pk,
        room_id=place.room_id,
        person_id=filled.person.pk,
        text=question.text,
        limit=LIMIT,
    )
    embedded = Cost()

    def embed(texts: Sequence[str]) -> list[list[float]]:
        with _cost(embedded):
            known = {question.text: question.vector.tolist()}
            return [known.get(text) or get_embedder().embed([text])[0] for text in texts]

    with _cost() as cost:
        found = recall(query, embed=embed)
    assert len(found.memories) == LIMIT, found
    cost.wall -= embedded.wall
    cost.python -= embedded.python
    return cost


def _found(filled: Filled, place: Place, asked: Sequence[Question], exact: list[set[int]]) -> float:
    """Return the share of the ten nearest that the product finds by a vector alone."""
    number_of = {id: number for number, id in enumerate(place.ids)}
    here = {"agent_id": filled.agent.pk, "room_id": place.room_id, "person_id": filled.person.pk}
    hits = 0
    for question, wanted in zip(asked, exact, strict=True):
        near = find_near(question.vector.tolist(), threshold=-1.0, limit=LIMIT, **here)
        hits += len({number_of.get(memory.id) for memory in near} & wanted)
    return hits / sum(map(len, exact))


def _exact(
    stored: np.ndarray[Any, Any], rows: np.ndarray[Any, Any], asked: Sequence[Question]
) -> list[set[int]]:
    """Return of each question which ten of the place's rows are the nearest, by comparing all of them."""
    matrix = np.stack([question.vector for question in asked])
    best = np.full((len(asked), 0), -1.0, np.float32)
    numbers = np.zeros((len(asked), 0), np.int64)
    for start in range(0, len(rows), 100_000):
        near = matrix @ stored[rows[start : start + 100_000]].T
        best = np.concatenate([best, near], axis=1)
        here = np.broadcast_to(np.arange(start, start + near.shape[1]), near.shape)
        numbers = np.concatenate([numbers, here], axis=1)
        chosen = np.argpartition(-best, LIMIT - 1, axis=1)[:, :LIMIT]
        best, numbers = np.take_along_axis(best, chosen, 1), np.take_along_axis(numbers, chosen, 1)
    return [set(row.tolist()) for row in numbers]


def _time_exact_scan(filled: Filled, place: Place, asked: Sequence[Question]) -> float:
    """Return what PostgreSQL takes for the same by comparing all. Unit: ms."""
    taken = []
    with connection.cursor() as cursor:
        cursor.execute("SET statement_timeout = 0")
        for question in asked:
            started = time.perf_counter()
            cursor.execute(EXACT, _parameters(filled, place, question))
            cursor.fetchall()
            taken.append((time.perf_counter() - started) * 1000)
    return median(taken)


def _parameters(filled: Filled, place: Place, question: Question) -> list[Any]:
    return [filled.agent.pk, place.scope, place.room_id, MODEL, vector_text(question.vector.tolist())]


@contextmanager
def _cost(cost: Cost | None = None) -> Iterator[Cost]:
    """Note the time, this process' CPU, and that of its sessions in PostgreSQL."""
    cost = Cost() if cost is None else cost
    sessions = _session_seconds()
    cpu, wall = time.process_time(), time.perf_counter()
    yield cost
    cost.wall += (time.perf_counter() - wall) * 1000
    cost.python += (time.process_time() - cpu) * 1000
    cost.postgresql += (_session_seconds() - sessions) * 1000


def _session_seconds() -> float:
    """Return the CPU seconds that the database's sessions have used: the kernel's account, in nanoseconds."""
    return sum(int(_told(pid, "schedstat").split()[0]) for pid in _sessions()) / 1e9


def _sessions() -> list[str]:
    children = _told(_postmaster(), f"task/{_postmaster()}/children").split()
    if not children:
        raise SystemExit(
            "The kernel does not tell the children of a process, so PostgreSQL's CPU can't be measured."
        )
    return [
        pid
        for pid in children
        if _told(pid, "cmdline").startswith(f"postgres: {connection.settings_dict['USER']} ")
    ]


@functools.cache
def _postmaster() -> str:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_backend_pid()")
        status = _told(cursor.fetchone()[0], "stat")
    return status.rpartition(")")[2].split()[1]


def _told(pid: object, name: str) -> str:
    try:
        return Path(f"/proc/{pid}/{name}").read_text()
    except OSError:
        return "" if name.endswith("children") else "0"


os.environ.setdefault("OMP_NUM_THREADS", "1")
