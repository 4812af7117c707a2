"""Takes in what was said: `receive` stores a message once and puts a turn for it into its lane.

Called by every door that messages come through: webhooks, the API, gateways, commands. It needs PostgreSQL
alone; the wake-up after the commit may be lost without harm.
"""

from __future__ import annotations

import contextlib
import json
from dataclasses import replace
from typing import Any

from django.conf import settings
from django.db import IntegrityError, connection, transaction
from uuid_utils.compat import uuid7

from agents import controls, turns
from agents.cleaning import clean_json, clean_text, clean_words
from agents.crashpoints import reach
from agents.envelopes import Incoming, Receipt
from agents.models import Agent, Turn
from agents.people import senders
from agents.people.senders import ConnectionFacts
from agents.wakeups import wake_after_commit

MAX_EXTERNAL_ID_CHARACTERS = 200
BUCKET_SECONDS = 60
UNLIMITED = 2**31 - 1
MAX_LOOKS = 5
"""Who was just made known is found at the second look, unless somebody merges them in the same moment."""


class Refused(Exception):
    """A message that can't be taken; the text says why, and can be shown to whoever sent it."""


class TooMany(Refused):
    """More messages from one person than the limit allows."""

    def __init__(self, message: str, *, retry_after_seconds: float) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds


class _SecondCopy(Exception):
    """The message is there already, and the statement changed nothing."""


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
        for _look in range(MAX_LOOKS):
            reach("inbox.before_commit")
            receipt = _take(incoming, facts, is_limited=is_limited)
            if receipt is not None:
                reach("inbox.after_commit")
                return receipt
            senders.introduce(incoming, facts)
    except _SecondCopy:
        return _receipt_of_first(incoming)
    raise RuntimeError(f"{incoming.person.external_id!r} was merged again and again; send the message again.")


LANE_OF_SCOPE = {
    Agent.LaneScope.PERSON: "lane.person_id = account.person_id AND lane.room_id IS NULL",
    Agent.LaneScope.PERSON_IN_ROOM: "lane.person_id = account.person_id AND lane.room_id = room.id",
    Agent.LaneScope.ROOM: "lane.person_id IS NULL AND lane.room_id = room.id",
}

STORE = """
WITH place AS (
    UPDATE agents_lane AS lane
    SET last_sequence = lane.last_sequence + 1,
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
    RETURNING lane.id, lane.last_sequence, lane.bucket_count, account.person_id, room.id AS room_id,
              clock_timestamp() AS received_at,
              %(bucket)s - extract(epoch FROM clock_timestamp() - lane.bucket_started_at)::float AS bucket_left
), taken AS (
    SELECT * FROM place WHERE bucket_count <= %(limit)s
), said AS (
    INSERT INTO agents_message (id, agent_id, connection_id, room_id, person_id, direction, text, attachments,
                                external_id, reply_to_external_id, is_addressed, is_verified, platform_data,
                                said_at, received_at)
    SELECT %(message)s, %(agent)s, %(connection)s, room_id, person_id, 'in', %(text)s, %(attachments)s::jsonb,
           %(external_id)s, %(reply_to)s, %(is_addressed)s, %(is_verified)s, %(platform_data)s::jsonb,
           %(said_at)s, received_at
    FROM taken
), turn AS (
    INSERT INTO agents_turn (id, lane_id, sequence, agent_id, room_id, person_id, connection_id, message_id,
                             cause_kind, cause_id, state, outcome, error_count, crash_count, lease_token,
                             evaluation, evaluation_token, evaluation_attempts, error, received_at)
    SELECT %(turn)s, id, last_sequence, %(agent)s, room_id, person_id, %(connection)s, %(message)s,
           'message', %(message)s, 'waiting', '', 0, 0, 0, 'none', 0, 0, '', received_at
    FROM taken
)
SELECT id, room_id, person_id, bucket_count, bucket_left FROM place
"""
"""Finds everyone who is known, locks the lane, takes the next number in it, and puts message and turn there. No
row: somebody is new. The lock is held to the end, so that a lane is never released between a message's number
and its turn. Beyond the limit only the bucket counts.
"""


