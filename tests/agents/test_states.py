"""What plugins keep: never another's, whoever works the turn."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.conf import settings as site_settings
from django.db import IntegrityError, connection, transaction
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, example, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from agents.effects import CannotApply, apply_effects
from agents.inbox import receive
from agents.models import Agent, Lane, Message, Person, Room
from agents.people import merging
from agents.people.merging import CannotMerge
from agents.states import keep_plugin_state, plugin_states_for
from plugins.api import SetPluginState
from plugins.models import PluginState
from tests.conftest import make_agent
from tests.doubles.counting import SCRIPT
from tests.doubles.programs import own_database_url, run_python

Key = tuple[str, int, str, int | None]
"""A plugin, an agent, a scope, and whose of it."""

STATES = st.dictionaries(
    st.sampled_from("abc"),
    st.one_of(
        st.integers(-5, 5), st.text("xyé漢", max_size=3), st.none(), st.lists(st.booleans(), max_size=2)
    ),
    min_size=1,
)
PEOPLE, ROOMS, AGENTS, PLUGINS = 4, 2, 2, ("one", "two")
SETS = st.tuples(
    st.just("set"),
    st.sampled_from(PLUGINS),
    st.integers(0, AGENTS - 1),
    st.integers(0, ROOMS - 1),
    st.none() | st.integers(0, PEOPLE - 1),
    st.sampled_from(["person", "person", "room", "agent"]),
    STATES,
)
MERGES = st.tuples(st.just("merge"), st.integers(0, PEOPLE - 1), st.integers(0, PEOPLE - 1))


@dataclass
class Reference:
    """What plugins keep, as one would write it down by hand."""

    kept: dict[Key, dict[str, Any]] = field(default_factory=dict)
    stands_for: dict[int, int] = field(default_factory=dict)

    def whom(self, person: int | None) -> int | None:
        return None if person is None else self.stands_for.get(person, person)

    def set(self, plugin: str, agent: int, scope: str, whose: int | None, state: dict[str, Any]) -> None:
        self.kept[plugin, agent, scope, whose] = state

    def merge(self, gone: int, into: int) -> None:
        self.stands_for |= {person: into for person, to in self.stands_for.items() if to == gone} | {
            gone: into
        }
        for plugin, agent, scope, whose in list(self.kept):
            if scope == "person" and whose == gone:
                older = self.kept.pop((plugin, agent, scope, gone))
                place = (plugin, agent, scope, into)
                self.kept[place] = {**older, **self.kept.get(place, {})}

    def read(self, agent: int, room: int, person: int | None) -> dict[str, dict[str, Any]]:
        read: dict[str, dict[str, Any]] = {}
        for scope, whose in (("agent", None), ("room", room), ("person", self.whom(person))):
            for plugin in PLUGINS:
                state = self.kept.get((plugin, agent, scope, whose))
                if state is not None and (scope != "person" or whose is not None):
                    read[plugin] = {**read.get(plugin, {}), **state}
        return read


@dataclass(frozen=True)
class World:
    """A few agents, rooms and people."""

    agents: list[Agent]
    rooms: list[Room]
    people: list[Person]

    def keep(self, plugin: str, agent: int, room: int, person: int | None, scope: Any, state: Any) -> None:
        apply_effects(
            [SetPluginState(state=state, scope=scope)],
            plugin=plugin,
            agent_id=self.agents[agent].pk,
            room_id=self.rooms[room].pk,
            person_id=None if person is None else self.people[person].pk,
            cause_id=uuid4(),
        )

    def read(self, agent: int, room: int, person: int | None) -> dict[str, Any]:
        who = None if person is None else self.people[person].pk
        return plugin_states_for(self.agents[agent].pk, self.rooms[room].pk, who)


@pytest.fixture
def agents(db: None, hashed_vectors: None) -> list[Agent]:
    return [make_agent() for _number in range(AGENTS)]


def make_world(agents: list[Agent]) -> World:
    """Make rooms and people anew, and forget what was kept."""
    PluginState.objects.all().delete()
    return World(
        agents=agents,
        rooms=[
            Room.objects.create(platform="test", external_id=uuid4().hex, type="GROUP") for _ in range(ROOMS)
        ],
        people=[Person.objects.create(name=f"Person {number}") for number in range(PEOPLE)],
    )


@pytest.fixture
def no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a merge not look for late words: there are none."""
    monkeypatch.setattr(merging, "LATE_LOOKS", 0)


