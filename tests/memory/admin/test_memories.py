"""The pages of memories, relationships and goals."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.contrib.auth.models import Permission, User
from django.urls import reverse
from django.utils import timezone

from memory.models import Goal, Memory, Objective, Relationship
from memory.relationships import HALF_LIFE_DAYS
from tests.doubles.history import make_history

pytestmark = pytest.mark.django_db


@pytest.fixture
def rows():
    return make_history(2)


@pytest.fixture
def emitted(monkeypatch):
    heard = []
    monkeypatch.setattr("memory.goals.emit", lambda name, payload: heard.append((name, payload["name"])))
    return heard


def goal_page(goal):
    return reverse("admin:memory_goal_change", args=[goal.pk])


def goal_form(goal, done=(), **changes):
    objectives = list(goal.objectives.order_by("position"))
    data = {
        "name": goal.name,
        "status": goal.status,
        "agent": goal.agent_id,
        "person": goal.person_id,
        "room": goal.room_id,
        "objectives-TOTAL_FORMS": len(objectives),
        "objectives-INITIAL_FORMS": len(objectives),
    }
    for number, objective in enumerate(objectives):
        data |= {
            f"objectives-{number}-id": objective.pk,
            f"objectives-{number}-goal": goal.pk,
            f"objectives-{number}-position": objective.position,
            f"objectives-{number}-description": objective.description,
        }
        if objective.description in done:
            data[f"objectives-{number}-is_done"] = "on"
    return data | changes


def test_a_memory_can_be_deleted_and_not_changed(admin_client, rows):
    memory = rows.memories[1]
    address = reverse("admin:memory_memory_change", args=[memory.pk])

    assert admin_client.post(address, {"text": "else"}).status_code == 403
    assert (
        admin_client.post(
            reverse("admin:memory_memory_delete", args=[memory.pk]), {"post": "yes"}
        ).status_code
        == 302
    )
    assert not Memory.objects.filter(pk=memory.pk).exists()


def test_a_memory_links_to_the_message_that_it_came_from(admin_client, rows):
    shown = admin_client.get(
        reverse("admin:memory_memory_change", args=[rows.memories[1].pk])
    ).content.decode()

    assert reverse("admin:agents_message_change", args=[rows.messages[1].pk]) in shown
    assert reverse("admin:memory_memory_change", args=[rows.memories[0].pk]) in shown


def test_a_relationship_shows_its_strength_as_a_bar_and_a_number(admin_client, rows):
    shown = admin_client.get(reverse("admin:memory_relationship_changelist")).content.decode()

    assert 'value="0.62">0.62</meter> 0.62' in shown


def test_a_relationship_shows_what_is_left_of_it_and_what_it_was(admin_client, rows):
    row = rows.relationships[0]
    Relationship.objects.filter(pk=row.pk).update(updated_at=timezone.now() - timedelta(days=HALF_LIFE_DAYS))

    shown = admin_client.get(reverse("admin:memory_relationship_change", args=[row.pk])).content.decode()

    assert 'value="0.31">0.31</meter> 0.31' in shown
    assert "0.62" in shown


def test_a_fact_shows_its_confidence_its_sources_and_its_history(admin_client, rows):
    newer, older = rows.facts
    message = reverse("admin:agents_message_change", args=[rows.messages[0].pk])
    pages = [reverse("admin:memory_fact_change", args=[fact.pk]) for fact in (newer, older)]

    shown_newer, shown_older = (admin_client.get(page).content.decode() for page in pages)

    assert 'value="0.50">0.50</meter> 0.50' in shown_newer
    assert message in shown_newer
    assert f'href="{pages[1]}"' in shown_newer
    assert "held until" in shown_newer
    assert f'href="{pages[0]}">what holds now' in shown_older
    assert "It held until" in shown_older


def test_deleting_a_fact_or_an_episode_deletes_its_memory(admin_client, rows):
    fact, episode = rows.facts[1], rows.episodes[0]

    address = reverse("admin:memory_fact_delete", args=[fact.pk])
    assert admin_client.post(address, {"post": "yes"}).status_code == 302
    assert not Memory.objects.filter(pk=fact.pk).exists()
    listed = reverse("admin:memory_episode_changelist")
    action = {"action": "delete_selected", "_selected_action": [str(episode.pk)], "post": "yes"}
    assert admin_client.post(listed, action).status_code == 302
    assert not Memory.objects.filter(pk=episode.pk).exists()


def test_what_was_learnt_is_read_and_not_changed(admin_client, rows):
    for name, row in (
        ("fact", rows.facts[0]),
        ("episode", rows.episodes[0]),
        ("conversation", rows.conversations[0]),
    ):
        assert admin_client.get(reverse(f"admin:memory_{name}_add")).status_code == 403
        address = reverse(f"admin:memory_{name}_change", args=[row.pk])
        assert admin_client.post(address, {}).status_code == 403


def test_an_objective_links_to_the_message_that_showed_it_done(admin_client, rows):
    goal, message = rows.goals[0], rows.messages[0]
    goal.objectives.update(shown_by_message=message.pk)

    shown = admin_client.get(goal_page(goal)).content.decode()

    assert reverse("admin:agents_message_change", args=[message.pk]) in shown


def test_the_last_objective_ticked_completes_its_goal_and_says_so(admin_client, rows, emitted):
    goal = rows.goals[0]

    assert admin_client.post(goal_page(goal), goal_form(goal, done=["Part 0"])).status_code == 302
    goal.refresh_from_db()
    assert (goal.status, emitted) == ("active", [])

    admin_client.post(goal_page(goal), goal_form(goal, done=["Part 0", "Part 1"]))
    goal.refresh_from_db()
    assert goal.status == "completed"
    assert goal.completed_at is not None
    assert all(objective.done_at for objective in goal.objectives.all())
    assert emitted == [("goal:completed", goal.name)]


def test_an_objective_can_be_unticked_and_a_goal_taken_up_again(admin_client, rows, emitted):
    goal = rows.goals[0]
    admin_client.post(goal_page(goal), goal_form(goal, done=["Part 0", "Part 1"]))

    admin_client.post(goal_page(goal), goal_form(goal, done=["Part 0"], status="active"))

    goal.refresh_from_db()
    assert (goal.status, goal.completed_at) == ("active", None)
    assert Objective.objects.get(goal=goal, description="Part 1").done_at is None


def test_a_goal_is_added_with_its_objectives(admin_client, rows):
    data = {
        "name": "Learn to sail",
        "status": "active",
        "agent": rows.agents[0].pk,
        "objectives-TOTAL_FORMS": 1,
        "objectives-INITIAL_FORMS": 0,
        "objectives-0-position": 0,
        "objectives-0-description": "Find a boat",
    }

    assert admin_client.post(reverse("admin:memory_goal_add"), data).status_code == 302

    goal = Goal.objects.get(name="Learn to sail")
    assert list(goal.objectives.values_list("description", "is_done")) == [("Find a boat", False)]
    assert admin_client.post(reverse("admin:memory_goal_add"), data).status_code == 200
    assert Goal.objects.filter(name="Learn to sail").count() == 1


def test_seeing_goals_is_no_permission_to_change_them(client, rows):
    user = User.objects.create_user("reader", is_staff=True)
    user.user_permissions.add(Permission.objects.get(codename="view_goal"))
    client.force_login(user)

    assert client.get(goal_page(rows.goals[0])).status_code == 200
    assert client.post(goal_page(rows.goals[0]), goal_form(rows.goals[0])).status_code == 403