def _take(incoming: Incoming, facts: ConnectionFacts, *, is_limited: bool) -> Receipt | None:
    """Store the message, and let it end what it is to end; None where its person, room or lane isn't known yet."""
    is_stop = controls.is_stop(incoming, hears_words=facts.hears_stop)
    is_limited = is_limited and not is_stop
    if not is_stop and facts.double_texting != Agent.DoubleTexting.INTERRUPT:
        return _store(incoming, facts, is_limited=is_limited)
    with transaction.atomic():
        receipt = _store(incoming, facts, is_limited=is_limited)
        if receipt is None:
            return None
        assert receipt.turn_id is not None, "a message that was just stored has its turn"
        assert receipt.lane_id is not None, "and its lane"
        is_obeyed = is_stop and turns.obey_stop(
            receipt.turn_id,
            lane_id=receipt.lane_id,
            person_id=receipt.person_id,
            is_control=bool(incoming.control),
        )
        if facts.double_texting == Agent.DoubleTexting.INTERRUPT and not is_obeyed:
            turns.request_interrupt(receipt.turn_id)
    return replace(receipt, is_obeyed=is_obeyed)


def _store(incoming: Incoming, facts: ConnectionFacts, *, is_limited: bool) -> Receipt | None:
    message_id, turn_id = uuid7(), uuid7()
    limit = settings.PERSON_MESSAGES_PER_MINUTE if is_limited else UNLIMITED
    row = _execute_alone(
        STORE.format(lane_of_scope=LANE_OF_SCOPE[Agent.LaneScope(facts.lane_scope)]),
        {
            "platform": facts.platform,
            "person": incoming.person.external_id,
            "room": incoming.room.external_id,
            "agent": facts.agent_id,
            "connection": facts.id,
            "bucket": BUCKET_SECONDS,
            "limit": limit,
            "message": message_id,
            "turn": turn_id,
            "text": incoming.text,
            "attachments": json.dumps([vars(attachment) for attachment in incoming.attachments]),
            "external_id": incoming.external_id,
            "reply_to": incoming.reply_to_external_id,
            "is_addressed": incoming.is_addressed,
            "is_verified": incoming.is_verified,
            "platform_data": json.dumps(incoming.platform_data),
            "said_at": incoming.said_at,
        },
    )
    if row is None:
        return None
    lane_id, room_id, person_id, bucket_count, bucket_left = row
    if bucket_count > limit:
        seconds = max(1.0, bucket_left)
        raise TooMany(
            f"That was more than {limit} messages in a minute. Please wait {seconds:.0f} seconds.",
            retry_after_seconds=seconds,
        )
    wake_after_commit("agents.drain_lane", lane_id=str(lane_id))
    return Receipt(
        message_id=message_id,
        turn_id=turn_id,
        lane_id=lane_id,
        room_id=room_id,
        person_id=person_id,
        is_new=True,
    )


def _execute_alone(statement: str, parameters: dict[str, Any]) -> tuple[Any, ...] | None:
    """Execute the statement as a transaction of its own, or within the caller's where there is one.

    Raises: _SecondCopy, with the statement undone.
    """
    # A statement outside of a transaction is one: BEGIN and COMMIT would be two more ways to the server.
    within = transaction.atomic() if connection.in_atomic_block else contextlib.nullcontext()
    try:
        with within, connection.cursor() as cursor:
            cursor.execute(statement, parameters)
            row: tuple[Any, ...] | None = cursor.fetchone()
            return row
    except IntegrityError as error:
        if "one_message_a_network_id" not in str(error):
            raise
        raise _SecondCopy from error


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
    text = clean_words(incoming.text)
    if not text.strip() and not incoming.attachments and not incoming.control:
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
            name=clean_words(person.name)[:200],
            username=clean_text(person.username)[:200],
        ),
        room=replace(
            room,
            external_id=_identifier(room.external_id, "room"),
            name=clean_words(room.name)[:200],
            world_external_id=clean_text(room.world_external_id)[:MAX_EXTERNAL_ID_CHARACTERS],
            world_name=clean_words(room.world_name)[:200],
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
