"""The page of approvals: what is pending stands first, and only those who may decide, with a reason."""

from __future__ import annotations

import pytest
from django.contrib.auth.models import Permission, User
from django.urls import reverse

from agents.models import Approval, AuditEntry, Turn
from tests.doubles.history import make_history

pytestmark = pytest.mark.django_db

LIST = reverse("admin:agents_approval_changelist")


@pytest.fixture
def approvals():
    made = make_history(3).approvals
    Turn.objects.filter(pk=made[0].turn_id).update(state=Turn.State.PARKED)
    return made


def address(approval, button):
    return reverse(f"admin:agents_approval_{button}", args=[approval.pk])


def stored(approval):
    return Approval.objects.get(pk=approval.pk)


def staff_with(*permissions):
    user = User.objects.create_user("helper", is_staff=True)
    for codename in permissions:
        user.user_permissions.add(Permission.objects.get(content_type__app_label="agents", codename=codename))
    return user


@pytest.mark.parametrize(
    ("button", "kind", "state", "verb"),
    [
        ("grant_approval", "dangerous", "granted", "grant"),
        ("refuse_approval", "dangerous", "refused", "refuse"),
        ("mark_approval_done", "uncertain", "done", "mark_done"),
    ],
)
def test_a_button_asks_for_the_reason_and_decides_by_name(admin_client, approvals, button, kind, state, verb):
    Approval.objects.update(kind=kind)
    chosen = address(approvals[0], button)
    assert "action?" in admin_client.get(chosen).content.decode() or kind == "uncertain"
    admin_client.post(chosen, {"_form_submitted": "on", "why": ""})
    assert stored(approvals[0]).state == "pending", "no reason, no decision"

    response = admin_client.post(chosen, {"_form_submitted": "on", "why": "I know them"})

    assert response["HX-Redirect"] == reverse("admin:agents_approval_change", args=[approvals[0].pk])
    after = stored(approvals[0])
    assert (after.state, after.decided_by, after.reason) == (state, "admin", "I know them")
    assert Turn.objects.get(pk=after.turn_id).state == "waiting"
    entry = AuditEntry.objects.get(object_kind="approval", object_id=after.pk)
    assert (entry.actor, entry.verb, entry.reason) == ("admin", verb, "I know them")
    assert entry.details == {"turn": str(after.turn_id), "action": after.action}
    page = admin_client.get(response["HX-Redirect"]).content.decode()
    assert reverse("admin:agents_auditentry_change", args=[entry.pk]) in page
    assert page.count("I know them") == 1


def test_several_are_decided_at_once_with_one_reason(admin_client, approvals):
    chosen = {"action": "refuse_approvals", "_selected_action": [one.pk for one in approvals[:2]]}
    admin_client.post(LIST, {**chosen, "why": " "})
    assert {stored(one).state for one in approvals} == {"pending"}
    admin_client.post(LIST, {**chosen, "why": "not today"})
    assert [stored(one).state for one in approvals] == ["refused", "refused", "pending"]
    assert stored(approvals[0]).reason == "not today"
    shown = admin_client.post(LIST, {**chosen, "why": "again"}, follow=True).content.decode()
    assert "2 approvals left alone: " in shown
    assert shown.count("decided already: refused by admin.") == 2


def test_what_cannot_be_decided_is_told(admin_client, approvals):
    chosen = {"action": "mark_approvals_done", "_selected_action": [approvals[0].pk], "why": "so"}
    response = admin_client.post(LIST, chosen, follow=True)
    assert "is about an action that has not run" in response.content.decode()
    assert stored(approvals[0]).state == "pending"


def test_seeing_is_no_permission_to_decide_and_deciding_is_one(client, approvals):
    form = {"_form_submitted": "on", "why": "please"}
    bulk = {"action": "grant_approvals", "_selected_action": [approvals[1].pk], "why": "please"}
    user = staff_with("view_approval")
    client.force_login(user)
    assert client.get(LIST).status_code == 200
    assert client.post(address(approvals[0], "grant_approval"), form).status_code == 403
    client.post(LIST, bulk)
    assert {stored(one).state for one in approvals} == {"pending"}

    user.user_permissions.add(Permission.objects.get(codename="decide_approval"))
    client.force_login(User.objects.get(pk=user.pk))
    client.post(address(approvals[0], "grant_approval"), form)
    client.post(LIST, bulk)
    assert [stored(one).state for one in approvals] == ["granted", "granted", "pending"]


def test_what_is_pending_stands_first(admin_client, approvals):
    Approval.objects.exclude(pk=approvals[0].pk).update(state="refused")
    shown = [row.pk for row in admin_client.get(LIST).context["cl"].result_list]
    assert shown == [approvals[0].pk, approvals[2].pk, approvals[1].pk]


def test_the_turns_page_shows_its_approvals(admin_client, approvals):
    page = admin_client.get(reverse("admin:agents_turn_change", args=[approvals[0].turn_id]))
    assert reverse("admin:agents_approval_change", args=[approvals[0].pk]) in page.content.decode()
