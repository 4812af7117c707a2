"""Makes the acquaintance of who is new: connections looked up, people, accounts, rooms and lanes made.

Called by `agents.inbox` only; what is known already never comes here.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar
from uuid import UUID

from cachetools import TTLCache, cached
from cachetools.keys import hashkey
from django.db import IntegrityError, transaction
from django.db.models.functions import Now

from agents.cleaning import clean_words
from agents.envelopes import Incoming
from agents.models import Account, Agent, Lane, Participant, Person, Room, World

FACTS_STAY_FRESH_SECONDS = 2.0

Row = TypeVar("Row")


@dataclass(frozen=True, kw_only=True)
class ConnectionFacts:
    """What `receive` needs to know of a connection and its agent."""

    id: UUID
    platform: str
    external_id: str
    agent_id: UUID
    agent_name: str
    agent_status: str
    lane_scope: str
    double_texting: str
    hears_stop: bool


_facts: TTLCache[object, ConnectionFacts | None] = TTLCache(maxsize=4096, ttl=FACTS_STAY_FRESH_SECONDS)


@cached(_facts, key=hashkey, lock=threading.Lock())
def connection_facts(connection_id: UUID) -> ConnectionFacts | None:
    """Return what is known of an open connection, or None.

    Unit: up to FACTS_STAY_FRESH_SECONDS old.
    """
    row = (
        Agent.objects.filter(connections=connection_id, connections__is_enabled=True)
        .values_list(
            "connections__platform",
            "connections__external_id",
            "id",
            "name",
            "status",
            "lane_scope",
            "double_texting",
            "hears_stop",
        )
        .first()
    )
    if row is None:
        return None
    return ConnectionFacts(
        id=connection_id,
        platform=row[0],
        external_id=row[1],
        agent_id=row[2],
        agent_name=row[3],
        agent_status=row[4],
        lane_scope=row[5],
        double_texting=row[6],
        hears_stop=row[7],
    )


def forget_connection_facts() -> None:
    """Forget what was looked up, so that a change is seen at once."""
    _facts.clear()


def note_agent_account(platform: str, external_id: str) -> None:
    """Know whoever speaks by this account for a bot: it is an agent's own."""
    if external_id:
        Person.objects.filter(
            accounts__platform=platform, accounts__external_id=external_id, is_bot=False
        ).update(is_bot=True)


@transaction.atomic(savepoint=False)
def introduce(incoming: Incoming, facts: ConnectionFacts) -> None:
    """Make the world, room, person, account, participant and lane that are not there yet.

    The account stays locked until the commit, so that a person who is merged meanwhile gets no new lane.
    """
    room = _room(incoming, facts)
    person_id = _person_id(incoming, facts)
    _find_or_make(
        lambda: Participant.objects.filter(room=room, person_id=person_id).first(),
        lambda: Participant.objects.create(room=room, person_id=person_id),
    )
    scope = Agent.LaneScope(facts.lane_scope)
    lane_person = None if scope == Agent.LaneScope.ROOM else person_id
    lane_room = None if scope == Agent.LaneScope.PERSON else room
    lanes = Lane.objects.filter(agent_id=facts.agent_id)
    lanes = lanes.filter(person_id=lane_person) if lane_person else lanes.filter(person__isnull=True)
    lanes = lanes.filter(room=lane_room) if lane_room else lanes.filter(room__isnull=True)
    _find_or_make(
        lambda: lanes.first(),
        lambda: Lane.objects.create(
            agent_id=facts.agent_id,
            person_id=lane_person,
            room=lane_room,
            next_run_at=Now(),
            woke_at=Now(),
            bucket_started_at=Now(),
        ),
    )


def _room(incoming: Incoming, facts: ConnectionFacts) -> Room:
    envelope = incoming.room
    world: World | None = None
    if envelope.world_external_id:
        world, _ = World.objects.get_or_create(
            platform=facts.platform,
            external_id=envelope.world_external_id,
            defaults={"name": envelope.world_name},
        )
    room, _ = Room.objects.get_or_create(
        platform=facts.platform,
        external_id=envelope.external_id,
        defaults={"type": envelope.type, "name": envelope.name, "world": world},
    )
    return room


def _person_id(incoming: Incoming, facts: ConnectionFacts) -> UUID:
    envelope = incoming.person

    is_agent = Agent.objects.filter(
        connections__platform=facts.platform, connections__external_id=envelope.external_id
    ).exists()

    def make() -> Account:
        person = Person.objects.create(
            name=clean_words(envelope.name or envelope.username or envelope.external_id)[:200],
            is_bot=envelope.is_bot or is_agent,
        )
        return Account.objects.create(
            person=person,
            platform=facts.platform,
            external_id=envelope.external_id,
            username=envelope.username,
        )

    account = _find_or_make(
        lambda: (
            Account.objects.select_for_update(no_key=True)
            .filter(platform=facts.platform, external_id=envelope.external_id)
            .first()
        ),
        make,
    )
    return account.person_id


def _find_or_make(find: Callable[[], Row | None], make: Callable[[], Row]) -> Row:
    row = find()
    if row is not None:
        return row
    try:
        with transaction.atomic():
            return make()
    except IntegrityError:
        # Another transaction made it in the meantime; if not, the error is a real one.
        row = find()
        if row is None:
            raise
        return row
