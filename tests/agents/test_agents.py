"""Starting, pausing and stopping agents."""

from __future__ import annotations

import pytest

from agents.agents import pause, renew, start, stop
from agents.models import Agent
from tests.doubles.history import make_history

pytestmark = pytest.mark.django_db


@pytest.fixture
def agent():
    return make_history(1).agents[0]


@pytest.mark.parametrize(("verb", "status"), [(start, "running"), (pause, "paused"), (stop, "stopped")])
def test_each_verb_is_one_update_that_raises_the_revision(agent, verb, status, django_assert_num_queries):
    with django_assert_num_queries(1):
        verb(agent)

    stored = Agent.objects.get(pk=agent.pk)
    assert (agent.status, stored.status, stored.revision) == (status, status, 2)
    assert stored.updated_at > agent.updated_at


def test_two_who_read_the_same_agent_raise_its_revision_twice(agent):
    pause(Agent.objects.get(pk=agent.pk))
    stop(agent)
    renew(agent.pk)

    assert Agent.objects.get(pk=agent.pk).revision == 4
