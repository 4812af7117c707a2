"""The pages of deliveries: a person decides, with a reason and a permission of its own."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission, User
from django.urls import reverse

from agents.models import AuditEntry, Delivery
from tests.doubles.history import make_history

pytestmark = pytest.mark.django_db

LIST = reverse("admin:agents_delivery_changelist")


@pytest.fixture
def rows():
    rows = make_history(3)
    Delivery.objects.update(state="uncertain")
    return list(Delivery.objects.order_by("id")), rows


def states():
    return list(Delivery.objects.order_by("id").values_list("state", flat=True))


@pytest.mark.parametrize(
    ("action", "verb", "state"),
    [
        ("resend_deliveries", "resend", "pending"),
        ("mark_deliveries_sent", "mark_sent", "sent"),
        ("drop_deliveries", "drop", "failed"),
    ],
)
def test_many_are_decided_at_once_with_who_and_why(admin_client, rows, action, verb, state):
    chosen = [str(row.pk) for row in rows[0][:2]]

    admin_client.post(LIST, {"action": action, "_selected_action": chosen, "why": "It was asked for."})

    assert states()[:3] == [state, state, "uncertain"]
    entries = AuditEntry.objects.filter(object_kind="delivery").order_by("id")
    assert list(entries.values_list("object_id", "actor", "verb", "reason", "details")) == [
        (key, "admin", verb, "It was asked for.", {"from": "uncertain"}) for key in chosen
    ]


def test_the_list_asks_for_a_reason(admin_client, rows):
    assert 'name="why"' in admin_client.get(LIST).content.decode()
    data = {"action": "resend_deliveries", "_selected_action": [str(rows[0][0].pk)], "why": ""}

    answer = admin_client.post(LIST, data, follow=True).content.decode()

    assert "Say why" in answer
    assert set(states()) == {"uncertain"}


@pytest.mark.parametrize(
    ("button", "state"),
    [("resend_delivery", "pending"), ("mark_delivery_sent", "sent"), ("drop_delivery", "failed")],
)
def test_the_buttons_of_a_page_ask_why_and_then_act(admin_client, rows, button, state):
    address = reverse(f"admin:agents_delivery_{button}", args=[rows[0][0].pk])

    assert "Why?" in admin_client.get(address).content.decode()
    admin_client.post(address, {"_form_submitted": "on", "why": ""})
    assert (set(states()), AuditEntry.objects.filter(object_kind="delivery").count()) == ({"uncertain"}, 0)
    assert admin_client.post(address, {"_form_submitted": "on", "why": "So."}).headers["HX-Redirect"]
    assert states()[0] == state
    shown = admin_client.get(reverse("admin:agents_delivery_change", args=[rows[0][0].pk]))
    assert "So." in shown.content.decode()


def test_seeing_deliveries_is_no_permission_to_decide(client, rows):
    user = User.objects.create_user("helper", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_delivery"))
    client.force_login(user)
    data = {"action": "resend_deliveries", "_selected_action": [str(rows[0][0].pk)], "why": "Because."}
    button = reverse("admin:agents_delivery_resend_delivery", args=[rows[0][0].pk])

    client.post(LIST, data)

    assert client.post(button, {"_form_submitted": "on", "why": "So."}).status_code == 403
    assert set(states()) == {"uncertain"}
    user.user_permissions.add(Permission.objects.get(codename="resend_delivery"))
    client.post(LIST, data)
    assert states()[0] == "pending"
