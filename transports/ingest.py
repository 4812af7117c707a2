"""Brings a file of inbound messages in by the way that every message takes, and waits for the replies.

The command `ingest` calls it. The file is read twice: first to check every line, then to send; so nothing is
half ingested, and a file of any size takes little memory.
"""

from __future__ import annotations

import datetime as dt
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import UUID

from agents import inbox
from agents.agents import get_agent
from agents.models import Agent
from agents.outcomes import DOUBLE_TEXTED, EndedTurn, TurnWatch
from agents.percentiles import percentile
from transports.connections import Route, find_route, make_fake_connection
from transports.inbound_files import BadLine, InboundLine, Survey, parse_line, read_lines, survey
from transports.models import Connection

LOOK_PERIOD_SECONDS = 0.2
STALLED_AFTER_SECONDS = 300.0
GOOD_RESULTS = frozenset({"answered", "silent", *DOUBLE_TEXTED})


class FaultyFile(Exception):
    """A file with lines that are no messages; `faults` are their numbers, and what is wrong with each."""

    def __init__(self, path: Path, faults: list[tuple[int, str]]) -> None:
        super().__init__(f"{path}: {len(faults)} faulty lines; nothing was sent")
        self.faults = faults


class Interrupted(Exception):
    """A message was refused that was fine when the file was checked; what came before it is sent."""


@dataclass(frozen=True, kw_only=True)
class Plan:
    """A file that was checked, and the ways that its messages will take."""

    path: Path
    agent: Agent
    survey: Survey
    routes: dict[str, Route]


@dataclass(frozen=True, kw_only=True)
class ReplyLine:
    """One reply, with what it answers."""

    in_reply_to: str
    turn: UUID
    platform: str
    room: str
    person: str
    text: str
    received_at: dt.datetime
    replied_at: dt.datetime | None
    state: str

    def as_json(self) -> dict[str, Any]:
        """Return the line of the replies' file.

        Unit: times to the microsecond.
        """
        return {
            "in_reply_to": self.in_reply_to,
            "turn": str(self.turn),
            "room": self.room,
            "person": self.person,
            "text": self.text,
            "received_at": _microseconds(self.received_at),
            "replied_at": _microseconds(self.replied_at) if self.replied_at else None,
            "state": self.state,
        }


@dataclass(frozen=True, kw_only=True)
class Patience:
    """How long to wait: `seconds` after the last message, and `stalled_seconds` without any turn's end."""

    seconds: float | None = None
    stalled_seconds: float = STALLED_AFTER_SECONDS


@dataclass(frozen=True, kw_only=True)
class Audience:
    """Whoever is told what happens while it happens."""

    sent: Callable[[], None]
    ended: Callable[[EndedTurn], None]
    replied: Callable[[ReplyLine], None]


@dataclass(kw_only=True)
class Figures:
    """What became of a file. Unit: `latencies` in seconds from receipt to acknowledgement."""

    new: int = 0
    known: int = 0
    replies: int = 0
    open: int = 0
    has_waited: bool = False
    results: Counter[str] = field(default_factory=Counter)
    latencies: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def is_complete(self) -> bool:
        """Tell whether all that was waited for was answered, or rightly not."""
        return not self.open and self.results.keys() <= GOOD_RESULTS

    def percentile(self, share: float) -> float | None:
        """Return the latency that this share of the replies had at most, or None without replies."""
        return percentile(self.latencies, share) if self.latencies else None


def plan(path: Path, agent_name: str) -> Plan:
    """Check the whole file, and find the agent and its connections. Nothing is written.

    Raises: UnknownAgent, FaultyFile, OSError.
    """
    agent = get_agent(agent_name)
    routes: dict[str, Route] = {}

    def check(line: InboundLine) -> None:
        route = routes.get(line.platform)
        if route is None:
            route = routes[line.platform] = find_route(agent, line.platform)
        if route.is_disabled:
            raise BadLine(f"{agent.name}'s connection to {line.platform} is disabled: enable it in the admin")
        if route.connection and route.connection.external_id == line.person:
            raise BadLine(f"{line.person!r} is {agent.name}'s own account: leave out what it said itself")

    found = survey(path, check=check)
    if found.faults:
        raise FaultyFile(path, found.faults)
    return Plan(path=path, agent=agent, survey=found, routes=routes)


