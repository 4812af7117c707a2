"""Nobody's words surface where they may not: random worlds, worked by the real pipeline, against a plain reference.

Every prompt that the fake model receives is searched for the markers of all that was said so far. A wall behind
the query (row level security) is switched on and off by the setting WALL, once there is one: the same worlds must
then hold with each.
"""

from __future__ import annotations

import datetime as dt
import json
from collections import Counter
from collections.abc import Iterator
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.conf import settings as django_settings
from django.db import transaction
from hypothesis import HealthCheck, Phase, given, note
from hypothesis import settings as hypothesis_settings

from agents import work
from agents.envelopes import Incoming, IncomingPerson, IncomingRoom
from agents.inbox import receive
from agents.llm.router import answering_with
from agents.llm.scripted import ScriptedModel
from agents.models import Account, Person
from agents.people import merging
from plugins.api import (
    Action,
    ActionResult,
    Context,
    Effect,
    Plugin,
    Provided,
    Provider,
    Relate,
    Remember,
    SetGoal,
    SetPluginState,
)
from tests.conftest import make_agent
from tests.doubles import worlds
from tests.doubles.acting import acting_with
from tests.doubles.worlds import Merge, Reference, Say, World, marker_of, markers_in
from transports.models import Connection

WALL = "ROW_LEVEL_SECURITY"
WALLS = (False, True) if hasattr(django_settings, WALL) else (False,)
"""Without such a setting there is one wall, the query's own."""

SOME, MANY = 50, 1000
SOMEBODY = UUID(int=8)
"""Who never says a word, so that others can stand in a relationship to somebody."""

KEPT: dict[str, Any] = {
    worlds.FACT: lambda text: Remember(text=text),
    worlds.ROOM_FACT: lambda text: Remember(text=text, about_person=False),
    worlds.GOAL: lambda text: SetGoal(name=text, objectives=(f"do {text}",)),
    worlds.PERSON_STATE: lambda text: SetPluginState(state={"kept": text}, scope="person"),
    worlds.ROOM_STATE: lambda text: SetPluginState(state={"kept in the room": text}, scope="room"),
    worlds.RELATION: lambda text: Relate(other_person_id=SOMEBODY, relationship_type=text),
    worlds.RELATION_EVERYWHERE: lambda text: Relate(
        other_person_id=SOMEBODY, relationship_type=text, is_everywhere=True
    ),
    worlds.AGENT_STATE: lambda text: SetPluginState(state={"kept for all": text}, scope="agent"),
}


def keep(context: Context) -> ActionResult:
    """Keep the message in the way that it asks for."""
    way, _marker = context.message.text.split()
    effects: tuple[Effect, ...] = (KEPT[way](context.message.text),) if way in KEPT else ()
    return ActionResult(effects=effects)


def tell_states(context: Context) -> Provided:
    """Tell all that plugins keep for this turn."""
    return Provided(
        text=json.dumps({name: dict(state) for name, state in context.state.plugin_states.items()})
    )


KEEPER = Plugin(
    name="keeper",
    description="Keeps what it hears.",
    actions=(Action(name="KEEP", description="Keep it.", execute=keep),),
    providers=(Provider(name="STATES", get=tell_states, cheap=True),),
)


class Undone(Exception):
    """Takes a world back out of the database."""


