"""The API's operations on memories: for those alone who may see the same in the admin, and with the same walls."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from unicodedata import normalize

import pytest
from django.contrib.auth.models import Permission, User
from django.test import Client

from agents import work
from agents.inbox import receive
from agents.models import Agent, AuditEntry, Message, Turn
from memory.models import Memory
from memory.writes import embed_pending
from transports.web import auth

SECRET = "I keep bees behind the house."
ALL = ("memory.view_memory", "agents.view_message", "agents.view_turn")


@pytest.fixture(autouse=True)
def _fresh_keys() -> Iterator[None]:
    auth.forget_verified_keys()
    yield
    auth.forget_verified_keys()


@pytest.fixture
def talked(incoming: Any, model: Any, agent: Agent) -> Agent:
    """Ann told the agent something in private, and it answered."""
    for text in (SECRET, "My sister sails."):
        work.drain_lane(receive(incoming(text)).lane_id)
    embed_pending()
    return agent


class Caller:
    """A program with the key of a user who may do this and that."""

    def __init__(self, *permissions: str, is_staff: bool = True, name: str = "helper") -> None:
        self.user = User.objects.create_user(name, is_staff=is_staff)
        for permission in permissions:
            app, codename = permission.split(".")
            found = Permission.objects.get(content_type__app_label=app, codename=codename)
            self.user.user_permissions.add(found)
        key = auth.create_api_key("a program", self.user)
        self._client = Client(headers={"Authorization": f"Bearer {key}"}, raise_request_exception=False)

    def recall(self, agent: str, **body: Any) -> Any:
        data = json.dumps({"text": "Where do I keep bees?", **body})
        return self._client.post(f"/api/v1/agents/{agent}/recall", data, content_type="application/json")

    def get(self, path: str) -> Any:
        return self._client.get(f"/api/v1/{path}")


def test_hits_come_with_scores_place_and_cost(talked: Agent) -> None:
    answer = Caller("memory.view_memory").recall(talked.slug, person="Ann", limit=1)

    assert answer.status_code == 200
    told = answer.json()
    (hit,) = told["memories"]
    assert hit["text"] == SECRET
    assert hit["score"] == pytest.approx(sum(hit["scores"].values()), abs=0.001)
    assert (hit["kind"], hit["scope"], hit["speaker"]) == ("message", "person", "Ann")
    assert hit["source_messages"] == [str(Message.objects.get(text=SECRET).pk)]
    assert told["agent"] == talked.slug
    assert told["room"] == str(Message.objects.get(text=SECRET).room_id)
    assert told["error"] == ""
    assert told["search_milliseconds"] > 0
    assert told["embedder_milliseconds"] > 0


def test_what_was_said_in_private_comes_nowhere_else(talked: Agent) -> None:
    caller = Caller("memory.view_memory")

    assert caller.recall(talked.slug).json()["memories"] == []
    assert SECRET in caller.recall(talked.slug, person="telegram:ann").content.decode()


def test_words_are_composed_before_they_are_counted_and_an_id_is_taken_as_it_is(
    talked: Agent, incoming: Any, settings: Any
) -> None:
    apart = normalize("NFD", "zoé")
    work.drain_lane(receive(incoming("Hello", person=apart)).lane_id)
    settings.MESSAGE_MAX_CHARACTERS = 20
    caller = Caller("memory.view_memory")

    for body in ({"person": f"telegram:{apart}"}, {"person": apart}, {"room": f"telegram:dm-{apart}"}):
        answer = caller.recall(talked.slug, text=normalize("NFD", "é" * 20), **body)
        assert answer.status_code == 200, answer.json()
        assert answer.json()["room"] == str(Message.objects.get(text="Hello").room_id)


def test_a_look_is_noted_in_the_audit_without_what_was_asked(talked: Agent) -> None:
    Caller("memory.view_memory").recall(talked.slug, person="Ann")

    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.verb, entry.object_kind) == ("helper", "recall", "person")
    assert entry.object_id == str(Message.objects.get(text=SECRET).person_id)
    assert "bees" not in json.dumps(entry.details)


@pytest.mark.parametrize(
    ("permissions", "is_staff"),
    [((), True), (("agents.view_turn", "agents.view_message", "agents.view_agent"), True), (ALL, False)],
)
def test_who_may_not_see_memories_in_the_admin_may_not_here(
    talked: Agent, permissions: tuple[str, ...], is_staff: bool
) -> None:
    caller = Caller(*permissions, is_staff=is_staff)
    memory = Memory.objects.get(text=SECRET)
    turn = Turn.objects.latest("pk")

    for answer in (
        caller.recall(talked.slug, person="Ann"),
        caller.recall("nobody"),
        caller.get(f"memories/{memory.pk}"),
        caller.get(f"memories/{'0' * 32}"),
        caller.get(f"turns/{turn.pk}/memories"),
    ):
        assert answer.status_code == 403
        assert "takes a user of the admin with the permissions memory.view_memory" in answer.json()["detail"]
        assert SECRET not in answer.content.decode()
    assert not AuditEntry.objects.exists()


def test_where_memories_came_from_takes_the_right_to_see_messages_and_turns_too(talked: Agent) -> None:
    caller = Caller("memory.view_memory", "agents.view_turn")
    memory = Memory.objects.get(text=SECRET)

    assert caller.get(f"memories/{memory.pk}").status_code == 403
    assert caller.get(f"turns/{Turn.objects.latest('pk').pk}/memories").status_code == 403


def test_a_visitor_and_a_stranger_are_let_nowhere(talked: Agent, client: Client) -> None:
    path = f"/api/v1/agents/{talked.slug}/recall"
    assert client.post(path, {"text": "bees"}, content_type="application/json").status_code == 401
    client.get("/")
    token = {"X-CSRFToken": client.cookies["csrftoken"].value} if "csrftoken" in client.cookies else {}
    answer = client.post(path, {"text": "bees"}, content_type="application/json", headers=token)
    assert answer.status_code == 403


@pytest.mark.parametrize(
    ("named", "body", "status", "words"),
    [
        ("nobody", {}, 404, "No agent is named 'nobody'"),
        ("a%00b", {}, 404, "No agent is named 'ab'"),
        ("{agent}", {"text": ""}, 422, "text: send 1 to 20,000 characters."),
        ("{agent}", {"text": "\x00 \n"}, 422, "text: send 1 to 20,000 characters."),
        ("{agent}", {"text": "x" * 20_001}, 422, "text: send 1 to 20,000 characters."),
        ("{agent}", {"limit": 0}, 422, "limit: "),
        ("{agent}", {"limit": 51}, 422, "limit: "),
        ("{agent}", {"room": "attic"}, 422, "room: There is no room 'attic'"),
        ("{agent}", {"person": "Zed"}, 422, "person: There is no person 'Zed'"),
        ("{agent}", {"person": "a\x00\ud800"}, 422, "person: There is no person"),
        ("{agent}", {"text": ["x"]}, 422, "text: "),
    ],
)
def test_what_makes_no_sense_is_told_of(
    talked: Agent, named: str, body: dict[str, Any], status: int, words: str
) -> None:
    answer = Caller("memory.view_memory").recall(named.format(agent=talked.slug), **body)

    assert answer.status_code == status
    assert words in answer.json()["detail"]


def test_what_a_turn_recalled_is_listed_with_scores_and_messages(talked: Agent) -> None:
    turn, memory = Turn.objects.latest("pk"), Memory.objects.get(text=SECRET)
    hit = {"id": str(memory.pk), "score": 2.5, "scores": {"vector": 2.5}}
    turn.steps.filter(name="recall").update(output={"memories": [hit]})

    answer = Caller(*ALL).get(f"turns/{turn.pk}/memories")

    assert answer.status_code == 200
    (told,) = answer.json()
    assert (told["id"], told["score"], told["scores"]) == (str(memory.pk), 2.5, {"vector": 2.5})
    assert told["text"] == SECRET
    assert [(source["id"], source["speaker"]) for source in told["source_messages"]] == [
        (str(Message.objects.get(text=SECRET).pk), "Ann")
    ]


def test_a_memory_says_where_it_came_from(talked: Agent) -> None:
    memory = Memory.objects.get(text=SECRET)
    turn = Turn.objects.order_by("pk")[0]

    told = Caller(*ALL).get(f"memories/{memory.pk}").json()

    assert (told["memory"], told["turn"]) == (str(memory.pk), str(turn.pk))
    assert told["source_messages"][0]["text"] == SECRET
    assert told["history"][0]["id"] == str(memory.pk)


def test_what_is_not_there_is_not_found(talked: Agent) -> None:
    caller = Caller(*ALL)

    assert caller.get("memories/bees").status_code == 404
    assert "is no id" in caller.get("memories/bees").json()["detail"]
    assert caller.get(f"turns/{'0' * 32}/memories").status_code == 404
