"""Builds the context that a built-in receives."""

import datetime as dt
import uuid

import pytest

from plugins.api import (
    AgentView,
    CharacterView,
    Context,
    MessageView,
    PersonView,
    RoomView,
    SecurityContext,
    State,
)
from plugins.registry import SERVICES

NOW = dt.datetime(2026, 11, 23, 23, 30, tzinfo=dt.timezone(dt.timedelta(hours=-2)))


@pytest.fixture
def message():
    return MessageView(
        id=uuid.UUID(int=7), text="Hello", speaker="Bo", person_id=uuid.UUID(int=3), said_at=NOW
    )


@pytest.fixture
def make_context(message):
    def make(*, character=None, turn=1, arguments=None, **state):
        view = AgentView(id=uuid.UUID(int=1), name="Ada", character=character or CharacterView(name="Ada"))
        room = RoomView(id=uuid.UUID(int=2), platform="web", platform_id="r", type="DM")
        person = PersonView(id=uuid.UUID(int=3), name="Bo")
        return Context(
            turn_id=uuid.UUID(int=turn),
            now=NOW,
            message=message,
            state=State(agent=view, room=room, person=person, **state),
            security=SecurityContext(person_id=person.id, platform="web", platform_verified=True),
            services=SERVICES,
            arguments=arguments or {},
        )

    return make
