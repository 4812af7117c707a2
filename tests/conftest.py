"""What most tests start from: one agent with one connection, and a script in place of a model."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from django.conf import settings
from django.core.cache import cache
from django.test import TransactionTestCase, override_settings

from agents.circuits import broker_circuit, cache_circuit
from agents.envelopes import Incoming, IncomingPerson, IncomingRoom
from agents.llm.router import answering_with
from agents.llm.scripted import ScriptedModel
from agents.llm.servers import close_servers
from agents.models import Agent, Character, CharacterVersion
from agents.people.senders import forget_connection_facts
from eliza_site.environment import SQLITE_ENGINE
from memory.embeddings.spaces import CACHE_KEY
from memory.stores import row_security
from tests.emptying import empty_after_test
from tests.postgresql import reason_of
from transports.models import Connection

ON_SQLITE = settings.DATABASES["default"]["ENGINE"] == SQLITE_ENGINE
MakeIncoming = Callable[..., Incoming]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what needs PostgreSQL itself, and leave it out on SQLite."""
    for item in items:
        if reason := reason_of(item.nodeid):
            item.add_marker(pytest.mark.postgresql)
            if ON_SQLITE:
                item.add_marker(pytest.mark.skip(reason=reason))


@pytest.fixture(scope="session", autouse=True)
def _model_clients_closed() -> Iterator[None]:
    """Close the connections to model servers that are kept for as long as the process runs."""
    yield
    close_servers()


@pytest.fixture(scope="session", autouse=True)
def _no_file_left_in_the_project() -> Iterator[None]:
    """See that no test on SQLite leaves a file here: any name of a database is one of a file there."""
    before = _files_of_the_project()
    yield
    if ON_SQLITE:
        left = _files_of_the_project() - before
        assert not left, f"tests left {sorted(left)} in {settings.BASE_DIR}"


def _files_of_the_project() -> set[str]:
    # The tests' own database may be there because somebody named it so.
    own = Path(settings.DATABASES["default"]["NAME"]).name
    return {
        path.name for path in settings.BASE_DIR.glob("*") if path.is_file() and not path.name.startswith(own)
    }


@pytest.fixture(scope="session", autouse=True)
def _quick_passwords() -> Iterator[None]:
    """Hash passwords quickly: the usual hash takes 0.2 s on purpose, and each test of the admin makes a user."""
    with override_settings(PASSWORD_HASHERS=["django.contrib.auth.hashers.MD5PasswordHasher"]):
        yield


@pytest.fixture(scope="session", autouse=True)
def _quick_emptying() -> Iterator[None]:
    """Empty the database quickly after tests that commit."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(TransactionTestCase, "_fixture_teardown", empty_after_test)
        yield


@pytest.fixture(autouse=True)
def _servers_are_well() -> None:
    """Forget what an earlier test taught of a server that failed."""
    cache_circuit().succeed()
    broker_circuit().succeed()


@pytest.fixture(autouse=True)
def _no_vector_spaces(_servers_are_well: None) -> None:
    """Let the settings say which vectors are used, so that no statement of a test is a look for other spaces."""
    cache.set(CACHE_KEY, (), timeout=3600)


@pytest.fixture
def hashed_vectors(settings: Any) -> None:
    """Quick embeddings, so that no model is loaded."""
    settings.EMBEDDING_MODEL, settings.EMBEDDING_BASE_URL, settings.EMBEDDING_DIMENSIONS = "hashed", "", 0


def make_agent(**changes: Any) -> Agent:
    """Make a running agent with a character and its first version."""
    name = changes.pop("name", "Eliza")
    key = f"{name.lower()}-{uuid4().hex[:8]}"
    document = {"name": name, "bio": ["Listens."], **changes.pop("document", {})}
    character = Character.objects.create(name=key, slug=key, document=document, version=1)
    CharacterVersion.objects.create(character=character, number=1, document=document)
    return Agent.objects.create(character=character, name=name, slug=key, **changes)


@pytest.fixture
def wall_known(db: None) -> None:
    """Have this process know of row level security, as after its first recall: no test counts the question."""
    row_security.stands()


@pytest.fixture
def agent(wall_known: None, hashed_vectors: None) -> Agent:
    """A running agent named Eliza."""
    return make_agent()


@pytest.fixture
def connection(agent: Agent) -> Connection:
    """Eliza's connection to a network that takes everything."""
    forget_connection_facts()
    return Connection.objects.create(agent=agent, platform="telegram", transport="fake")


@pytest.fixture
def incoming(connection: Connection) -> MakeIncoming:
    """Make a message to Eliza; every part can be changed."""

    def make(text: str = "hello", **changes: Any) -> Incoming:
        person = changes.pop("person", "ann")
        room = changes.pop("room", f"dm-{person}")
        fields: dict[str, Any] = {
            "connection_id": connection.pk,
            "external_id": uuid4().hex,
            "room": IncomingRoom(external_id=room, type=changes.pop("room_type", "DM")),
            "person": IncomingPerson(
                external_id=person, name=person.title(), is_bot=changes.pop("is_bot", False)
            ),
            "text": text,
            "said_at": dt.datetime.now(dt.UTC),
        }
        return Incoming(**{**fields, **changes})

    return make


@pytest.fixture
def model() -> Iterator[ScriptedModel]:
    """A model that answers everything with the same words."""
    with answering_with(ScriptedModel("Hello to you too.")) as scripted:
        yield scripted  # type: ignore[misc]
