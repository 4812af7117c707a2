"""The people of the benchmark, in a process of their own: they speak through the HTTP API, and wait.

`turns.py` starts it, writes one JSON line for each run to its input and reads one from its output. Each
person has a connection that is kept alive, and says the next thing when the reply to the last was
acknowledged. That is learnt by looking into the database every few milliseconds, which costs the fleet least;
the CPU of that database session is counted with the driver. The times are the database's own.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count
from typing import Any
from urllib.parse import urlsplit

import psycopg

LOOK_SECONDS = 0.01
DRAIN_LOOK_SECONDS = 0.05
LONGEST_RUN_SECONDS = 150.0

FIND_REPLIES = """
SELECT /* benchmark */ turn.id::text, extract(epoch FROM delivery.sent_at - turn.received_at)::float,
       turn.outcome || ' ' || delivery.state
FROM agents_message AS reply
JOIN agents_delivery AS delivery ON delivery.message_id = reply.id
JOIN agents_turn AS turn ON turn.id = reply.turn_id
WHERE reply.turn_id = ANY(%s::uuid[]) AND delivery.state NOT IN ('pending', 'sending')
"""

FIND_LEFT = """
SELECT /* benchmark */
       (SELECT count(*) FROM agents_turn WHERE state IN ('waiting', 'running')),
       (SELECT count(*) FROM agents_delivery WHERE state IN ('pending', 'sending')),
       (SELECT count(*) FROM agents_turn WHERE evaluation = 'due'),
       (SELECT count(*) FROM memory_memory WHERE embedding IS NULL AND text <> ''),
       (SELECT count(*) FROM plugins_event WHERE handled_at IS NULL)
"""
LEFT_NAMES = ("open turns", "open deliveries", "evaluations", "memories without a vector", "events")

OPENINGS = (
    "Good morning, I slept badly because of",
    "Do you remember what I told you about",
    "I have been thinking the whole day of",
    "My sister asked me yesterday about",
    "Can you tell me in two sentences something of",
    "It went better than I feared with",
)
MATTERS = (
    "the new job in the harbour office",
    "my tomato plants on the windowsill",
    "the noise of the trains behind the house",
    "the letter from my landlord",
    "learning the violin at forty",
    "our trip to the islands in June",
    "the dog that is afraid of umbrellas",
    "my grandmother's recipe for plum cake",
    "the museum with the clocks",
)


def sentences(start: int) -> Iterator[str]:
    """Make things to say, each of them another one."""
    for number in count(start):
        opening, matter = OPENINGS[number % len(OPENINGS)], MATTERS[(number // 2) % len(MATTERS)]
        yield f"{opening} {matter}, for the {number}th time. What would you do in my place?"


@dataclass(frozen=True, kw_only=True)
class Run:
    """One run: who speaks to whom, and how many messages they say together."""

    url: str
    agent: str
    keys: list[str]
    turns: int


class Person:
    """One person's keep-alive connection to the site."""

    def __init__(self, run: Run, number: int) -> None:
        self._site = urlsplit(run.url)
        self._head = (
            f"POST /api/v1/agents/{run.agent}/messages HTTP/1.1\r\nHost: {self._site.netloc}\r\n"
            f"Authorization: Bearer {run.keys[number]}\r\nContent-Type: application/json\r\nContent-Length: "
        )
        self.sentences = sentences(number)
        self._reader: asyncio.StreamReader | None = None

    async def say(self) -> str:
        """Say the next sentence and return the id of the turn that will answer it."""
        if self._reader is None or self._reader.at_eof():
            self._reader, self._writer = await asyncio.open_connection(self._site.hostname, self._site.port)
        body = json.dumps({"text": next(self.sentences)})
        self._writer.write(f"{self._head}{len(body)}\r\n\r\n{body}".encode())
        head = (await self._reader.readuntil(b"\r\n\r\n")).lower()
        length = int(head.split(b"content-length:", 1)[1].split(b"\r\n", 1)[0])
        answer = await self._reader.readexactly(length)
        if b" 202 " not in head.split(b"\r\n", 1)[0]:
            raise RuntimeError(f"The site refused a message: {head.decode()}{answer.decode()[:500]}")
        return str(json.loads(answer)["turn"])

    def leave(self) -> None:
        """Close the connection."""
        if self._reader is not None:
            self._writer.close()


class Replies:
    """Finds out which turns were answered, for all people together."""

    def __init__(self, session: psycopg.AsyncConnection[tuple[Any, ...]]) -> None:
        self._session = session
        self._waiting: dict[str, asyncio.Future[None]] = {}
        self.seconds: list[float] = []
        self.outcomes: dict[str, int] = {}

    async def wait_for(self, turn: str) -> None:
        """Wait until the reply to this turn's message was acknowledged."""
        self._waiting[turn] = asyncio.get_running_loop().create_future()
        await self._waiting[turn]

    async def look(self) -> None:
        """Look for replies until cancelled."""
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if not self._waiting:
                continue
            cursor = await self._session.execute(FIND_REPLIES, [list(self._waiting)], prepare=True)
            for turn, seconds, outcome in await cursor.fetchall():
                if seconds is not None:
                    self.seconds.append(seconds)
                self.outcomes[outcome] = self.outcomes.get(outcome, 0) + 1
                self._waiting.pop(turn).set_result(None)


async def work(run: Run, session: psycopg.AsyncConnection[tuple[Any, ...]]) -> dict[str, Any]:
    """Let all people speak until the run's messages are answered and nothing is left to do."""
    replies = Replies(session)
    left = iter(range(run.turns))
    people = [Person(run, number) for number in range(len(run.keys))]

    async def converse(person: Person) -> None:
        for _ in left:
            await replies.wait_for(await person.say())

    looking = asyncio.create_task(replies.look())
    started = time.perf_counter()
    try:
        await asyncio.gather(*(converse(person) for person in people))
        answered = time.perf_counter() - started
    finally:
        looking.cancel()
        for person in people:
            person.leave()
    await _drain(session)
    return {
        "answered_seconds": answered,
        "seconds": time.perf_counter() - started,
        "latencies": sorted(replies.seconds),
        "outcomes": replies.outcomes,
    }


async def _drain(session: psycopg.AsyncConnection[tuple[Any, ...]]) -> None:
    """Wait until deliveries, evaluations, embeddings and events are done too."""
    while True:
        row = await (await session.execute(FIND_LEFT, prepare=True)).fetchone()
        assert row is not None
        if not any(row):
            return
        await asyncio.sleep(DRAIN_LOOK_SECONDS)


async def _left(session: psycopg.AsyncConnection[tuple[Any, ...]]) -> str:
    row = await (await session.execute(FIND_LEFT)).fetchone()
    assert row is not None
    return ", ".join(f"{number} {name}" for name, number in zip(LEFT_NAMES, row, strict=True) if number)


async def main() -> None:
    """Serve runs until the input ends."""
    session = await psycopg.AsyncConnection.connect(os.environ["DATABASE_URL"], autocommit=True)
    _say({"database_process": session.info.backend_pid})
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        try:
            done = await asyncio.wait_for(work(Run(**json.loads(line)), session), LONGEST_RUN_SECONDS)
        except TimeoutError:
            done = {"error": f"Not done within {LONGEST_RUN_SECONDS:.0f} s: {await _left(session)}."}
        except (OSError, RuntimeError, asyncio.IncompleteReadError) as error:
            done = {"error": f"{type(error).__name__}: {error}"}
        _say(done)


def _say(words: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(words) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    asyncio.run(main())
