"""The page "What would this message recall?": what it shows, to whom, and what it leaves behind."""

from __future__ import annotations

import datetime as dt
import re
from html import unescape
from typing import Any
from unicodedata import normalize

import pytest
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from agents.models import Account, Agent, AuditEntry, Message, Participant, Person, Room
from memory.embeddings.base import EmbeddingError
from memory.memories import MemoryDraft, remember
from memory.models import Chunk, Document, Memory
from tests.doubles.history import make_history

pytestmark = pytest.mark.django_db

SECRET = "I keep bees behind the house."


@pytest.fixture
def place(agent: Agent) -> Any:
    """Ann told Eliza of her bees in private; Bob has a direct chat of his own; both are in the garden."""
    people = {}
    for name in ("Ann", "Bob"):
        person = people[name] = Person.objects.create(name=name)
        Account.objects.create(person=person, platform="telegram", external_id=name.lower())
        room = Room.objects.create(platform="telegram", external_id=f"dm-{name}", type="DM", name=f"{name}'s")
        Participant.objects.create(room=room, person=person)
    garden = Room.objects.create(platform="telegram", external_id="garden", type="GROUP", name="Garden")
    for person in people.values():
        Participant.objects.create(room=garden, person=person)
    keep(agent, SECRET, people["Ann"], Room.objects.get(name="Ann's"), "person")
    return agent


def keep(agent: Agent, text: str, person: Person | None, room: Room | None, scope: str, **more: Any) -> None:
    fields = {"kind": "message", "speaker": person.name if person else "", "said_at": timezone.now(), **more}
    remember(
        [
            MemoryDraft(
                agent_id=agent.pk,
                scope=scope,
                text=text,
                person_id=person.pk if person else None,
                room_id=room.pk if room else None,
                **fields,
            )
        ]
    )


def ask(client: Client, agent: Agent, text: str, **more: Any) -> str:
    response = client.post(
        reverse("admin:agents_recall"), {"agent": agent.slug, "text": text, "limit": 6, **more}
    )
    assert response.status_code == 200
    return unescape(response.content.decode())


def user_with(*permissions: str) -> Client:
    user = User.objects.create_user("helper", is_staff=True)
    for permission in permissions:
        app, codename = permission.split(".")
        user.user_permissions.add(Permission.objects.get(content_type__app_label=app, codename=codename))
    client = Client()
    client.force_login(user)
    return client


def test_a_hit_stands_with_what_brought_it_who_said_it_and_links(admin_client: Client, place: Agent) -> None:
    message_id = "0197f000-0000-7000-8000-00000000beef"
    said_at = dt.datetime(2026, 3, 4, 5, 6, tzinfo=dt.UTC)
    ann = Person.objects.get(name="Ann")
    keep(
        place, "My hives hum.", ann, Room.objects.get(name="Ann's"), "person",
        said_at=said_at, source_messages=(message_id,),
    )  # fmt: skip

    shown = ask(admin_client, place, "Which hives do I keep?", room="Ann's")

    assert "My hives hum." in shown
    assert "Ann<br>2026-03-04 05:06" in shown
    assert "message<br>person" in shown
    assert reverse("admin:memory_memory_change", args=[Memory.objects.get(text="My hives hum.").pk]) in shown
    assert reverse("admin:agents_message_change", args=[message_id]) in shown
    assert re.search(r'<span>text</span><meter min="0" max="[0-9.]+" value="[0-9.]+"></meter><span>\+', shown)
    assert re.search(r"Eliza, in Ann's, with Ann: 2 of at most 6\.", shown)
    assert re.search(r'id="cost">[0-9.]+ m?s to search,\s+[0-9.]+ m?s for the embedder', shown)


def test_a_message_is_as_long_as_it_is_once_it_is_composed(
    admin_client: Client, place: Agent, settings: Any
) -> None:
    settings.MESSAGE_MAX_CHARACTERS = 20
    assert "Nothing was asked." not in ask(admin_client, place, normalize("NFD", "é" * 20))
    assert "Nothing was asked." in ask(admin_client, place, "é" * 21)


def test_hits_stand_best_first_and_no_more_than_wanted(admin_client: Client, place: Agent) -> None:
    garden = Room.objects.get(name="Garden")
    for number in range(8):
        keep(place, f"Roses, number {number}.", None, garden, "room")
    keep(place, "Roses need sun and water at noon.", None, garden, "room")

    shown = ask(admin_client, place, "What do roses need at noon?", room="Garden", limit=3)

    scores = [
        float(score) for score in re.findall(r'<td data-label="Score">(-?[0-9]+\.[0-9]{2})</td>', shown)
    ]
    assert len(scores) == 3
    assert scores == sorted(scores, reverse=True)
    assert "Roses need sun" in shown


