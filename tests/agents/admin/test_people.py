"""The page of a person: merging asks into whom and why, and says what stands in the way."""

from __future__ import annotations

import json

import pytest
from asgiref.sync import async_to_sync
from django.contrib.auth.models import Permission, User
from django.urls import reverse

from agents.models import AuditEntry, Forgetting, Person

pytestmark = pytest.mark.django_db


@pytest.fixture
def two():
    return Person.objects.create(name="Ann"), Person.objects.create(name="Bea")


def merging(person):
    return reverse("admin:agents_person_merge_person", args=[person.pk])


def page(person):
    return reverse("admin:agents_person_change", args=[person.pk])


def answer(into, why="The same."):
    return {"_form_submitted": "on", "into": str(into.pk), "why": why}


def test_a_person_is_merged_and_the_other_is_shown(admin_client, two):
    person, into = two
    assert "Into whom?" in admin_client.get(merging(person)).content.decode()

    response = admin_client.post(merging(person), answer(into))

    assert response["HX-Redirect"] == page(into)
    assert Person.objects.get(pk=person.pk).merged_into == into
    assert "1 person merged into this one." in admin_client.get(page(into)).content.decode()
    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.verb, entry.object_id) == ("admin", "merge", str(person.pk))
    shown = admin_client.get(page(person)).content.decode()
    assert reverse("admin:agents_auditentry_change", args=[entry.pk]) in shown


def test_what_stands_in_the_way_is_said(admin_client, two):
    person, _into = two
    response = admin_client.post(merging(person), answer(person))

    assert response["HX-Redirect"] == page(person)
    shown = admin_client.get(page(person)).content.decode()
    assert "merged into themselves" in shown.replace("&#x27;", "'")
    assert "HX-Redirect" not in admin_client.post(merging(person), answer(two[1], why=""))


def test_changing_people_is_no_permission_to_merge_them(client, two):
    user = User.objects.create_user("helper", is_staff=True)
    for codename in ("view_person", "change_person"):
        user.user_permissions.add(Permission.objects.get(codename=codename))
    client.force_login(user)
    assert client.post(merging(two[0]), answer(two[1])).status_code == 403
    assert Person.objects.get(pk=two[0].pk).merged_into is None


def forgetting(person):
    return reverse("admin:agents_person_forget_person", args=[person.pk])


def test_a_person_is_handed_over_to_be_forgotten(admin_client, two, monkeypatch):
    from agents.forgetting import working

    woken = []
    monkeypatch.setattr(
        working, "wake_after_commit", lambda name, **arguments: woken.append((name, arguments))
    )
    person, other = two
    assert "without naming them" in admin_client.get(forgetting(person)).content.decode()

    response = admin_client.post(forgetting(person), {"_form_submitted": "on", "why": "A letter."})

    assert response["HX-Redirect"] == reverse("admin:agents_person_changelist")
    begun = Forgetting.objects.get()
    assert (begun.began_by, begun.reason, begun.people) == ("admin", "A letter.", [str(person.pk)])
    assert woken == [("agents.forget_person", {"forgetting_id": str(begun.pk)})]
    shown = admin_client.get(response["HX-Redirect"]).content.decode()
    assert "1 person being forgotten." in shown
    assert str(person.pk) in shown
    assert begun.ghosts[0] not in shown
    again = admin_client.post(forgetting(person), {"_form_submitted": "on", "why": "A letter."})
    assert "being forgotten already" in admin_client.get(again["HX-Redirect"]).content.decode()
    assert admin_client.get(page(other)).status_code == 200


def test_a_reason_that_names_the_person_is_refused_on_their_page(admin_client, two):
    response = admin_client.post(forgetting(two[0]), {"_form_submitted": "on", "why": "Ann wrote."})

    assert response["HX-Redirect"] == page(two[0])
    assert "names the person" in admin_client.get(page(two[0])).content.decode()
    assert not Forgetting.objects.exists()


def test_merging_people_is_no_permission_to_forget_or_export_them(client, two):
    user = User.objects.create_user("helper", is_staff=True)
    for codename in ("view_person", "merge_person"):
        user.user_permissions.add(Permission.objects.get(codename=codename))
    client.force_login(user)
    assert client.post(forgetting(two[0]), {"_form_submitted": "on", "why": "x"}).status_code == 403
    assert not Forgetting.objects.exists()


def exporting(person):
    return reverse("admin:agents_person_export_person", args=[person.pk])


async def _collect(response):
    return b"".join([chunk async for chunk in response])


@pytest.mark.django_db(transaction=True)
def test_what_is_known_of_a_person_is_downloaded(admin_client, two):
    person, _other = two

    response = admin_client.get(exporting(person))

    assert response["Content-Disposition"] == f'attachment; filename="person-{person.pk}.json"'
    assert "no-store" in response["Cache-Control"]
    export = json.loads(async_to_sync(_collect)(response))
    assert export["person"]["name"] == "Ann"
    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.verb, entry.object_id) == ("admin", "export", str(person.pk))
    assert "Export" in admin_client.get(page(person)).content.decode()


@pytest.mark.django_db(transaction=True)
def test_more_than_a_page_can_wait_for_is_told_to_use_the_command(admin_client, two, monkeypatch):
    from agents.exports import files

    monkeypatch.setattr(files, "MOST_MESSAGES", -1)

    response = admin_client.get(exporting(two[0]))

    assert response.status_code == 302
    shown = admin_client.get(response["Location"]).content.decode()
    assert f"manage.py export_person {two[0].pk}" in shown
    assert not AuditEntry.objects.exists()


def test_looking_at_people_is_no_permission_to_export_them(client, two):
    user = User.objects.create_user("helper", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_person"))
    client.force_login(user)
    assert client.get(exporting(two[0])).status_code == 403
    assert not AuditEntry.objects.exists()
