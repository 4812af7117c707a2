"""Starting, pausing and stopping agents."""

from __future__ import annotations

import pytest

from agents.agents import UnknownAgent, get_agent, pause, renew, start, stop
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


def test_an_agent_is_found_by_slug_or_name_in_any_case(agent):
    assert get_agent(agent.slug.upper()) == agent
    assert get_agent(agent.name.lower()) == agent


def test_an_unknown_name_is_answered_with_the_known_ones(agent):
    with pytest.raises(UnknownAgent, match=rf"No agent is named 'Zoe'\. There are: .*{agent.slug}"):
        get_agent("Zoe")


def test_a_name_that_two_have_is_answered_with_their_slugs(agent):
    Agent.objects.create(character=agent.character, name=agent.name, slug="other")
    with pytest.raises(UnknownAgent, match=r"2 agents are named .*other"):
        get_agent(agent.name)


def test_without_agents_the_cure_is_a_character(db):
    with pytest.raises(UnknownAgent, match=r"`manage\.py load_character` brings one"):
        get_agent("Zoe")
