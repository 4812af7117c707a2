"""The API of messages and conversations, against real PostgreSQL."""

from __future__ import annotations

import json

import pytest
from django.test import Client

from agents.models import Agent, Message, Room, Turn
from transports.models import Connection

pytestmark = pytest.mark.django_db


def test_running_agents_are_listed_with_a_line_of_bio_and_three_examples(agent):
    Agent.objects.create(character=agent.character, name="Gone", slug="gone", status="stopped")
    (listed,) = Client().get("/api/v1/agents").json()
    assert (listed["slug"], listed["bio"]) == ("mira", "Mira keeps bees.")
    assert listed["examples"][0] == "How many bees?"
    assert len(listed["examples"]) == 3


def test_a_message_is_stored_and_answered_with_202(agent, program):
    taken = program.say("Hello")
    message = Message.objects.get(pk=taken["message"])
    assert (message.text, message.direction, str(message.room_id)) == ("Hello", "in", taken["room"])
    assert Turn.objects.get(pk=taken["turn"]).state == "waiting"
    assert taken["events"] == f"/api/v1/rooms/{taken['room']}/events?message={taken['message']}"
    assert Connection.objects.get(agent=agent).supports_streaming


def test_an_agent_is_addressed_by_its_id_too(agent, program):
    assert program.say("Hello", agent=str(agent.pk))["room"] == program.say("Again")["room"]


def test_the_same_client_id_adds_nothing(agent, program):
    first, second = program.say("Hello", id="one"), program.say("Hello", id="one")
    assert (first["message"], first["is_new"]) == (second["message"], True)
    assert second["is_new"] is False
    assert Message.objects.count() == 1


def test_two_callers_may_use_the_same_client_id(agent, make_program):
    first, second = make_program().say("Hello", id="one"), make_program().say("Hello", id="one")
    assert first["message"] != second["message"]
    assert first["room"] != second["room"]


def test_a_paused_agents_messages_wait_and_say_so(agent, program):
    Agent.objects.update(status="paused")
    assert "paused" in program.say("Hello")["notice"]


def test_a_stopped_agent_refuses_in_words(agent, program):
    Agent.objects.update(status="stopped")
    response = program.post("/api/v1/agents/mira/messages", {"text": "Hello"})
    assert response.status_code == 409
    assert "Mira is stopped" in response.json()["detail"]


@pytest.mark.parametrize("name", ["nobody", "no%00body", "no%20body", "%ed%a0%80", "x" * 300])
def test_an_unknown_agent_is_named(agent, program, name):
    response = program.post(f"/api/v1/agents/{name}/messages", {"text": "Hello"})
    assert response.status_code == 404
    assert "There is no agent" in response.json()["detail"]


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ('{"text": ""}', 422, "The message is empty"),
        ('{"text": "  \\n "}', 422, "The message is empty"),
        ('{"text": "\\u0000\\u0007"}', 422, "The message is empty"),
        ("{}", 422, "text: Field required"),
        ("", 422, "body: Field required"),
        ("[]", 422, "text: Field required"),
        ("null", 422, "Field required"),
        ('{"text": 5}', 422, "text: Input should be a valid string"),
        ('{"text": "x", "id": "é"}', 422, "id: send"),
        ('{"text": "x", "id": "\\ud800"}', 422, "id: send"),
        ('{"text": "x", "room": "not-a-room"}', 404, "You have no conversation"),
        ('{"text": "x", "room": "\\ud800"}', 404, "You have no conversation"),
        ('{"text": ', 400, "no JSON"),
        (b'{"text": "\xff"}', 400, "no JSON"),
        ("[" * 100_000, 400, "nested too deeply"),
        (json.dumps({"text": "x" * 30_000}), 422, "at most"),
        (json.dumps({"text": "x" * 1_100_000}), 413, "1 MB"),
        (json.dumps({"text": "x" * 3_000_000}), 413, "1 MB"),
    ],
    ids=lambda value: repr(value)[:30],
)
def test_what_cannot_be_taken_is_refused_in_words(agent, program, body, status, words):
    response = program.post("/api/v1/agents/mira/messages", body)
    assert response.status_code == status
    assert words in response.json()["detail"]
    assert not Message.objects.exists()


def test_control_characters_nul_and_lone_surrogates_are_cleaned(agent, program):
    response = program.post(
        "/api/v1/agents/mira/messages", '{"text": "a\\u0000b\\ud800c\\u001bd\\r\\ne \\ud83d\\ude00"}'
    )
    assert response.status_code == 202
    assert Message.objects.get().text == "ab\ufffdcd\ne 😀"


def test_too_many_messages_are_told_when_to_come_back(agent, program, settings):
    settings.PERSON_MESSAGES_PER_MINUTE = 2
    program.say("one")
    program.say("two")
    response = program.post("/api/v1/agents/mira/messages", {"text": "three"})
    assert response.status_code == 429
    assert 1 <= int(response["Retry-After"]) <= 60
    assert "wait" in response.json()["detail"]