def connect(plan: Plan) -> dict[str, Connection]:
    """Return a connection a platform of the file; where there is none, one of the fake transport is made."""
    return {
        platform: route.connection or make_fake_connection(plan.agent, platform)
        for platform, route in plan.routes.items()
    }


def ingest(
    plan: Plan,
    connections: dict[str, Connection],
    *,
    per_second: float | None,
    patience: Patience | None,
    audience: Audience,
) -> Figures:
    """Send the file's messages, at most `per_second` of them, and wait for their turns if there is patience.

    A message that is known already changes nothing, and is not waited for.
    Raises: Interrupted.
    """
    work = _Ingestion(audience, is_waiting=patience is not None)
    started = time.monotonic()
    for position, line in enumerate(_lines(plan)):
        if per_second:
            work.pass_time_until(started + position / per_second)
        work.send(line, connections[line.platform].pk, plan.survey.room_type_of(line))
        work.look_if_due()
    if patience is not None:
        work.wait(patience)
    work.figures.seconds = time.monotonic() - started
    return work.figures


class _Ingestion:
    def __init__(self, audience: Audience, *, is_waiting: bool) -> None:
        self.figures = Figures(has_waited=is_waiting)
        self._audience = audience
        self._is_waiting = is_waiting
        self._watch = TurnWatch()
        self._asked: dict[UUID, tuple[str, str, str, str]] = {}
        self._looked_at = time.monotonic()

    def send(self, line: InboundLine, connection_id: UUID, room_type: str) -> None:
        try:
            receipt = inbox.receive(line.incoming(connection_id, room_type), is_limited=False)
        except inbox.Refused as error:
            raise Interrupted(
                f"Line {line.number} was refused: {error} Before it, {self.figures.new} were sent and"
                f" {self.figures.known} known; the same file can be given again."
            ) from error
        if not receipt.is_new:
            self.figures.known += 1
        else:
            self.figures.new += 1
            if self._is_waiting and receipt.turn_id is not None:
                self._asked[receipt.turn_id] = (line.id, line.platform, line.room, line.person)
                self._watch.add(receipt.turn_id)
        self._audience.sent()

    def pass_time_until(self, moment: float) -> None:
        while (left := moment - time.monotonic()) > 0:
            self.look_if_due()
            time.sleep(min(left, LOOK_PERIOD_SECONDS))

    def look_if_due(self) -> None:
        if time.monotonic() - self._looked_at >= LOOK_PERIOD_SECONDS:
            self._look()

    def wait(self, patience: Patience) -> None:
        started = moved_at = time.monotonic()
        while self._watch:
            now = time.monotonic()
            if self._look():
                moved_at = now
                continue
            if patience.seconds is not None and now - started >= patience.seconds:
                break
            if now - moved_at >= patience.stalled_seconds:
                break
            time.sleep(LOOK_PERIOD_SECONDS)
        self.figures.open = len(self._watch)

    def _look(self) -> bool:
        ended = self._watch.look()
        self._looked_at = time.monotonic()
        for turn in ended:
            self.figures.results[turn.result] += 1
            self._audience.ended(turn)
        replies = [reply for turn in ended for reply in self._replies(turn)]
        for reply in sorted(replies, key=lambda reply: reply.replied_at or reply.received_at):
            self.figures.replies += 1
            if reply.replied_at is not None:
                self.figures.latencies.append((reply.replied_at - reply.received_at).total_seconds())
            self._audience.replied(reply)
        return bool(ended)

    def _replies(self, turn: EndedTurn) -> Iterator[ReplyLine]:
        message_id, platform, room, person = self._asked.pop(turn.id)
        for reply in turn.replies:
            yield ReplyLine(
                in_reply_to=message_id,
                turn=turn.id,
                platform=platform,
                room=room,
                person=person,
                text=reply.text,
                received_at=turn.received_at,
                replied_at=reply.replied_at,
                state=reply.state,
            )


def _lines(plan: Plan) -> Iterator[InboundLine]:
    for number, raw in read_lines(plan.path):
        try:
            yield parse_line(number, raw)
        except BadLine as error:
            raise Interrupted(f"Line {number} was changed since the file was checked: it {error}.") from error


def _microseconds(moment: dt.datetime) -> str:
    return moment.astimezone(dt.UTC).isoformat(timespec="microseconds")