def test_a_document_is_cited(admin_client: Client, place: Agent) -> None:
    document = Document.objects.create(agent=place, name="bees.md", title="On bees", edition="current")
    keep(place, "Bees dance.", None, None, "agent", kind="document")
    Chunk.objects.create(
        document=document, edition="current", position=0, memory=Memory.objects.get(text="Bees dance."),
        headings=["Dances"], page=7, start=0, end=11,
    )  # fmt: skip

    shown = ask(admin_client, place, "How do bees dance?")

    assert "On bees, Dances, page 7" in shown
    assert reverse("admin:memory_document_change", args=[document.pk]) in shown


@pytest.mark.parametrize(
    "where",
    [
        {},
        {"person": "Bob"},
        {"room": "Garden"},
        {"room": "Garden", "person": "Ann"},
        {"room": "Ann's", "person": "Bob"},
        {"room": "Bob's", "person": "Ann"},
    ],
)
def test_what_was_said_in_private_is_shown_nowhere_else(
    admin_client: Client, place: Agent, where: dict[str, str]
) -> None:
    bob = Person.objects.get(name="Bob")
    Message.objects.create(
        agent=place, room=Room.objects.get(name="Bob's"), person=bob, direction="in", text="hello",
        connection_id=connection_of(place), said_at=timezone.now(), received_at=timezone.now(),
    )  # fmt: skip

    shown = ask(admin_client, place, "Where do I keep bees?", **where)

    assert SECRET not in shown
    assert "Nothing comes to mind." in shown
    assert SECRET in ask(admin_client, place, "Where do I keep bees?", room="Ann's", person="Ann")


def connection_of(agent: Agent) -> Any:
    from transports.models import Connection

    return Connection.objects.create(agent=agent, platform="telegram", transport="fake").pk


def test_another_agents_memories_are_not_shown(admin_client: Client, place: Agent) -> None:
    from tests.conftest import make_agent

    other = make_agent(name="Otto")
    assert SECRET not in ask(admin_client, other, "Where do I keep bees?", room="Ann's", person="Ann")


def test_the_audit_says_who_looked_and_before_whom_and_not_what_was_asked(
    admin_client: Client, place: Agent
) -> None:
    ann, room, garden = (
        Person.objects.get(name="Ann"), Room.objects.get(name="Ann's"), Room.objects.get(name="Garden"),
    )  # fmt: skip

    ask(admin_client, place, "xylophone bees", room="Ann's")
    ask(admin_client, place, "xylophone bees", room="Garden")
    ask(admin_client, place, "xylophone bees")

    entries = AuditEntry.objects.order_by("pk").values_list(
        "actor", "verb", "object_kind", "object_id", "details"
    )
    assert list(entries) == [
        ("admin", "recall", "person", str(ann.pk), {"agent": str(place.pk), "room": str(room.pk), "hits": 1}),
        ("admin", "recall", "room", str(garden.pk), {"agent": str(place.pk), "room": str(garden.pk), "hits": 0}),
        ("admin", "recall", "agent", str(place.pk), {"agent": str(place.pk), "room": None, "hits": 0}),
    ]  # fmt: skip


def test_nothing_but_the_audit_is_written(admin_client: Client, place: Agent) -> None:
    with CaptureQueriesContext(connection) as caught:
        ask(admin_client, place, "Where do I keep bees?", person="", room="Ann's")

    written = [
        query["sql"]
        for query in caught
        if re.match(r"\s*(INSERT|UPDATE|DELETE)", query["sql"], re.IGNORECASE)
    ]
    assert len(written) == 1
    assert "agents_auditentry" in written[0]


def test_who_may_not_see_memories_gets_neither_page_nor_answer(place: Agent) -> None:
    address = reverse("admin:agents_recall")
    client = user_with("agents.view_agent", "agents.view_message", "agents.view_turn")

    assert client.get(address).status_code == 403
    assert client.post(address, {"agent": place.slug, "text": "bees", "limit": 6}).status_code == 403
    assert not AuditEntry.objects.exists()
    page = client.get(reverse("admin:agents_agent_change", args=[place.pk]))
    assert "What would it recall?" not in page.content.decode()
    button = reverse("admin:agents_agent_recall", args=[place.pk])
    assert client.get(button).status_code == 403


def test_a_visitor_is_sent_to_the_login_page(client: Client) -> None:
    assert client.get(reverse("admin:agents_recall")).status_code == 302


def test_who_may_see_memories_needs_no_right_to_see_agents(place: Agent) -> None:
    client = user_with("memory.view_memory")

    assert SECRET in ask(client, place, "Where do I keep bees?", room="Ann's")
    listed = client.get(reverse("admin:memory_memory_changelist")).content.decode()
    assert "What would a message recall?" in listed


def test_the_pages_of_memories_and_agents_lead_there(admin_client: Client, place: Agent) -> None:
    address = reverse("admin:agents_recall")
    page = admin_client.get(reverse("admin:agents_agent_change", args=[place.pk])).content.decode()
    button = reverse("admin:agents_agent_recall", args=[place.pk])

    assert button in page
    there = admin_client.get(button)
    assert there["Location"] == f"{address}?agent={place.slug}"
    assert f'value="{place.slug}" selected' in admin_client.get(there["Location"]).content.decode()
    assert admin_client.get(reverse("admin:memory_memory_recall")).url == address


