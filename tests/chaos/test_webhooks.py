"""Messages come doubled, at once, in the wrong order and again after a crash: each is stored and answered once."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import pytest

from agents.crashpoints import Fault
from tests.chaos.errands import NOTE
from tests.chaos.harness import Fleet, Spoken
from tests.chaos.site import TAKEN, Client, Posted, Site

pytestmark = pytest.mark.fleet

COPIES = 20
ROWS = """
SELECT message.external_id, turn.id, turn.sequence
FROM agents_message AS message LEFT JOIN agents_turn AS turn ON turn.message_id = message.id
WHERE message.direction = 'in' AND message.external_id = ANY(%s)
ORDER BY turn.sequence
"""


def post_all(client: Client, messages: Sequence[Spoken], *, at_once: int = COPIES) -> list[Posted]:
    """Post so many at once."""
    with ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(client.post, messages))


def in_order_of_lane(fleet: Fleet, messages: Sequence[Spoken]) -> list[Spoken]:
    """Return the messages as they were stored, with one row and one turn each."""
    by_id = {message.said.external_id: message for message in messages}
    rows = fleet.sql(ROWS, list(by_id))
    assert Counter(row[0] for row in rows) == Counter(by_id.keys())
    assert None not in {row[1] for row in rows}
    return [by_id[row[0]] for row in rows]


def assert_clean(fleet: Fleet, messages: Sequence[Spoken]) -> None:
    """Each was stored, answered and shown once, in the order in which they came."""
    fleet.wait_until_over(messages)
    stored = in_order_of_lane(fleet, messages)
    verdict = fleet.verdict(stored)
    assert verdict.is_clean, verdict
    assert verdict.answered == len(messages)
    assert fleet.asked(stored) == [1] * len(messages)


def test_the_same_message_twenty_times_at_once_is_one(fleet: Fleet, site: Site) -> None:
    client = site.new_client()
    before = [client.next_message() for _time in range(3)]
    for earlier in before:  # the site finds out which of its sessions an earlier test has cut
        post_all(client, [earlier] * COPIES)
    fleet.wait_until_over(before)
    message = client.next_message(NOTE)
    posted = post_all(client, [message] * COPIES)
    assert [one.status for one in posted] == [TAKEN] * COPIES
    assert sum(one.is_new for one in posted) == 1
    assert_clean(fleet, [message])
    assert fleet.noted([message]) == [1]


def test_batches_in_the_wrong_order_and_again_are_answered_in_the_order_in_which_they_came(
    fleet: Fleet, site: Site
) -> None:
    client, chance = site.new_client(), random.Random(1)
    messages = [client.next_message() for _message in range(12)]
    batch = messages * 3
    chance.shuffle(batch)
    posted = post_all(client, batch, at_once=6)
    assert {one.status for one in posted} == {TAKEN}
    assert sum(one.is_new for one in posted) == len(messages)
    again = post_all(client, messages[::-1])
    assert not any(one.is_new for one in again)
    assert_clean(fleet, messages)


def test_what_is_sent_again_after_the_web_process_died_adds_nothing(fleet: Fleet, site: Site) -> None:
    client = site.new_client()
    messages = [client.next_message() for _message in range(8)]
    assert all(client.post(message).is_new for message in messages[:4])
    # It dies when the next one is stored, and its sender is told nothing.
    fleet.plan(Fault(point="inbox.after_commit"))
    assert client.post(messages[4]).status == 0
    fleet.wait(lambda: not site.is_running(), "a web process that died")
    assert fleet.happened() == 1
    fleet.plan()
    site.start()
    posted = post_all(client, messages, at_once=4)
    assert {one.status for one in posted} == {TAKEN}
    assert [one.is_new for one in posted] == [False] * 5 + [True] * 3
    assert_clean(fleet, messages)
