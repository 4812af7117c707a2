"""The first stage: from here on nothing of the person's is worked, and whoever writes by their accounts is new.

One transaction, whose locks come in everyone's order: people, accounts, lanes (by id), turns. A message that comes
meanwhile waits for its lane, and finds it another's: so it looks afresh, finds no account, and makes a new person.
"""

from __future__ import annotations

import time
from typing import Any
from uuid import UUID

from django.db import OperationalError, connection, transaction
from django.db.models import Exists, OuterRef
from django.db.models.functions import Now
from psycopg.errors import DeadlockDetected

from agents import audit
from agents.cleaning import clean_text
from agents.crashpoints import reach
from agents.forgetting.pieces import Cutter, Pieces
from agents.models import Account, Agent, Forgetting, Participant, Person, Room
from agents.people.families import PRIVATE_TYPES, Family, family_of, private_rooms_of
from agents.wakeups import wake_after_commit

ATTEMPTS = 4
"""So often a forgetting is begun that meets a deadlock."""


class CannotForget(audit.NotDecided):
    """This person can't be forgotten, or not now; the text says why, and can be shown to whoever asked."""


def begin(person_id: UUID, *, by: str, why: str) -> Forgetting:
    """Begin to forget the person, and those merged into them; `agents.forgetting.go_on` does the rest.

    Raises: CannotForget, with nothing changed.
    """
    why = clean_text(why).strip()
    if not why:
        raise CannotForget("To forget a person takes a reason: say why, without naming them.")
    for attempt in range(1, ATTEMPTS + 1):
        try:
            forgetting = _begin(person_id, by=by, why=why)
            break
        except OperationalError as error:
            # A worker's turn and this may each wait for a row that the other holds; PostgreSQL ends one of them.
            if attempt == ATTEMPTS or not isinstance(error.__cause__, DeadlockDetected):
                words = str(error).splitlines()[0]
                raise CannotForget(
                    f"The person is busy just now ({words}). Please try again in a moment."
                ) from error
            time.sleep(0.1 * attempt)
    reach("forgetting.begun")
    return forgetting


def _begin(person_id: UUID, *, by: str, why: str) -> Forgetting:
    with transaction.atomic():
        family = _lock_family(person_id)
        accounts = list(Account.objects.select_for_update().filter(person__in=family.ids).order_by("pk"))
        forgetting = _note(family, accounts, by=by, why=why)
        _refuse_if_named(forgetting)
        _seal(family, forgetting)
    return forgetting


def _lock_family(person_id: UUID) -> Family:
    person = Person.objects.filter(pk=person_id).first()
    if person is None:
        raise CannotForget(f"There is no person {person_id}.")
    root_id = person.merged_into_id or person.pk
    family = family_of(Person.objects.get(pk=root_id))
    # Once more, locked: whoever was merged meanwhile belongs to it.
    people = Person.objects.select_for_update(no_key=True).filter(pk__in=family.ids)
    list(people.order_by("pk").values_list("pk"))
    family = family_of(Person.objects.get(pk=root_id))
    if family.person.merged_into_id is not None:
        raise CannotForget(f"{family.person} was merged into another person just now: try again.")
    if family.person.forgotten_at is not None:
        raise CannotForget("The person is being forgotten already.")
    own = Agent.objects.filter(
        connections__platform=OuterRef("platform"), connections__external_id=OuterRef("external_id")
    )
    if Account.objects.filter(Exists(own), person__in=family.ids).exists():
        raise CannotForget(f"{family.person} is an agent, not a person: delete the agent's connection.")
    return family


def _note(family: Family, accounts: list[Account], *, by: str, why: str) -> Forgetting:
    """Write down whom it is about; nothing else will know."""
    names = {person.name for person in Person.objects.filter(pk__in=family.ids)}
    names |= {account.username for account in accounts}
    marks = {account.external_id for account in accounts} | {str(id) for id in family.ids}
    marks |= {account.username for account in accounts}
    return Forgetting(
        people=[str(id) for id in family.ids],
        accounts=[[account.platform, account.external_id] for account in accounts],
        counts={"accounts": len(accounts)},
        names=sorted(filter(None, names)),
        marks=sorted(filter(None, marks)),
        began_by=clean_text(by)[:150],
        reason=why,
    )


def _refuse_if_named(forgetting: Forgetting) -> None:
    """Refuse a reason that would keep what is to be forgotten: the audit has it for ever."""
    cutter = Cutter(Pieces(), names=forgetting.names, marks=forgetting.marks)
    if cutter.touches(forgetting.reason):
        raise CannotForget(
            "The reason names the person, and would be kept: say why without their name or account."
        )


def _seal(family: Family, forgetting: Forgetting) -> None:
    rooms = list(Participant.objects.filter(person__in=family.ids).values_list("room", flat=True).distinct())
    names: dict[str, Any] = {"people": list(family.ids), "rooms": rooms}
    with connection.cursor() as cursor:
        cursor.execute(LOCK_LANES, names)
        names["lanes"] = [row[0] for row in cursor.fetchall()]
        names["private"] = _lock_private_rooms(family, rooms)
        names["ghosts"] = _ghosts_of(family)
        cursor.execute(LAST_LEASE, names)
        (forgetting.quiet_at,) = cursor.fetchall()[0]
        cursor.execute(AGENTS, names)
        forgetting.agents = [str(row[0]) for row in cursor.fetchall()]
        cursor.execute(LET_GO, names)
        freed = [row[0] for row in cursor.fetchall()]
        for statement in SEAL:
            cursor.execute(statement, names)
    forgetting.ghosts = [str(id) for id in names["ghosts"]]
    forgetting.private_rooms = [str(id) for id in names["private"]]
    forgetting.shared_rooms = {str(id): "" for id in rooms if id not in names["private"]}
    Account.objects.filter(person__in=family.ids).delete()
    Person.objects.filter(pk__in=[*family.ids, *names["ghosts"]]).update(forgotten_at=Now())
    forgetting.save(force_insert=True)
    for lane_id in freed:
        wake_after_commit("agents.drain_lane", lane_id=str(lane_id))