@hypothesis_settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.one_of(SETS, SETS, MERGES), max_size=16))
@example(
    [
        ("set", "one", 0, 0, 0, "person", {"a": "gone", "b": "gone"}),
        ("set", "one", 0, 0, 1, "person", {"a": "kept", "c": "kept"}),
        ("merge", 0, 1),
        ("set", "two", 0, 0, 0, "person", {"a": "by the old name"}),
    ]
)
def test_nobody_reads_what_is_another_s_whatever_is_kept_and_merged(
    agents: list[Agent], no_waiting: None, steps: list[tuple[Any, ...]]
) -> None:
    world, reference = make_world(agents), Reference()
    for step in steps:
        if step[0] == "merge":
            gone, into = step[1:]
            is_possible = (
                gone != into and gone not in reference.stands_for and into not in reference.stands_for
            )
            if is_possible:
                merging.merge(world.people[gone].pk, world.people[into].pk, by="ada", why="The same.")
                reference.merge(gone, into)
            continue
        _set, plugin, agent, room, person, scope, state = step
        if scope == "person" and person is None:
            with pytest.raises(CannotApply, match="but there is none here"), transaction.atomic():
                world.keep(plugin, agent, room, person, scope, state)
            continue
        world.keep(plugin, agent, room, person, scope, state)
        whose = {"agent": None, "room": room, "person": reference.whom(person)}[scope]
        reference.set(plugin, agent, scope, whose, state)
    for agent in range(AGENTS):
        for room in range(ROOMS):
            for person in (None, *range(PEOPLE)):
                assert world.read(agent, room, person) == reference.read(agent, room, person)


def test_a_person_s_state_without_a_person_is_nobody_s(agents: list[Agent]) -> None:
    """It used to replace the agent's own, which everybody reads."""
    world = make_world(agents)
    world.keep("one", 0, 0, None, "agent", {"own": 1})
    for scope, room in (("person", world.rooms[0].pk), ("person", None), ("room", None)):
        with pytest.raises(CannotApply, match=f"keeps a state for the {scope}, but there is none here"):
            apply_effects(
                [SetPluginState(state={"private": 2}, scope=scope)],  # type: ignore[arg-type]
                plugin="one",
                agent_id=agents[0].pk,
                room_id=room,
                cause_id=uuid4(),
            )
    assert world.read(0, 0, 0) == {"one": {"own": 1}}
    assert PluginState.objects.count() == 1


def test_one_who_is_nowhere_known_keeps_nothing(agents: list[Agent]) -> None:
    make_world(agents)
    effect = SetPluginState(state={"a": 1})
    with connection.cursor() as cursor:
        cursor.execute("SET CONSTRAINTS ALL IMMEDIATE")
    with pytest.raises(IntegrityError), transaction.atomic():
        keep_plugin_state("one", effect, agent_id=agents[0].pk, room_id=None, person_id=UUID(int=7))
    assert not PluginState.objects.exists()


def test_what_is_kept_under_an_old_name_is_the_merged_person_s(agents: list[Agent], no_waiting: None) -> None:
    """A turn that was received while the account changed hands goes on by the old name."""
    world = make_world(agents)
    merging.merge(world.people[0].pk, world.people[1].pk, by="ada", why="The same.")
    world.keep("one", 0, 0, 0, "person", {"a": 1})
    assert world.read(0, 0, 1) == world.read(0, 0, 0) == {"one": {"a": 1}}
    assert PluginState.objects.get().person_id == world.people[1].pk
    with pytest.raises(CannotMerge):
        merging.merge(world.people[1].pk, world.people[0].pk, by="ada", why="Back.")


def test_keeping_and_reading_take_a_statement_each(agents: list[Agent]) -> None:
    world = make_world(agents)
    for call in (
        lambda: world.keep("one", 0, 0, 0, "person", {"a": 1}),
        lambda: world.keep("one", 0, 0, 0, "person", {"a": 2}),
        lambda: world.read(0, 0, 0),
    ):
        with CaptureQueriesContext(connection) as captured:
            call()
        assert len(captured) == 1


@pytest.mark.django_db(transaction=True)
def test_it_survives_a_change_of_worker(incoming: Any, agent: Agent) -> None:
    """Each message is worked by a process of its own, which ends; what it kept is the next one's."""
    Agent.objects.update(model_large=SCRIPT, model_small=SCRIPT)
    environment = {
        "DATABASE_URL": own_database_url(),
        "REDIS_URL": site_settings.REDIS_URL,
        "DJANGO_SETTINGS_MODULE": "eliza_site.settings",
        "ELIZA_PLUGINS": "tests.doubles.counting",
        "EMBEDDING_MODEL": "hashed",
        "EMBEDDING_BASE_URL": "",
    }
    for person, room in (("ann", "here"), ("bea", "here"), ("ann", "there"), ("ann", "here")):
        receipt = receive(incoming("count", person=person, room=room, room_type="DM"))
        Lane.objects.update(lease_until=None, next_run_at="2020-01-01T00:00:00Z")
        done = run_python("-m", "tests.doubles.counting", str(receipt.lane_id), **environment)
        assert done.returncode == 0, done.stderr
    said = Message.objects.filter(direction="out").order_by("received_at").values_list("text", flat=True)
    assert list(said) == [
        "person 1 room 1 agent 1",
        "person 1 room 2 agent 2",
        "person 2 room 1 agent 3",
        "person 3 room 3 agent 4",
    ]
