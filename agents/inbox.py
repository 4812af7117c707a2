"""Takes in what was said: `receive` stores a message once and puts a turn for it into its lane.

Called by every door that messages come through: webhooks, the API, gateways, commands. It needs PostgreSQL
alone; the wake-up after the commit may be lost without harm.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass, replace
from uuid import UUID

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from uuid_utils.compat import uuid7

from agents import senders
from agents.cleaning import clean_json, clean_text
from agents.crashpoints import reach
from agents.envelopes import Incoming, Receipt
from agents.models import Agent, Message, Turn
from agents.senders import ConnectionFacts
from agents.wakeups import wake_after_commit

MAX_EXTERNAL_ID_CHARACTERS = 200
BUCKET_SECONDS = 60


class Refused(Exception):
    """A message that can't be taken; the text says why, and can be shown to whoever sent it."""


class TooMany(Refused):
    """More messages from one person than the limit allows."""

    def __init__(self, message: str, *, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


@dataclass(frozen=True, kw_only=True)
class _Place:
    """A message's place: its lane, the number it has there, and whose it is."""

    lane_id: UUID
    sequence: int
    person_id: UUID
    room_id: UUID
    received_at: dt.datetime
    bucket_count: int
    bucket_ends_in_seconds: float


class _SecondCopy(Exception):
    """The message is there already; rolls the first statements back."""


def receive(incoming: Incoming, *, is_limited: bool = True) -> Receipt:
    """Store the message once and queue a turn for it; a second copy changes nothing and is told so.

    With `is_limited`, the message counts against its person's PERSON_MESSAGES_PER_MINUTE.
    Raises: Refused with words for the sender; TooMany where the person's limit is reached.
    """
    incoming = clean(incoming)
    facts = senders.connection_facts(incoming.connection_id)
    if facts is None:
        raise Refused(f"There is no open connection {incoming.connection_id}.")
    if facts.agent_status == Agent.Status.STOPPED:
        raise Refused(f"{facts.agent_name} is stopped and takes no messages.")
    if facts.external_id and facts.external_id == incoming.person.external_id:
        raise Refused(f"{facts.agent_name} does not answer its own account.")
    try:
        with transaction.atomic():
            receipt = _store(incoming, facts, is_limited=is_limited)
            reach("inbox.before_commit")
    except _SecondCopy:
        return _receipt_of_first(incoming)
    reach("inbox.after_commit")
    return receipt


def _store(incoming: Incoming, facts: ConnectionFacts, *, is_limited: bool) -> Receipt:
    place = _take_place(incoming, facts)
    if place is None:
        senders.introduce(incoming, facts)
        place = _take_place(incoming, facts)
        assert place is not None, "a lane that was just made is missing"
    if is_limited and place.bucket_count > settings.PERSON_MESSAGES_PER_MINUTE:
        raise TooMany(
            f"That was more than {settings.PERSON_MESSAGES_PER_MINUTE} messages in a minute."
            f" Please wait {place.bucket_ends_in_seconds:.0f} seconds.",
            retry_after_seconds=place.bucket_ends_in_seconds,
        )
    message_id, turn_id = _insert(incoming, facts, place)
    wake_after_commit("agents.drain_lane", lane_id=str(place.lane_id))
    return Receipt(
        message_id=message_id,
        turn_id=turn_id,
        lane_id=place.lane_id,
        room_id=place.room_id,
        person_id=place.person_id,
        is_new=True,
    )


LANE_OF_SCOPE = {
    Agent.LaneScope.PERSON: "lane.person_id = account.person_id AND lane.room_id IS NULL",
    Agent.LaneScope.PERSON_IN_ROOM: "lane.person_id = account.person_id AND lane.room_id = room.id",
    Agent.LaneScope.ROOM: "lane.person_id IS NULL AND lane.room_id = room.id",
}

TAKE_PLACE = """
UPDATE agents_lane AS lane
SET last_sequence = lane.last_sequence + 1,
    woke_at = clock_timestamp(),
    bucket_count = CASE WHEN lane.bucket_started_at > clock_timestamp() - make_interval(secs => %(bucket)s)
                        THEN lane.bucket_count + 1 ELSE 1 END,
    bucket_started_at = CASE
        WHEN lane.bucket_started_at > clock_timestamp() - make_interval(secs => %(bucket)s)
        THEN lane.bucket_started_at ELSE clock_timestamp() END
FROM agents_account AS account, agents_room AS room, agents_participant AS participant
WHERE account.platform = %(platform)s AND account.external_id = %(person)s
  AND room.platform = %(platform)s AND room.external_id = %(room)s
  AND participant.room_id = room.id AND participant.person_id = account.person_id
  AND lane.agent_id = %(agent)s AND {lane_of_scope}
RETURNING lane.id, lane.last_sequence, account.person_id, room.id, clock_timestamp(), lane.bucket_count,
          %(bucket)s - extract(epoch FROM clock_timestamp() - lane.bucket_started_at)::float
"""
"""Finds everyone who is known, locks the lane, and takes the next number in it. No row: somebody is new.

The lock is held until the commit, so that a lane is never released between a message's number and its turn.
"""


def _take_place(incoming: Incoming, facts: ConnectionFacts) -> _Place | None:
    with connection.cursor() as cursor:
        cursor.execute(
            TAKE_PLACE.format(lane_of_scope=LANE_OF_SCOPE[Agent.LaneScope(facts.lane_scope)]),
            {
                "platform": facts.platform,
                "person": incoming.person.external_id,
                "room": incoming.room.external_id,
                "agent": facts.agent_id,
                "bucket": BUCKET_SECONDS,
            },
        )
        row = cursor.fetchone()
    if row is None:
        return None
    return _Place(
        lane_id=row[0],
        sequence=row[1],
        person_id=row[2],
        room_id=row[3],
        received_at=row[4],
        bucket_count=row[5],
        bucket_ends_in_seconds=max(1.0, row[6]),
    )


def _insert(incoming: Incoming, facts: ConnectionFacts, place: _Place) -> tuple[UUID, UUID]:
    message = Message(
        agent_id=facts.agent_id,
        connection_id=facts.id,
        room_id=place.room_id,
        person_id=place.person_id,
        direction=Message.Direction.IN,
        text=incoming.text,
        attachments=[vars(attachment) for attachment in incoming.attachments],
        external_id=incoming.external_id,
        reply_to_external_id=incoming.reply_to_external_id,
        is_addressed=incoming.is_addressed,
        is_verified=incoming.is_verified,
        platform_data=incoming.platform_data,
        said_at=incoming.said_at,
        received_at=place.received_at,
    )
    try:
        message.save(force_insert=True)
    except IntegrityError as error:
        if "one_message_a_network_id" not in str(error):
            raise
        raise _SecondCopy from error
    turn = Turn(
        id=uuid7(),
        lane_id=place.lane_id,
        sequence=place.sequence,
        agent_id=facts.agent_id,
        room_id=place.room_id,
        person_id=place.person_id,
        connection_id=facts.id,
        message_id=message.pk,
        cause_kind=Turn.Cause.MESSAGE,
        cause_id=message.pk,
        received_at=place.received_at,
    )
    turn.save(force_insert=True)
    return message.pk, turn.pk


def _receipt_of_first(incoming: Incoming) -> Receipt:
    turn = Turn.objects.get(
        cause_kind=Turn.Cause.MESSAGE,
        message__connection_id=incoming.connection_id,
        message__external_id=incoming.external_id,
    )
    assert turn.message_id is not None
    assert turn.person_id is not None
    return Receipt(
        message_id=turn.message_id,
        turn_id=turn.pk,
        lane_id=turn.lane_id,
        room_id=turn.room_id,
        person_id=turn.person_id,
        is_new=False,
    )


def clean(incoming: Incoming) -> Incoming:
    """Return the message as it is stored: cleaned text, and ids that fit.

    Raises: Refused with words for the sender.
    """
    text = clean_text(incoming.text)
    if not text.strip() and not incoming.attachments:
        raise Refused("The message is empty: write something.")
    if len(text) > settings.MESSAGE_MAX_CHARACTERS:
        raise Refused(
            f"The message has {len(text):,} characters; at most {settings.MESSAGE_MAX_CHARACTERS:,} are"
            " taken. Send it in parts."
        )
    if incoming.said_at.tzinfo is None:
        raise Refused(f"The time {incoming.said_at.isoformat()} has no zone: add one, such as Z.")
    person, room = incoming.person, incoming.room
    return replace(
        incoming,
        text=text,
        external_id=_identifier(incoming.external_id, "message"),
        reply_to_external_id=clean_text(incoming.reply_to_external_id)[:MAX_EXTERNAL_ID_CHARACTERS],
        person=replace(
            person,
            external_id=_identifier(person.external_id, "person"),
            name=clean_text(person.name)[:200],
            username=clean_text(person.username)[:200],
        ),
        room=replace(
            room,
            external_id=_identifier(room.external_id, "room"),
            name=clean_text(room.name)[:200],
            world_external_id=clean_text(room.world_external_id)[:MAX_EXTERNAL_ID_CHARACTERS],
            world_name=clean_text(room.world_name)[:200],
        ),
        platform_data=clean_json(dict(incoming.platform_data)),
    )


def _identifier(value: str, noun: str) -> str:
    cleaned = clean_text(value).strip()
    if not cleaned or len(cleaned) > MAX_EXTERNAL_ID_CHARACTERS:
        raise Refused(
            f"The {noun}'s id {value[:40]!r} has {len(cleaned)} characters;"
            f" 1 to {MAX_EXTERNAL_ID_CHARACTERS} are taken."
        )
    return cleaned
