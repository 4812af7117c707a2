"""The pages of connections and API keys: secrets go in and never come out."""

from __future__ import annotations

import pytest
from django.urls import reverse

from agents.models import Agent
from tests.doubles.history import make_history
from transports.models import ApiKey, Connection
from transports.web.auth import _verify

pytestmark = pytest.mark.django_db

SECRET = "xoxb-never-to-be-shown"


@pytest.fixture
def connection():
    connection = make_history(1).connections[0]
    connection.secrets = {"token": SECRET}
    connection.save()
    return connection


def page(connection):
    return reverse("admin:transports_connection_change", args=[connection.pk])


def form(connection, **changes):
    return {
        "agent": connection.agent_id,
        "platform": connection.platform,
        "transport": connection.transport,
        "name": connection.name,
        "settings": "{}",
        "is_enabled": "on",
        **changes,
    }


def test_secrets_are_never_shown_and_kept_where_none_are_given(admin_client, connection):
    shown = admin_client.get(page(connection)).content.decode()

    assert SECRET not in shown
    assert "token" in shown
    assert admin_client.post(page(connection), form(connection, name="renamed")).status_code == 302
    stored = Connection.objects.get(pk=connection.pk)
    assert (stored.name, stored.secrets) == ("renamed", {"token": SECRET})


def test_secrets_are_replaced_and_forgotten_by_name_and_workers_are_told(admin_client, connection):
    admin_client.post(page(connection), form(connection, new_secrets='{"token": "new", "key": "k"}'))
    assert Connection.objects.get(pk=connection.pk).secrets == {"token": "new", "key": "k"}

    admin_client.post(page(connection), form(connection, new_secrets='{"key": null}'))
    assert Connection.objects.get(pk=connection.pk).secrets == {"token": "new"}
    assert Agent.objects.get(pk=connection.agent_id).revision == 3


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"new_secrets": "{"}, "new_secrets"),
        ({"new_secrets": "[1]"}, "new_secrets"),
        ({"settings": "[1]"}, "settings"),
        ({"transport": "pigeon"}, "transport"),
    ],
)
def test_what_is_wrong_is_said_at_its_field(admin_client, connection, changes, field):
    response = admin_client.post(page(connection), form(connection, **changes))

    assert set(response.context["adminform"].form.errors) == {field}


def test_a_new_connection_knows_whether_its_transport_streams(admin_client, connection):
    data = form(connection, transport="web", name="second", new_secrets='{"token": "t"}')

    assert admin_client.post(reverse("admin:transports_connection_add"), data).status_code == 302
    assert Connection.objects.get(name="second").supports_streaming
    assert Connection.objects.get(name="second").secrets == {"token": "t"}


def test_a_connection_with_a_history_cannot_be_deleted(admin_client, connection):
    address = reverse("admin:transports_connection_delete", args=[connection.pk])

    assert admin_client.post(address, {"post": "yes"}).status_code == 403


def test_an_api_key_is_shown_once_and_opens_until_it_is_revoked(admin_client, admin_user):
    address = reverse("admin:transports_apikey_add")
    response = admin_client.post(address, {"name": "script", "user": admin_user.pk}, follow=True)

    (word,) = [str(word) for word in response.context["messages"] if "never shown again" in str(word)]
    key = word.rsplit(" ", 1)[1]
    stored = ApiKey.objects.get()
    assert stored.name == "script"
    assert _verify("first", key) is not None
    changed = admin_client.get(reverse("admin:transports_apikey_change", args=[stored.pk])).content.decode()
    assert key not in changed
    assert stored.key_hash not in changed

    revoke = {"action": "revoke", "_selected_action": str(stored.pk)}
    admin_client.post(reverse("admin:transports_apikey_changelist"), revoke)

    assert ApiKey.objects.get().revoked_at is not None
    assert _verify("second", key) is None