class Stage:
    """A world in the database, worked by the pipeline."""

    def __init__(self, world: World, model: ScriptedModel) -> None:
        self.world = world
        self.reference = Reference(world=world)
        self.model = model
        self.key = uuid4().hex[:8]
        self.connections = [
            Connection.objects.create(
                agent=make_agent(name=f"Agent{number}"), platform="fake", transport="fake"
            )
            for number in range(world.agents)
        ]
        self.shown_elsewhere = 0
        Person.objects.create(pk=SOMEBODY, name="Somebody")

    def play(self) -> None:
        """Let everything happen, and judge each prompt."""
        for place, event in enumerate(self.world.events):
            if isinstance(event, Merge):
                self._merge(event)
            else:
                self._say(place, event)

    def _merge(self, event: Merge) -> None:
        persons = [self._person_id(number) for number in (event.person, event.into)]
        if None in persons or not self.reference.merge(event):
            return
        merging.merge(persons[0], persons[1], by="test", why="They are one.")

    def _person_id(self, number: int) -> Any:
        accounts = Account.objects.filter(external_id=self._person_key(number))
        return accounts.values_list("person", flat=True).first()

    def _person_key(self, number: int) -> str:
        return f"{self.key}-person{number}"

    def _say(self, place: int, event: Say) -> None:
        receipt = receive(self._incoming(place, event), is_limited=False)
        self.reference.say(place, event)
        asked_before = len(self.model.requests)
        work.drain_lane(receipt.lane_id)
        allowed = self.reference.allowed(event)
        for request in self.model.requests[asked_before:]:
            prompt = "\n".join(message.content for message in request.messages)
            found = markers_in(prompt, len(self.world.events))
            if not found <= allowed:
                note(f"event {place}: {sorted(found - allowed)} may not surface in\n{prompt}")
            assert found <= allowed
            self.shown_elsewhere += sum(self.reference.said[seen].room != event.room for seen in found)

    def _incoming(self, place: int, event: Say) -> Incoming:
        room_type = self.world.room_types[event.room]
        name = f"Person{event.person}"
        return Incoming(
            connection_id=self.connections[event.agent].pk,
            external_id=f"{self.key}-{place}",
            room=IncomingRoom(external_id=f"{self.key}-room{event.room}", type=room_type),
            person=IncomingPerson(
                external_id=self._person_key(event.person), name=name, is_bot=event.person in self.world.bots
            ),
            text=f"{event.way} {marker_of(place)}",
            said_at=dt.datetime.now(dt.UTC),
            is_addressed=event.is_addressed or None,
        )


def answer(request: Any) -> str:
    """Say something to everyone, repeat what was said, and keep it."""
    if request.max_tokens < 100:
        return "RESPOND"
    words = request.messages[-1].content.rpartition(": ")[2]
    return f"<response><actions>KEEP, REPLY</actions><text>You said {words}.</text></response>"


@pytest.fixture
def stage(settings: Any, monkeypatch: Any, hashed_vectors: None, db: None) -> Iterator[ScriptedModel]:
    """Models and settings with which all that may surface does."""
    settings.RECALL_LIMIT, settings.PROMPT_MAX_TOKENS = 200, 100_000
    monkeypatch.setattr(merging, "LATE_PAUSE_SECONDS", 0.0)
    with acting_with(monkeypatch, KEEPER), answering_with(ScriptedModel(answer)) as model:
        yield model  # type: ignore[misc]


def play(model: ScriptedModel, examples: int, events: int) -> Counter[str]:
    """Play so many random worlds, and count what was seen in them."""
    seen: Counter[str] = Counter()

    @hypothesis_settings(
        max_examples=examples,
        deadline=None,
        database=None,
        # A seed has no smaller one that fails alike.
        phases=[Phase.generate],
        suppress_health_check=[HealthCheck.too_slow],
    )
    @given(world=worlds.worlds(events=events))
    def hold(world: World) -> None:
        try:
            with transaction.atomic():
                model.requests.clear()
                stage = Stage(world, model)
                stage.play()
                seen["worlds"] += 1
                seen["prompts"] += len(model.requests)
                seen["shown elsewhere"] += stage.shown_elsewhere
                raise Undone
        except Undone:
            pass

    hold()
    return seen


@pytest.mark.parametrize("wall", WALLS)
def test_no_prompt_holds_what_may_not_surface_there(stage: ScriptedModel, settings: Any, wall: bool) -> None:
    if hasattr(settings, WALL):
        setattr(settings, WALL, wall)
    seen = play(stage, SOME, events=10)
    assert seen["worlds"] >= SOME
    assert seen["shown elsewhere"], "what may surface elsewhere did: the test would notice what should not"


@pytest.mark.long
@pytest.mark.parametrize("wall", WALLS)
def test_in_a_thousand_worlds(stage: ScriptedModel, settings: Any, wall: bool) -> None:
    if hasattr(settings, WALL):
        setattr(settings, WALL, wall)
    seen = play(stage, MANY, events=12)
    assert seen["worlds"] >= MANY
    assert seen["shown elsewhere"] > MANY / 10