def test_conversations_are_listed_by_their_first_words(agent, program, reply_to):
    taken = program.say("What do bees\n do in winter?")
    reply_to(taken["turn"], "They keep warm.", is_delivered=False)
    opened = program.post("/api/v1/rooms", {"agent": "mira"}).json()
    program.say("A second talk", room=opened["id"])
    names = [room["name"] for room in program.client.get("/api/v1/rooms?agent=mira").json()]
    assert names == ["A second talk", "What do bees do in winter?"]


def test_an_empty_conversation_is_given_again(agent, program):
    first = program.post("/api/v1/rooms", {"agent": "mira"})
    second = program.post("/api/v1/rooms", {"agent": "mira"})
    assert first.status_code == 201
    assert first.json()["id"] == second.json()["id"]


def test_a_room_of_another_agent_is_refused(agent, program):
    Agent.objects.create(character=agent.character, name="Otto", slug="otto")
    room = program.post("/api/v1/rooms", {"agent": "otto"}).json()["id"]
    response = program.post("/api/v1/agents/mira/messages", {"text": "Hello", "room": room})
    assert response.status_code == 422
    assert "not one with Mira" in response.json()["detail"]


def test_history_is_read_page_by_page(agent, program, reply_to):
    room = ""
    for number in range(5):
        taken = program.say(f"question {number}")
        room = taken["room"]
        reply_to(taken["turn"], f"answer {number}", is_delivered=False)
    read, before = [], ""
    while True:
        page = program.client.get(f"/api/v1/rooms/{room}/messages?limit=3{before}").json()
        read = page["messages"] + read
        if not page["before"]:
            break
        before = f"&before={page['before']}"
    assert [message["text"] for message in read] == [
        text for number in range(5) for text in (f"question {number}", f"answer {number}")
    ]
    assert read[1]["in_reply_to"] == read[0]["id"]
    assert read[0]["turn"] == read[1]["turn"]
    assert read[0]["turn_state"] == "done"


def test_a_deleted_conversation_is_gone(agent, program):
    room = program.say("Hello")["room"]
    assert program.client.delete(f"/api/v1/rooms/{room}").status_code == 204
    assert not Room.objects.exists()
    assert program.client.get(f"/api/v1/rooms/{room}/messages").status_code == 404
    assert program.say("Hello again")["room"] != room


def test_a_turn_is_stopped_once(agent, program):
    turn = program.say("Hello")["turn"]
    assert program.client.post(f"/api/v1/turns/{turn}/stop").json() == {"is_stopping": True}
    assert Turn.objects.get().state == "stopped"
    assert program.client.post(f"/api/v1/turns/{turn}/stop").json() == {"is_stopping": False}


def test_a_stop_that_ends_an_answer_has_none_of_its_own(agent, program):
    asked = program.say("Tell me everything")
    stop = program.say("stop")
    assert "stopped" in stop["notice"]
    assert (asked["turn"] is not None, stop["turn"]) == (True, None)
    read = program.client.get(f"/api/v1/rooms/{asked['room']}/messages").json()["messages"]
    assert [(message["turn_state"], message["turn_outcome"]) for message in read] == [
        ("stopped", ""),
        ("done", "control"),
    ]


def test_nobody_reaches_anothers_room(agent, make_program):
    owner, stranger = make_program(), make_program()
    taken = owner.say("A secret")
    room, turn = taken["room"], taken["turn"]
    answers = [
        stranger.client.get(f"/api/v1/rooms/{room}"),
        stranger.client.get(f"/api/v1/rooms/{room}/messages"),
        stranger.client.get(f"/api/v1/rooms/{room}/events"),
        stranger.client.get(taken["events"]),
        stranger.client.delete(f"/api/v1/rooms/{room}"),
        stranger.client.post(f"/api/v1/turns/{turn}/stop"),
        stranger.post("/api/v1/agents/mira/messages", {"text": "Let me in", "room": room}),
    ]
    assert [answer.status_code for answer in answers] == [404] * 7
    assert not any(b"secret" in answer.content for answer in answers)
    assert stranger.client.get("/api/v1/rooms").json() == []
    assert Room.objects.count() == 1


@pytest.mark.parametrize("path", ["rooms/x", "rooms/x/messages", "rooms/x/events", "nothing", "rooms/%00"])
def test_addresses_that_are_not_there_answer_json(agent, program, path):
    response = program.client.get(f"/api/v1/{path}")
    assert response.status_code == 404
    assert response.json()["detail"]


def test_the_description_names_every_address(agent):
    described = Client().get("/api/v1/openapi.json").json()
    assert "/api/v1/agents/{agent}/messages" in described["paths"]
    assert set(described["components"]["securitySchemes"]) == {"BearerKey", "HeaderKey", "PageSession"}
    assert Client().get("/api/v1/docs").status_code == 200


def test_the_models_are_said_in_words(db):
    assert Client().get("/api/v1/models").json()["sentence"]
