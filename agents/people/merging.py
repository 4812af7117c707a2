"""People: two that turn out to be one are merged. The admin calls it.

The order of locks is that of everyone else: people, accounts, lanes (each by id), turns, and then the rest. A
message that comes meanwhile waits for its lane and finds, when it goes on, the lane gone or another's: so it looks
afresh, and its account names the person who stands for both.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.db import OperationalError, connection, transaction
from django.db.models import Q

from agents import audit
from agents.models import Account, Lane, Message, Participant, Person, Turn
from agents.states import merge_plugin_states
from agents.wakeups import wake_after_commit
from memory.people import merge_person

LATE_LOOKS = 10
LATE_PAUSE_SECONDS = 0.2


class CannotMerge(audit.NotDecided):
    """These two can't be merged; the text says why, and can be shown to whoever asked."""


class Busy(CannotMerge):
    """One of the two is being answered at this moment; it can be tried again in a moment."""


@dataclass(frozen=True, kw_only=True)
class _Pair:
    person_id: UUID
    into_id: UUID

    @property
    def names(self) -> dict[str, Any]:
        return {"person": self.person_id, "into": self.into_id}


def merge(person_id: UUID, into_id: UUID, *, by: str, why: str) -> None:
    """Let one person stand for both: accounts, words, memories and waiting messages become the other's.

    Whose lanes are worked at this moment is left alone: Busy. Merging the same two again changes nothing.
    Raises: CannotMerge, Busy.
    """
    if not why.strip():
        raise CannotMerge("To merge people takes a reason: say why.")
    if person_id == into_id:
        raise CannotMerge("A person can't be merged into themselves: choose another.")
    pair = _Pair(person_id=person_id, into_id=into_id)
    try:
        with transaction.atomic():
            if _merge(pair):
                audit.record(by, "merge", "person", {person_id: {"into": str(into_id)}}, why=why)
        _move_late_words(pair)
    except OperationalError as error:
        raise Busy(f"The two are busy just now ({error}). Please try again in a moment.") from error


def _merge(pair: _Pair) -> bool:
    """Move all that is the person's, and return whether they were nobody else's before."""
    people = {
        person.pk: person
        for person in Person.objects.select_for_update(no_key=True)
        .filter(pk__in=[pair.person_id, pair.into_id])
        .order_by("pk")
    }
    _check(people.get(pair.person_id), people.get(pair.into_id), pair)
    accounts = Account.objects.select_for_update(no_key=True).filter(person=pair.person_id)
    list(accounts.order_by("pk").values_list("pk"))
    _lock_lanes(pair)
    _refuse_if_worked(pair)
    _move_lanes(pair)
    _move_participants(pair)
    _move_words(pair)
    # A claim of an evaluation takes no lane: one that came first stands in its turn, whose row is locked now.
    _refuse_if_evaluated(pair)
    Account.objects.filter(person=pair.person_id).update(person=pair.into_id)
    Person.objects.filter(Q(pk=pair.person_id) | Q(merged_into=pair.person_id)).update(
        merged_into=pair.into_id
    )
    merge_plugin_states(pair.person_id, pair.into_id)
    merge_person(pair.person_id, pair.into_id)
    waiting = Lane.objects.filter(person=pair.into_id, turns__state=Turn.State.WAITING)
    for lane_id in set(waiting.values_list("pk", flat=True)):
        wake_after_commit("agents.drain_lane", lane_id=str(lane_id))
    return people[pair.person_id].merged_into_id is None


def _check(person: Person | None, into: Person | None, pair: _Pair) -> None:
    if person is None or into is None:
        raise CannotMerge(f"There is no person {pair.person_id if person is None else pair.into_id}.")
    if person.forgotten_at is not None or into.forgotten_at is not None:
        raise CannotMerge("One of the two is being forgotten.")
    if person.is_bot != into.is_bot:
        # A human who became a bot's would be nobody's company: what is told in private would be told before them.
        raise CannotMerge("One of the two is a bot, the other a human: say on their pages which they are.")
    if into.merged_into_id is not None:
        raise CannotMerge(f"{into} was merged into another person: choose {into.merged_into_id}.")
    if person.merged_into_id not in (None, into.pk):
        raise CannotMerge(f"{person} was merged into {person.merged_into_id} already.")


LOCK_LANES = """
SELECT id FROM agents_lane
WHERE person_id IN (%(person)s, %(into)s)
   OR person_id IS NULL AND room_id IN (SELECT room_id FROM agents_participant
                                        WHERE person_id IN (%(person)s, %(into)s))
ORDER BY id FOR UPDATE
"""
"""The lanes of both, and of the rooms that either is in where a room has one lane: whoever locks two, by id."""


def _lock_lanes(pair: _Pair) -> None:
    with connection.cursor() as cursor:
        cursor.execute(LOCK_LANES, pair.names)