def _lock_private_rooms(family: Family, rooms: list[UUID]) -> list[UUID]:
    """Return those of the rooms that are the person's alone, locked, so that nobody comes in at the same moment.

    Locked after the lanes: whoever stores a message holds its lane when it asks for the room.
    """
    locked = Room.objects.select_for_update().filter(pk__in=rooms, type__in=PRIVATE_TYPES).order_by("pk")
    ids = list(locked.values_list("pk", flat=True))
    return list(private_rooms_of(family.ids).filter(pk__in=ids).values_list("pk", flat=True))


def _ghosts_of(family: Family) -> list[UUID]:
    """Make nameless people under whom the lanes stand from now on: one for each of the family, the first for the
    lanes of whole rooms.
    """
    ghosts = Person.objects.bulk_create(Person(name="") for _id in range(len(family.ids) + 1))
    return [ghost.pk for ghost in ghosts]


LOCK_LANES = """
SELECT id FROM agents_lane
WHERE person_id = ANY(%(people)s) OR person_id IS NULL AND room_id = ANY(%(rooms)s)
ORDER BY id FOR UPDATE
"""

LAST_LEASE = """
SELECT max(until) FROM (
    SELECT lease_until AS until FROM agents_lane WHERE id = ANY(%(lanes)s)
    UNION ALL
    SELECT evaluation_lease_until FROM agents_turn
    WHERE lane_id = ANY(%(lanes)s) AND evaluation = 'due' AND person_id = ANY(%(people)s)
    UNION ALL
    SELECT lease_until FROM agents_delivery WHERE room_id = ANY(%(rooms)s) AND state = 'sending'
) AS leases WHERE until > clock_timestamp()
"""
"""Until then a holder may believe that it holds something of the person's, and show words of theirs on a stream."""

AGENTS = """
SELECT agent_id FROM agents_lane WHERE id = ANY(%(lanes)s)
UNION
SELECT agent_id FROM plugins_pluginstate WHERE person_id = ANY(%(people)s)
"""
"""Whoever the person spoke to. Others who were in their rooms are found when these are read."""

SEAL = (
    # What is worked is stopped, and its holder fenced below; what waits, or is parked, is never worked.
    """
    UPDATE agents_turn
    SET state = 'stopped', stop_requested_at = clock_timestamp(), ended_at = clock_timestamp(),
        evaluation = 'none', evaluation_token = evaluation_token + 1, evaluation_lease_until = NULL
    WHERE person_id = ANY(%(people)s) AND lane_id = ANY(%(lanes)s) AND state IN ('waiting', 'running')
    """,
    """
    UPDATE agents_turn SET state = 'stopped', ended_at = clock_timestamp()
    WHERE id IN (SELECT turn_id FROM agents_approval WHERE state = 'pending')
      AND person_id = ANY(%(people)s) AND state = 'parked'
    """,
    "UPDATE agents_turn SET state = 'discarded' WHERE person_id = ANY(%(people)s) AND state = 'dead'",
    """
    UPDATE agents_turn
    SET evaluation = 'none', evaluation_token = evaluation_token + 1, evaluation_lease_until = NULL
    WHERE person_id = ANY(%(people)s) AND lane_id = ANY(%(lanes)s) AND evaluation = 'due'
    """,
    # What is on its way to the person is not sent.
    """
    UPDATE agents_delivery AS delivery
    SET state = 'failed', error = 'Whom it answers was forgotten.', lease_token = delivery.lease_token + 1,
        lease_until = NULL
    FROM agents_message AS message
    WHERE delivery.room_id = ANY(%(rooms)s) AND delivery.state IN ('pending', 'sending')
      AND message.id = delivery.message_id AND message.person_id = ANY(%(people)s)
    """,
    # The lanes become a nameless person's: who has read the account already, and waits for the lane, finds it so.
    """
    UPDATE agents_lane AS lane
    SET person_id = pair.ghost, lease_token = lane.lease_token + 1, lease_until = NULL, lease_owner = ''
    FROM unnest(%(people)s::uuid[], (%(ghosts)s::uuid[])[2:]) AS pair (person, ghost)
    WHERE lane.person_id = pair.person
    """,
    """
    UPDATE agents_lane
    SET person_id = (%(ghosts)s::uuid[])[1], lease_token = lease_token + 1, lease_until = NULL, lease_owner = ''
    WHERE person_id IS NULL AND room_id = ANY(%(private)s)
    """,
    # The same account may open the same room anew, and must find another row.
    "UPDATE agents_room SET external_id = 'forgotten:' || id, name = '' WHERE id = ANY(%(private)s)",
)

LET_GO = """
UPDATE agents_lane AS lane SET lease_token = lane.lease_token + 1, lease_until = NULL, lease_owner = ''
WHERE lane.id = ANY(%(lanes)s) AND lane.person_id IS NULL AND EXISTS (
    SELECT 1 FROM agents_turn AS turn
    WHERE turn.lane_id = lane.id AND turn.state = 'running' AND turn.person_id = ANY(%(people)s))
RETURNING lane.id
"""
"""The lanes of whole rooms in which the person's turn is at work: its holder is fenced, the others' turns go on."""
