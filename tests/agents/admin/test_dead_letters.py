"""The admin of dead letters: each decision asks for a reason, takes its own permission, and is kept."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission, User
from django.urls import reverse

from agents.models import AuditEntry, Turn
from tests.doubles.history import make_history

pytestmark = pytest.mark.django_db

LIST = "admin:agents_turn_changelist"


@pytest.fixture
def dead():
    rows = make_history(3)
    Turn.objects.filter(pk__in=[rows.turns[0].pk, rows.turns[1].pk]).update(
        state="dead", outcome="apologised"
    )
    return rows.turns


def staff_with(*codenames):
    user = User.objects.create_user("grace", is_staff=True)
    user.user_permissions.set(Permission.objects.filter(codename__in=["view_turn", *codenames]))
    return user


def states(turns):
    return [Turn.objects.get(pk=turn.pk).state for turn in turns]


def address_of(button, turn):
    return reverse(f"admin:agents_turn_{button}", args=[turn.pk])


def decisions():
    return list(AuditEntry.objects.exclude(actor="ada").values_list("actor", "verb", "reason"))


@pytest.mark.parametrize(
    ("action", "verb", "state"),
    [
        ("retry_many_at_front", "retry_front", "waiting"),
        ("retry_many_at_end", "retry_end", "waiting"),
        ("discard_many", "discard", "discarded"),
    ],
)
def test_many_are_decided_on_after_a_reason(client, dead, action, verb, state):
    client.force_login(staff_with("retry_turn", "discard_turn"))
    chosen = {"action": action, "_selected_action": [str(turn.pk) for turn in dead]}
    page = client.post(reverse(LIST), chosen)
    assert page.status_code == 200
    assert "2 dead letters" in page.content.decode()
    assert (states(dead[:2]), decisions()) == (["dead", "dead"], [])

    assert client.post(reverse(LIST), {**chosen, "why": ""}).status_code == 200
    assert decisions() == [], "a reason is needed"

    assert client.post(reverse(LIST), {**chosen, "why": "as agreed"}).status_code == 302
    assert states(dead) == [state, state, "waiting"], "the third waited before"
    assert decisions() == [("grace", verb, "as agreed")] * 2


@pytest.mark.parametrize(
    ("button", "verb", "state"),
    [
        ("retry_at_front", "retry_front", "waiting"),
        ("retry_at_end", "retry_end", "waiting"),
        ("discard_one", "discard", "discarded"),
    ],
)
def test_one_is_decided_on_from_its_page(client, dead, button, verb, state):
    client.force_login(staff_with("retry_turn", "discard_turn"))
    address = address_of(button, dead[0])
    assert "Why" in client.get(address).content.decode()
    assert client.post(address, {"_form_submitted": "on", "why": ""}).status_code == 200
    assert decisions() == []
    response = client.post(address, {"_form_submitted": "on", "why": "as agreed"})
    assert "HX-Redirect" in response.headers
    assert (states(dead[:2]), decisions()) == ([state, "dead"], [("grace", verb, "as agreed")])


def test_each_decision_takes_its_own_permission(client, dead):
    client.force_login(staff_with("retry_turn"))
    posted = {"_form_submitted": "on", "why": "because"}
    assert client.post(address_of("discard_one", dead[0]), posted).status_code == 403
    client.post(
        reverse(LIST), {"action": "discard_many", "_selected_action": [str(dead[0].pk)], "why": "because"}
    )
    assert states(dead[:1]) == ["dead"]
    assert client.post(address_of("retry_at_end", dead[0]), posted).status_code == 200
    assert states(dead[:1]) == ["waiting"]


def test_where_nothing_chosen_is_dead_nothing_is_asked(client, dead):
    client.force_login(staff_with("retry_turn"))
    chosen = {"action": "retry_many_at_front", "_selected_action": [str(dead[2].pk)]}
    page = client.post(reverse(LIST), chosen, follow=True)
    assert "None of these turns is a dead letter." in page.content.decode()
