"""The admin of dead letters: each decision asks for a reason, takes its own permission, and is kept."""

from __future__ import annotations

from uuid import uuid4

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
    assert 'name="why"' in client.get(reverse(LIST)).content.decode()
    chosen = {"action": action, "_selected_action": [str(turn.pk) for turn in dead]}
    for why in ({}, {"why": ""}, {"why": " "}):
        assert "Say why" in client.post(reverse(LIST), {**chosen, **why}, follow=True).content.decode()
    assert (states(dead[:2]), decisions()) == (["dead", "dead"], []), "a reason is needed"

    page = client.post(reverse(LIST), {**chosen, "why": "as agreed"}, follow=True).content.decode()
    assert "2 turns " in page
    assert "1 turn left alone: only dead letters are decided about." in page
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
    page = client.get(reverse("admin:agents_turn_change", args=[dead[0].pk])).content.decode()
    assert "as agreed" in page
    assert f"grace: {verb} turn" in page


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


def test_where_nothing_chosen_is_dead_nothing_is_done(client, dead):
    client.force_login(staff_with("retry_turn"))
    chosen = {"action": "retry_many_at_front", "_selected_action": [str(dead[2].pk)], "why": "so"}
    page = client.post(reverse(LIST), chosen, follow=True)
    assert "1 turn left alone: only dead letters are decided about." in page.content.decode()
    assert decisions() == []


def test_a_list_that_is_chosen_whole_is_decided_on_in_one_go_up_to_a_bound(client, dead, monkeypatch):
    Turn.objects.filter(pk=dead[2].pk).update(state="dead")
    client.force_login(staff_with("retry_turn"))
    address = f"{reverse(LIST)}?state__exact=dead"
    whole = {
        "action": "retry_many_at_end",
        "_selected_action": [str(dead[2].pk)],
        "select_across": "1",
        "why": "the model is back",
    }
    monkeypatch.setattr("agents.admin.reasons.MOST_AT_ONCE", 2)
    page = client.post(address, whole, follow=True).content.decode()
    assert "These were the first 2: please choose the rest again." in page
    assert sorted(states(dead)) == ["dead", "waiting", "waiting"]
    page = client.post(address, whole, follow=True).content.decode()
    assert "These were the first" not in page
    assert states(dead) == ["waiting"] * 3


def test_five_hundred_dead_letters_are_retried_with_one_reason(
    admin_client, dead, django_assert_max_num_queries
):
    template = dead[0]
    Turn.objects.bulk_create(
        Turn(
            agent_id=template.agent_id,
            lane_id=template.lane_id,
            room_id=template.room_id,
            connection_id=template.connection_id,
            sequence=1000 + number,
            state="dead",
            received_at=template.received_at,
            cause_kind=template.cause_kind,
            cause_id=uuid4(),
        )
        for number in range(498)
    )
    whole = {"action": "retry_many_at_front", "_selected_action": [str(template.pk)], "select_across": "1"}
    with django_assert_max_num_queries(40):
        response = admin_client.post(
            f"{reverse(LIST)}?state__exact=dead", {**whole, "why": "the model is back"}
        )
    assert response.status_code == 302
    assert not Turn.objects.filter(state="dead").exists()
    assert decisions() == [("admin", "retry_front", "the model is back")] * 500
