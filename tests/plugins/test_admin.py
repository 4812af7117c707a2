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


def test_a_plugin_tells_what_it_asks_for_and_is_not_changed_here(admin_client, rows):
    address = reverse("admin:plugins_plugin_change", args=[rows.plugins[0].pk])

    assert "network, schedule" in admin_client.get(address).content.decode()
    assert admin_client.post(address, {"path": "os"}).status_code == 403
    assert Plugin.objects.get(pk=rows.plugins[0].pk).path == "plugins.builtin.clock"


def test_a_scheduled_task_can_be_switched_off_and_not_changed(admin_client, rows):
    task = rows.tasks[0]
    data = {"schedule": "every 1", "runs-TOTAL_FORMS": 0, "runs-INITIAL_FORMS": 0}

    response = admin_client.post(reverse("admin:plugins_scheduledtask_change", args=[task.pk]), data)

    assert response.status_code == 302
    stored = ScheduledTask.objects.get(pk=task.pk)
    assert (stored.is_enabled, stored.schedule) == (False, "every 60")
