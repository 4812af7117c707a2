"""Every page of the admin: that it opens, asks no more of the database for many rows, and guards its rows."""

from __future__ import annotations

from unicodedata import normalize

import pytest
from django.contrib import admin
from django.contrib.auth.models import Permission, User
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from agents.models import Agent, Approval, AuditEntry, CharacterVersion, Delivery, Message, Person, Room, Turn
from memory.models import Memory, Relationship, VectorSpace
from plugins.models import Event
from tests.doubles.history import make_history

pytestmark = pytest.mark.django_db

FEW, MANY = 5, 30
TABLES = sorted(admin.site._registry, key=lambda model: model._meta.label)
HISTORY = (AuditEntry, CharacterVersion, Message, Turn, Approval, Delivery, Relationship, Event, VectorSpace)


def list_address(model):
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_changelist")


def page_address(model, key):
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_change", args=[key])


def add_address(model):
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_add")


def statements(client, address):
    with CaptureQueriesContext(connection) as caught:
        response = client.get(address)
    assert response.status_code == 200, address
    return [query["sql"] for query in caught.captured_queries]


def all_statements(client, rows):
    """The SQL of each table's list, and of the page of its first row, which has the most rows below it."""
    asked = {}
    for model in TABLES:
        key = rows.firsts[model]
        asked[model, "list"] = statements(client, list_address(model))
        asked[model, "page"] = statements(client, page_address(model, key))
    return asked


def staff_with(*permissions):
    user = User.objects.create_user("helper", is_staff=True)
    for permission in permissions:
        app, codename = permission.split(".")
        user.user_permissions.add(Permission.objects.get(content_type__app_label=app, codename=codename))
    return user


def test_every_page_opens_and_asks_no_more_of_the_database_for_thirty_rows_than_for_five(admin_client):
    few_rows = make_history(FEW)
    statements(admin_client, reverse("admin:index"))
    all_statements(admin_client, few_rows)
    few = all_statements(admin_client, few_rows)

    many = all_statements(admin_client, make_history(MANY, prefix="b"))

    more = {
        (model._meta.label, page): (len(few[model, page]), len(asked), asked)
        for (model, page), asked in many.items()
        if len(asked) > len(few[model, page])
    }
    assert not more
    assert max(map(len, many.values())) < 30


@pytest.mark.parametrize("model", [Turn, Delivery, Approval, Person])
def test_a_page_asks_the_audit_once_and_a_list_does_not(admin_client, model):
    rows = make_history(FEW)
    table = AuditEntry._meta.db_table

    page = statements(admin_client, page_address(model, rows.firsts[model]))
    listed = statements(admin_client, list_address(model))

    assert [table in sql for sql in page].count(True) == 1
    assert not [sql for sql in listed if table in sql]


def test_every_form_for_a_new_row_opens(admin_client):
    for model in TABLES:
        may_add = admin.site._registry[model].has_add_permission(
            type("Request", (), {"user": User(is_superuser=True, is_active=True)})()
        )
        assert admin_client.get(add_address(model)).status_code == (200 if may_add else 403), model


def test_vectors_stay_in_the_database(admin_client):
    rows = make_history(FEW)

    asked = statements(admin_client, list_address(Memory))
    asked += statements(admin_client, page_address(Memory, rows.memories[0].pk))
    asked += statements(admin_client, f"{list_address(Memory)}?q=machine")

    assert not [sql for sql in asked if '"embedding"' in sql or '"second_embedding"' in sql]


def test_wide_columns_stay_in_the_database_where_a_list_is_shown(admin_client):
    make_history(FEW)

    for model in (Message, Delivery, Turn):
        assert not [sql for sql in statements(admin_client, list_address(model)) if "platform_data" in sql]


def test_no_list_of_a_big_table_counts_its_rows(admin_client):
    make_history(FEW)

    for model in (Message, Turn, Delivery, Memory, Event):
        asked = statements(admin_client, list_address(model))
        table = f'FROM "{model._meta.db_table}"'
        assert not [sql for sql in asked if sql.startswith("SELECT COUNT(*)") and table in sql], model


@pytest.mark.parametrize("model", HISTORY, ids=lambda model: model.__name__)
def test_history_can_be_read_and_nothing_else(admin_client, model):
    rows = make_history(1)
    address = page_address(model, rows.firsts[model])

    assert admin_client.get(add_address(model)).status_code == 403
    assert admin_client.post(address, {}).status_code == 403
    assert admin_client.post(f"{address}delete/", {"post": "yes"}).status_code == 403


