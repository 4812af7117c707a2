"""Callers of the web API, and a hand that plays the worker."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any
from uuid import UUID

import pytest
from django.contrib.auth.models import User
from django.test import Client
from django.utils import timezone

from agents import streams
from agents.envelopes import Outgoing
from agents.models import Agent, Character, Message, Turn
from agents.people import senders
from transports.base import ConnectionView
from transports.web import auth, connections
from transports.web.transport import WebTransport

_numbers = count(1)


@pytest.fixture(autouse=True)
def fresh(settings: Any, tmp_path: Any) -> Iterator[None]:
    settings.STATIC_ROOT = tmp_path
    settings.CELERY_BROKER_URL = "memory://"
    _forget()
    yield
    _forget()


def _forget() -> None:
    senders.forget_connection_facts()
    auth.forget_verified_keys()
    connections.forget_web_agents()


@pytest.fixture
def agent(db: None) -> Agent:
    character = Character.objects.create(
        name="Mira",
        slug="mira",
        document={
            "name": "Mira",
            "bio": ["Mira keeps bees.", "She hums."],
            "messageExamples": [
                [{"name": "{{name1}}", "content": {"text": "How many bees?"}}],
                [{"name": "Mira", "content": {"text": "I speak first here."}}],
            ],
        },
    )
    return Agent.objects.create(character=character, name="Mira", slug="mira")


class Program:
    """A program with an API key of its own user."""

    def __init__(self, name: str) -> None:
        self.user = User.objects.create_user(name)
        self.key = auth.create_api_key("a program", self.user)
        self.client = Client(headers={"Authorization": f"Bearer {self.key}"}, raise_request_exception=False)

    def say(self, text: str, *, agent: str = "mira", **more: Any) -> dict[str, Any]:
        response = self.post(f"/api/v1/agents/{agent}/messages", {"text": text, **more})
        assert response.status_code == 202, response.content
        return response.json()

    def post(self, path: str, body: Any) -> Any:
        data = body if isinstance(body, str | bytes) else json.dumps(body)
        return self.client.post(path, data, content_type="application/json")


@pytest.fixture
def make_program(db: None) -> Callable[[], Program]:
    return lambda: Program(f"program{next(_numbers)}")


@pytest.fixture
def program(make_program: Callable[[], Program]) -> Program:
    return make_program()


@pytest.fixture
def reply_to() -> Callable[..., list[Message]]:
    """Plays the worker's end of a turn: the replies stand in the database and are delivered."""

    def reply(turn_id: str | UUID, *texts: str, is_delivered: bool = True) -> list[Message]:
        turn = Turn.objects.get(pk=turn_id)
        now = timezone.now()
        said = [
            Message.objects.create(
                agent_id=turn.agent_id,
                connection_id=turn.connection_id,
                room_id=turn.room_id,
                direction=Message.Direction.OUT,
                text=text,
                turn=turn,
                position=position,
                said_at=now,
                received_at=timezone.now(),
            )
            for position, text in enumerate(texts)
        ]
        Turn.objects.filter(pk=turn.pk).update(state=Turn.State.DONE, ended_at=now)
        for message in said if is_delivered else ():
            deliver(message, turn)
        return said

    return reply


def deliver(message: Message, turn: Turn) -> None:
    view = ConnectionView(id=turn.connection_id, agent_id=turn.agent_id, platform="web")
    outgoing = Outgoing(
        delivery_id=1,
        message_id=message.pk,
        room_id=turn.room_id,
        room_external_id="",
        room_type="DM",
        text=message.text,
        nonce="1",
        turn_id=turn.pk,
    )
    acknowledged = WebTransport().deliver(view, outgoing)
    assert acknowledged.external_id == str(message.pk)


Event = tuple[str, dict[str, Any], str]


@pytest.fixture
def read_events() -> Callable[..., list[Event]]:
    """Reads a response's events until `done`, or until `enough` of them came."""

    def read(response: Any, *, enough: int = 1000, seconds: float = 8.0) -> list[Event]:
        assert response.status_code == 200, response.content
        return asyncio.run(asyncio.wait_for(_read(response, enough), seconds))

    return read


async def _read(response: Any, enough: int) -> list[Event]:
    found: list[Event] = []
    stream = response.streaming_content
    try:
        async for chunk in stream:
            for block in chunk.decode().strip().split("\n\n"):
                fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
                if "event" in fields:
                    found.append((fields["event"], json.loads(fields["data"]), fields.get("id", "")))
            if len(found) >= enough:
                return found
    finally:
        await stream.aclose()
    return found


@pytest.fixture
def stream_of() -> Callable[..., streams.TurnStream]:
    """Opens a turn's stream as a worker that holds this lease."""

    def open_stream(taken: dict[str, Any], *, lease_token: int = 1) -> streams.TurnStream:
        return streams.TurnStream(
            room_id=UUID(taken["room"]),
            turn_id=UUID(taken["turn"]),
            message_id=UUID(taken["message"]),
            lease_token=lease_token,
        )

    return open_stream
