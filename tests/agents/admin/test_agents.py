"""The agent's page: start, pause and stop as actions, and a revision that tells workers of every save."""

from __future__ import annotations

from unicodedata import normalize

import pytest
from django.urls import reverse

from agents.models import Agent
from tests.doubles.history import make_history
from transports.models import Connection

pytestmark = pytest.mark.django_db

LIST = reverse("admin:agents_agent_changelist")


@pytest.fixture
def rows():
    return make_history(3)


def page(agent):
    return reverse("admin:agents_agent_change", args=[agent.pk])


def stored(agent):
    return Agent.objects.get(pk=agent.pk)


@pytest.mark.parametrize(
    ("action", "status"),
    [("start_agents", "running"), ("pause_agents", "paused"), ("stop_agents", "stopped")],
)
def test_actions_of_the_list_change_the_chosen_agents_alone(admin_client, rows, action, status):
    chosen = [str(agent.pk) for agent in rows.agents[:2]]

    admin_client.post(LIST, {"action": action, "_selected_action": chosen})

    assert [stored(agent).status for agent in rows.agents] == [status, status, "running"]
    assert [stored(agent).revision for agent in rows.agents] == [2, 2, 1]


def test_the_buttons_of_a_page_ask_first_and_then_act(admin_client, rows):
    address = reverse("admin:agents_agent_stop_agent", args=[rows.agents[0].pk])

    assert "Stop this agent?" in admin_client.get(address).content.decode()
    assert stored(rows.agents[0]).status == "running"
    response = admin_client.post(address, {"_form_submitted": "on"})

    assert response["HX-Redirect"] == page(rows.agents[0])
    assert stored(rows.agents[0]).status == "stopped"


def test_saving_raises_the_revision_and_writes_only_what_was_changed(admin_client, rows):
    agent = rows.agents[0]
    response = admin_client.get(page(agent))
    form = response.context["adminform"].form
    data = {name: form[name].value() for name in form.fields if form[name].value() is not None}
    data |= {"settings": "{}", "apology": "Sorry.", "name": normalize("NFD", "Zoé")}
    for inline in response.context["inline_admin_formsets"]:
        prefix = inline.formset.prefix
        data |= {f"{prefix}-{key}": value for key, value in inline.formset.management_form.initial.items()}
        for number, row in enumerate(inline.formset.forms):
            data[f"{prefix}-{number}-id"] = row.instance.pk
            if number:
                data[f"{prefix}-{number}-is_enabled"] = "on"
    Agent.objects.filter(pk=agent.pk).update(status=Agent.Status.STOPPED, revision=7)

    assert admin_client.post(page(agent), data).status_code == 302

    after = stored(agent)
    assert (after.apology, after.status, after.revision) == ("Sorry.", "stopped", 8)
    assert after.name == "Zoé", "composed, as it is looked for"
    enabled = Connection.objects.filter(agent=agent).order_by("created_at", "id")
    assert enabled.filter(is_enabled=False).count() == 1


def test_an_agent_with_a_history_cannot_be_deleted(admin_client, rows):
    address = reverse("admin:agents_agent_delete", args=[rows.agents[0].pk])
    young = Agent.objects.create(character=rows.characters[0], name="Young", slug="young")

    assert admin_client.post(address, {"post": "yes"}).status_code == 403
    young_address = reverse("admin:agents_agent_delete", args=[young.pk])
    assert admin_client.post(young_address, {"post": "yes"}).status_code == 302
    assert not Agent.objects.filter(pk=young.pk).exists()