WORKED = """
SELECT EXISTS (
    SELECT 1 FROM agents_lane AS lane WHERE lane.lease_until >= clock_timestamp()
    AND (lane.person_id IN (%(person)s, %(into)s)
         OR lane.person_id IS NULL AND EXISTS (
             SELECT 1 FROM agents_turn AS turn
             WHERE turn.lane_id = lane.id AND turn.state = 'running' AND turn.person_id = %(person)s)))
"""

EVALUATED = """
SELECT EXISTS (
    SELECT 1 FROM agents_turn
    WHERE person_id = %(into)s AND evaluation = 'due' AND evaluation_lease_until >= clock_timestamp())
"""


def _refuse_if_worked(pair: _Pair) -> None:
    if _ask(WORKED, pair):
        raise Busy("One of the two is being answered just now. Please try again in a moment.")


def _refuse_if_evaluated(pair: _Pair) -> None:
    if _ask(EVALUATED, pair):
        raise Busy("What one of the two said is being learnt from just now. Please try again in a moment.")


def _ask(question: str, pair: _Pair) -> bool:
    with connection.cursor() as cursor:
        cursor.execute(question, pair.names)
        return bool(cursor.fetchall()[0][0])


MOVE_LANES = (
    # Where the other has no lane of that scope yet, the lane itself becomes theirs.
    """
    UPDATE agents_lane AS lane SET person_id = %(into)s, lease_token = lease_token + 1, lease_until = NULL
    WHERE lane.person_id = %(person)s AND NOT EXISTS (
        SELECT 1 FROM agents_lane AS other
        WHERE other.person_id = %(into)s AND other.agent_id = lane.agent_id
          AND other.room_id IS NOT DISTINCT FROM lane.room_id)
    """,
    # Elsewhere both lanes' open turns line up behind what has ended, in the order of receipt. All numbers are
    # new ones, so that none is taken twice on the way.
    """
    WITH pair AS (
        SELECT old.id AS old_id, kept.id AS kept_id,
               greatest(old.last_sequence, kept.last_sequence) AS last_sequence
        FROM agents_lane AS old
        JOIN agents_lane AS kept ON kept.agent_id = old.agent_id AND kept.person_id = %(into)s
         AND kept.room_id IS NOT DISTINCT FROM old.room_id
        WHERE old.person_id = %(person)s
    ), placed AS (
        SELECT turn.id, pair.kept_id, pair.last_sequence + row_number() OVER (
                   PARTITION BY pair.kept_id
                   ORDER BY turn.state IN ('waiting', 'running'), turn.received_at, turn.sequence) AS sequence
        FROM pair
        JOIN agents_turn AS turn ON turn.lane_id = pair.old_id
          OR turn.lane_id = pair.kept_id AND turn.state IN ('waiting', 'running')
    ), moved AS (
        UPDATE agents_turn AS turn SET lane_id = placed.kept_id, sequence = placed.sequence
        FROM placed WHERE turn.id = placed.id
    )
    UPDATE agents_lane AS lane
    SET last_sequence = pair.last_sequence + (SELECT count(*) FROM placed WHERE placed.kept_id = lane.id),
        lease_token = lane.lease_token + 1, lease_until = NULL
    FROM pair WHERE lane.id = pair.kept_id
    """,
    # It has no turn left, and whoever waits for its row finds it gone and looks for the lane afresh.
    "DELETE FROM agents_lane WHERE person_id = %(person)s",
)


def _move_lanes(pair: _Pair) -> None:
    with connection.cursor() as cursor:
        for statement in MOVE_LANES:
            cursor.execute(statement, pair.names)


MOVE_PARTICIPANTS = (
    """
    UPDATE agents_participant AS kept SET state = gone.state
    FROM agents_participant AS gone
    WHERE gone.person_id = %(person)s AND kept.person_id = %(into)s AND kept.room_id = gone.room_id
      AND kept.state = ''
    """,
    """
    DELETE FROM agents_participant AS gone USING agents_participant AS kept
    WHERE gone.person_id = %(person)s AND kept.person_id = %(into)s AND kept.room_id = gone.room_id
    """,
)


def _move_participants(pair: _Pair) -> None:
    with connection.cursor() as cursor:
        for statement in MOVE_PARTICIPANTS:
            cursor.execute(statement, pair.names)
    Participant.objects.filter(person=pair.person_id).update(person=pair.into_id)


def _move_words(pair: _Pair) -> int:
    return sum(
        said.filter(person=pair.person_id).update(person=pair.into_id)
        for said in (Turn.objects, Message.objects)
    )


def _move_late_words(pair: _Pair) -> None:
    """Move what came in by the old account's name while it changed hands.

    In a lane of a whole room nothing tells a message that waited for it of the merge: it goes on with what it had
    read. It is over a moment later.
    """
    for _look in range(LATE_LOOKS):
        time.sleep(LATE_PAUSE_SECONDS)
        with transaction.atomic():
            _lock_lanes(pair)
            if not _move_words(pair):
                return