@pytest.mark.parametrize(
    ("model", "query"),
    [
        (Turn, "?state__exact=dead"),
        (Turn, "?when=hour&outcome__exact=replied"),
        (Delivery, "?state__exact=uncertain&when=day"),
        (Message, "?delivery__state__exact=sent&when=week"),
        (Memory, "?kind__exact=message&scope__exact=room&q=machine"),
        (Turn, "?q=Ada"),
        (Approval, "?state__exact=pending&kind__exact=dangerous&q=pay"),
        (Message, "?q=a%00b"),
        (Event, "?handled=no"),
    ],
)
def test_lists_can_be_filtered_and_searched(admin_client, model, query):
    make_history(FEW)

    assert admin_client.get(list_address(model) + query).status_code == 200


def test_a_turn_is_found_by_its_id_its_message_or_its_persons_name(admin_client):
    rows = make_history(FEW)
    turn = rows.turns[2]

    for sought in (turn.pk, turn.message_id, turn.lane_id, turn.person.name):
        shown = admin_client.get(list_address(Turn), {"q": str(sought)}).content.decode()
        assert page_address(Turn, turn.pk) in shown
        assert page_address(Turn, rows.turns[1].pk) not in shown


def test_the_filter_by_time_keeps_what_is_new_and_drops_what_is_old(admin_client):
    rows = make_history(2)
    old = Event.objects.create(id="01000000-0000-7000-8000-000000000000", name="message:received")

    shown = admin_client.get(f"{list_address(Event)}?when=hour").content.decode()

    assert page_address(Event, rows.events[0].pk) in shown
    assert page_address(Event, old.pk) not in shown


def test_a_staff_user_without_permissions_sees_no_table(client):
    rows = make_history(1)
    client.force_login(staff_with())

    index = client.get(reverse("admin:index"))

    assert index.status_code == 200
    for model in TABLES:
        assert list_address(model) not in index.content.decode()
        assert client.get(list_address(model)).status_code == 403
        assert client.get(page_address(model, rows.firsts[model])).status_code == 403


def test_seeing_turns_is_no_permission_to_see_or_change_agents_or_to_stop_turns(client):
    rows = make_history(1)
    client.force_login(staff_with("agents.view_turn"))

    assert client.get(page_address(Turn, rows.turns[0].pk)).status_code == 200
    assert (
        client.post(
            f"{page_address(Turn, rows.turns[0].pk)}stop_turn/", {"_form_submitted": "on"}
        ).status_code
        == 403
    )
    agent = page_address(Agent, rows.agents[0].pk)
    assert client.get(agent).status_code == 403
    assert client.post(agent, {}).status_code == 403
    index = client.get(reverse("admin:index")).content.decode()
    assert list_address(Turn) in index
    assert list_address(Agent) not in index


def test_seeing_agents_is_no_permission_to_start_them(client):
    rows = make_history(1)
    client.force_login(staff_with("agents.view_agent"))
    action = {"action": "stop_agents", "_selected_action": str(rows.agents[0].pk)}

    client.post(list_address(Agent), action)
    response = client.post(f"{page_address(Agent, rows.agents[0].pk)}stop_agent/", {"_form_submitted": "on"})

    assert response.status_code == 403
    assert Agent.objects.get(pk=rows.agents[0].pk).status == Agent.Status.RUNNING


def test_a_visitor_is_sent_to_the_login_page(client):
    response = client.get(list_address(Turn))

    assert response.status_code == 302
    assert client.get(response["Location"]).status_code == 200


def test_a_search_finds_names_however_their_accents_are_sent_and_ids_as_they_are(admin_client):
    turn, apart = make_history(FEW).turns[2], normalize("NFD", "Hélène")
    Person.objects.filter(pk=turn.person_id).update(name="Hélène")
    room = Room.objects.create(platform="telegram", external_id=f"dm-{apart}", type=Room.Type.DM)

    for model, found in ((Turn, turn), (Person, turn.person), (Room, room)):
        shown = admin_client.get(list_address(model), {"q": apart}).content.decode()
        assert page_address(model, found.pk) in shown, model
