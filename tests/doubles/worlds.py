"""Small random worlds of people, rooms and agents, and who may hear what there: by the documented rules alone.

Each saying carries a marker of its own. `may_surface` is the reference for the isolation test: it knows nothing of
the code that it judges, only what `docs/privacy.md` says.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from hypothesis import strategies as st

PRIVATE_TYPES = ("API", "DM", "SELF", "VOICE_DM")
SHARED_TYPES = ("GROUP", "THREAD", "FEED", "VOICE_GROUP")
PLAIN, FACT, ROOM_FACT, GOAL = "plain", "fact", "room_fact", "goal"
PERSON_STATE, ROOM_STATE, AGENT_STATE = "person_state", "room_state", "agent_state"
RELATION, RELATION_EVERYWHERE = "relation", "relation_everywhere"
WAYS = (PLAIN, FACT, ROOM_FACT, GOAL, PERSON_STATE, ROOM_STATE, AGENT_STATE, RELATION, RELATION_EVERYWHERE)
"""What becomes of a saying beside a message: nothing, a fact of the person or of the room, a goal, a plugin's state, a
relationship of the person."""


@dataclass(frozen=True, kw_only=True)
class Say:
    """One message. `way` is what the agent keeps of it."""

    person: int
    room: int
    agent: int
    way: str
    is_addressed: bool


@dataclass(frozen=True, kw_only=True)
class Merge:
    """Two people turn out to be one."""

    person: int
    into: int


Event = Say | Merge


@dataclass(frozen=True, kw_only=True)
class World:
    """Who and what there is, and what happens, in its order. `bots` are the people that are none."""

    agents: int
    people: int
    bots: frozenset[int]
    room_types: tuple[str, ...]
    events: tuple[Event, ...]


def make_world(seed: int, events: int) -> World:
    """Make the world of this seed with so many events: four people in four rooms, one of them perhaps a bot."""
    chance = random.Random(seed)
    people, rooms = range(4), range(4)

    def event() -> Event:
        if chance.random() < 0.08:
            return Merge(person=chance.choice(people), into=chance.choice(people))
        return Say(
            person=chance.choice(people),
            room=chance.choice(rooms),
            # Most speak to one agent, so that there is something to be heard elsewhere.
            agent=chance.choice((0, 0, 0, 1)),
            way=chance.choice(WAYS),
            is_addressed=chance.random() < 0.7,
        )

    return World(
        agents=2,
        people=len(people),
        bots=frozenset(chance.sample(people, chance.choice((0, 0, 1)))),
        # Private rooms are twice as likely: that is where walls are.
        room_types=tuple(chance.choice((*PRIVATE_TYPES, *PRIVATE_TYPES, *SHARED_TYPES)) for _room in rooms),
        events=tuple(event() for _place in range(events)),
    )


def worlds(*, events: int) -> st.SearchStrategy[World]:
    """Draw a world with so many events at most.

    All but the number of events comes from a seed: drawn one by one, people and rooms were alike so often that in
    half of the worlds nobody could have overheard anybody.
    """
    lengths = st.integers(events - 3, events)
    return st.builds(make_world, st.integers(0, 2**64 - 1), lengths)


def marker_of(place: int) -> str:
    """Return the marker of the saying that is the event of this place."""
    return f"zq{place:03d}qz"


def markers_in(text: str, count: int) -> set[int]:
    """Return the places of the sayings whose markers stand in the text."""
    return {place for place in range(count) if marker_of(place) in text}


@dataclass(kw_only=True)
class Reference:
    """What a world has come to, by the documented rules alone."""

    world: World
    stands_for: dict[int, int] = field(default_factory=dict)
    spoke_in: list[set[int]] = field(default_factory=list)
    said: dict[int, Say] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.spoke_in = [set() for _type in self.world.room_types]

    def one(self, person: int) -> int:
        """Return who stands for the person."""
        while person in self.stands_for:
            person = self.stands_for[person]
        return person

    def merge(self, event: Merge) -> bool:
        """Let two be one; False where that can't be: they are one already, one is gone, or one alone is a bot."""
        if event.person == event.into or {event.person, event.into} & self.stands_for.keys():
            return False
        if (event.person in self.world.bots) != (event.into in self.world.bots):
            return False
        self.stands_for[event.person] = event.into
        return True

    def say(self, place: int, event: Say) -> None:
        """Note a saying, before its prompts are judged: who speaks in a room takes part in it."""
        self.spoke_in[event.room].add(event.person)
        self.said[place] = event

    def may_surface(self, place: int, here: Say) -> bool:
        """Tell whether the saying's marker may stand in a prompt of the turn that answers `here`."""
        said = self.said[place]
        if said.agent != here.agent:
            return False  # memories are each agent's own
        if said.way == AGENT_STATE:
            return True  # what a plugin keeps for the agent goes wherever it speaks
        is_same_person = self.one(said.person) == self.one(here.person)
        if said.way in (PERSON_STATE, RELATION_EVERYWHERE) and is_same_person:
            return True  # and for a person, wherever that person speaks
        if said.room == here.room:
            return True  # the room's own history
        # What was said in private surfaces in private rooms of the same person, and nowhere else.
        is_private = self.world.room_types[said.room] in PRIVATE_TYPES
        return is_private and is_same_person and self.is_alone_in(here.person, here.room)

    def is_alone_in(self, person: int, room: int) -> bool:
        """Tell whether the room is of a private type and no other human ever spoke there."""
        humans = {self.one(other) for other in self.spoke_in[room] if other not in self.world.bots}
        return self.world.room_types[room] in PRIVATE_TYPES and humans <= {self.one(person)}

    def allowed(self, here: Say) -> set[int]:
        """Return the places of all sayings that may surface here."""
        return {place for place in self.said if self.may_surface(place, here)}