def test_an_embedder_that_is_away_is_told_of_and_words_bring_what_they_can(
    admin_client: Client, place: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Away:
        name, dimensions = "away", 384

        def embed(self, _texts: Any) -> Any:
            raise EmbeddingError("The embedder at port 1 is away.")

    monkeypatch.setattr("agents.memories.recollections.get_embedder", Away)

    shown = ask(admin_client, place, "Where do I keep bees?", room="Ann's")

    assert "The embedder at port 1 is away." in shown
    assert "only words and dates were compared" in shown
    assert SECRET in shown


def test_an_embedder_that_hangs_is_not_waited_for(
    admin_client: Client, place: Agent, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    over = threading.Event()

    class Hung:
        name, dimensions = "hung", 384

        def embed(self, _texts: Any) -> Any:
            over.wait(30)
            return []

    monkeypatch.setattr("agents.memories.recollections.get_embedder", Hung)
    settings.EMBEDDING_TIMEOUT_SECONDS = 0.05

    shown = ask(admin_client, place, "Where do I keep bees?", room="Ann's")

    over.set()
    assert "only words and dates were compared" in shown
    assert SECRET in shown


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"agent": "nobody"}, "Select a valid choice"),
        ({"agent": ""}, "This field is required."),
        ({"text": ""}, "This field is required."),
        ({"text": " \n "}, "This field is required."),
        ({"text": "a\x00b"}, "Null characters are not allowed."),
        ({"text": "x" * 20_001}, "It has 20,001 characters; a message has 20,000 at most."),
        ({"limit": "0"}, "greater than or equal to 1"),
        ({"limit": "51"}, "less than or equal to 50"),
        ({"limit": "many"}, "Enter a whole number."),
        ({"room": "attic"}, "There is no room 'attic': give its id, its name, or network:id."),
        ({"room": "a\x00b"}, "Null characters are not allowed."),
        ({"room": "x" * 300}, "at most 230 characters"),
        (
            {"person": "Zed"},
            "There is no person 'Zed': give an id, an account such as telegram:12345, or a name.",
        ),
        ({"person": "Bob"}, "Bob has no direct chat with Eliza: name a room."),
        ({"person": "Twin"}, "'Twin' is the name of several: give the id or account of whom you mean:"),
    ],
)
def test_what_makes_no_sense_is_told_of_at_its_field(
    admin_client: Client, place: Agent, given: dict[str, str], words: str
) -> None:
    for _twin in range(2):
        Person.objects.create(name="Twin")

    shown = ask(admin_client, place, **{"text": "bees", **given}) if "agent" not in given else unescape(
        admin_client.post(
            reverse("admin:agents_recall"), {"text": "bees", "limit": 6, **given}
        ).content.decode()
    )  # fmt: skip

    assert words in shown
    assert "Nothing was asked." in shown
    assert 'id="recalled"' not in shown
    assert not AuditEntry.objects.exists()


def test_many_hits_ask_no_more_of_the_database_than_few(admin_client: Client, place: Agent) -> None:
    garden = Room.objects.get(name="Garden")
    keep(
        place,
        "Roses, number 0.",
        None,
        garden,
        "room",
        source_messages=("0197f000-0000-7000-8000-000000000000",),
    )

    def count() -> int:
        with CaptureQueriesContext(connection) as caught:
            ask(admin_client, place, "Tell me of roses.", room="Garden", limit=50)
        return len(caught)

    count()
    few = count()
    for number in range(1, 40):
        keep(place, f"Roses, number {number}.", None, garden, "room", source_messages=(str(garden.pk),))
    assert count() == few
    assert few <= 14


def test_a_turns_page_shows_what_it_recalled_with_scores_and_messages(admin_client: Client) -> None:
    rows = make_history(2)
    turn, memory = rows.turns[0], rows.memories[0]
    gone = "0197f000-0000-7000-8000-00000000dead"
    turn.steps.create(
        position=20,
        name="recall",
        output={
            "memories": [
                {"id": str(memory.pk), "score": 3.25, "scores": {"vector": 2.0, "text": 1.25}},
                {"id": gone, "score": 1.0, "scores": {"vector": 1.0}},
            ]
        },
    )

    shown = unescape(admin_client.get(reverse("admin:agents_turn_change", args=[turn.pk])).content.decode())

    assert "2 memories" in shown
    assert reverse("admin:memory_memory_change", args=[memory.pk]) in shown
    assert reverse("admin:memory_memory_change", args=[gone]) not in shown
    assert "(forgotten since)" in shown
    assert re.search(rf'{rows.messages[0].pk}/change/">message [0-9a-f]+</a> by a Person 0', shown)
    assert "<td>3.25</td>" in shown
    assert "<span>text</span>" in shown
