"""Who may call: keys, the page's session, and nobody else."""

from __future__ import annotations

import io
import json
from unicodedata import normalize

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.test import Client
from django.utils import timezone

from agents.models import Account
from transports.models import ApiKey
from transports.web import auth

pytestmark = pytest.mark.django_db
MESSAGES = "/api/v1/agents/mira/messages"


def post(client: Client, **headers: str):
    return client.post(MESSAGES, '{"text": "Hello"}', content_type="application/json", headers=headers)


def test_the_command_prints_a_key_that_works_and_keeps_its_hash_alone(agent):
    User.objects.create_user("zoé")
    out = io.StringIO()
    as_typed = normalize("NFD", "zoé")
    call_command("create_api_key", "lamp", "--user", as_typed, stdout=out, stderr=io.StringIO())
    key = out.getvalue().strip()
    assert post(Client(), **{"X-API-Key": key}).status_code == 202
    assert post(Client(), Authorization=f"Bearer {key}").status_code == 202
    kept = ApiKey.objects.get()
    assert key.split("_")[2] not in json.dumps([kept.key_hash, kept.prefix, kept.name])


def test_the_command_names_a_user_who_is_not_there():
    with pytest.raises(CommandError, match="nobody"):
        call_command("create_api_key", "lamp", "--user", "nobody")


@pytest.mark.parametrize("key", ["", "x", "eliza_abc_def", "eliza_\u00e9_x", "eliza___", "eliza_%s_wrong"])
def test_a_wrong_key_is_told_so_and_does_not_fall_back_to_the_session(agent, program, key):
    client = Client()
    client.get("/")
    wrong = key.replace("%s", program.key.split("_")[1])
    response = post(client, Authorization=f"Bearer {wrong}")
    assert response.status_code == 401
    assert "key" in response.json()["detail"]


def test_a_revoked_key_and_one_of_an_inactive_user_open_nothing(agent, program):
    assert post(program.client).status_code == 202
    ApiKey.objects.update(revoked_at=timezone.now())
    auth.forget_verified_keys()
    assert post(program.client).status_code == 401
    ApiKey.objects.update(revoked_at=None)
    User.objects.update(is_active=False)
    auth.forget_verified_keys()
    assert post(program.client).status_code == 401


def test_a_verified_key_costs_no_statement_for_a_while(agent, program, django_assert_num_queries):
    program.say("Hello")
    with django_assert_num_queries(0):
        assert program.client.get("/api/v1/nothing").status_code == 404
        assert auth._caller_of_key(program.key).external_id == f"user:{program.user.pk}"


def test_without_anything_the_answer_says_what_to_do(agent):
    response = post(Client())
    assert response.status_code == 401
    assert "create_api_key" in response.json()["detail"]


def test_a_visitor_of_the_page_may_speak_and_is_known_again(agent):
    client = Client()
    client.get("/")
    first, second = post(client).json(), post(client).json()
    assert first["room"] == second["room"]
    assert Account.objects.get().external_id == f"visitor:{client.session['visitor']}"
    other = Client()
    other.get("/")
    assert other.get(f"/api/v1/rooms/{first['room']}").status_code == 404


def test_a_sessions_unsafe_requests_need_the_csrf_token(agent):
    client = Client(enforce_csrf_checks=True)
    client.get("/")
    refused = post(client)
    assert refused.status_code == 403
    assert "X-CSRFToken" in refused.json()["detail"]
    assert post(client, **{"X-CSRFToken": client.cookies["csrftoken"].value}).status_code == 202


def test_a_key_needs_no_csrf_token(agent, program):
    client = Client(enforce_csrf_checks=True)
    assert post(client, Authorization=f"Bearer {program.key}").status_code == 202


def test_a_signed_in_user_and_their_key_are_the_same_person(agent, program):
    room = program.say("From the program")["room"]
    client = Client()
    client.force_login(program.user)
    client.get("/")
    assert [known["id"] for known in client.get("/api/v1/rooms").json()] == [room]
