"""The pages of plugins, their calendar and their events."""

from __future__ import annotations

import pytest
from django.urls import reverse

from plugins.models import Plugin, ScheduledTask
from tests.doubles.history import make_history

pytestmark = pytest.mark.django_db


@pytest.fixture
def rows():
    return make_history(1)


def test_an_operator_switches_a_plugin_off_and_grants_what_it_asks_for(admin_client, rows):
    address = reverse("admin:plugins_plugin_change", args=[rows.plugins[0].pk])

    response = admin_client.post(address, {"granted": ["network", "schedule"], "path": "os"})

    assert response.status_code == 302
    plugin = Plugin.objects.get(pk=rows.plugins[0].pk)
    assert (plugin.is_enabled, plugin.granted) == (False, ["network", "schedule"])
    assert plugin.path == "plugins.builtin.clock"


def test_nothing_is_granted_that_a_plugin_does_not_ask_for(admin_client, rows):
    address = reverse("admin:plugins_plugin_change", args=[rows.plugins[0].pk])

    response = admin_client.post(address, {"granted": ["everything"]})

    assert set(response.context["adminform"].form.errors) == {"granted"}


def test_a_scheduled_task_can_be_switched_off_and_not_changed(admin_client, rows):
    task = rows.tasks[0]
    data = {"schedule": "every 1", "runs-TOTAL_FORMS": 0, "runs-INITIAL_FORMS": 0}

    response = admin_client.post(reverse("admin:plugins_scheduledtask_change", args=[task.pk]), data)

    assert response.status_code == 302
    stored = ScheduledTask.objects.get(pk=task.pk)
    assert (stored.is_enabled, stored.schedule) == (False, "every 60")
