"""What was heard and not yet reflected on: counted once, whoever keeps messages at the same time."""

from __future__ import annotations

import threading
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from memory import conversations
from memory.conversations import Episode, claim_look, end_look, find_due_looks, hear, postpone_look
from memory.memories import remember
from memory.models import Conversation, Memory

PAST = "2020-01-01T00:00:00Z"


def say(scene: Any, text: str = "hello", **changes: Any) -> UUID:
    """Keep a message of Ann's and a reply to it."""
    message = uuid4()
    drafts = [
        scene.draft(text, source_key=f"message:{message}", source_messages=(message,), **changes),
        scene.draft("I see.", source_key=f"message:{uuid4()}", **changes),
    ]
    assert hear(drafts, from_people=[message]) == 2
    return message


def claim(**changes: Any) -> Any:
    Conversation.objects.update(**changes)
    return claim_look(Conversation.objects.get().pk, lease_seconds=30.0)


def test_messages_of_people_are_noted_in_their_order_in_the_statement_that_keeps_them(scene: Any) -> None:
    with CaptureQueriesContext(connection) as queries:
        first = say(scene)
    assert len(queries) == 1
    second = say(scene)
    conversation = Conversation.objects.get()
    assert (conversation.unseen, conversation.last_message) == ([first, second], second)
    assert Memory.objects.count() == 4


def test_a_message_that_was_kept_before_is_not_noted_again(scene: Any) -> None:
    message = uuid4()
    draft = scene.draft(source_key=f"message:{message}")
    assert hear([draft], from_people=[message]) == 1
    assert hear([draft], from_people=[message]) == 0
    assert Conversation.objects.get().unseen == [message]


def test_what_nobody_said_is_kept_and_not_noted(scene: Any) -> None:
    assert hear([], from_people=[uuid4()]) == 0
    assert hear([scene.draft()], from_people=[]) == 1
    assert hear([scene.draft(source_key="message:of-nobody")], from_people=[uuid4()]) == 1
    assert not Conversation.objects.exists()


def test_each_agent_and_room_has_a_conversation_of_its_own(scene: Any) -> None:
    other = scene.make_agent()
    for changes in ({}, {"room_id": scene.dm_of_ann.id}, {"agent_id": other.id}):
        say(scene, **changes)
    assert [len(one.unseen) for one in Conversation.objects.all()] == [1, 1, 1]


def test_a_look_is_due_after_enough_messages_or_a_pause(scene: Any, settings: Any) -> None:
    settings.REFLECT_AFTER_MESSAGES = 3
    messages = [say(scene) for _message in range(2)]
    assert claim() is None
    messages.append(say(scene))
    messages.append(say(scene))
    look = claim()
    assert (look.messages, look.number, look.attempt, look.is_paused) == (tuple(messages[:3]), 0, 1, False)
    assert claim() is None, "it is in somebody's hands"
    assert end_look(look, taken=3, episode=Episode(first=messages[0])) is False
    assert claim() is None, "one message is left, and it is not quiet yet"
    look = claim(heard_at=PAST, look_at=PAST)
    assert (look.messages, look.is_paused) == ((messages[3],), True)
    assert end_look(look, taken=1, episode=Episode()) is False
    assert Conversation.objects.get().look_at is None


def test_a_pause_is_noticed_when_all_was_looked_at_but_an_episode_goes_on(scene: Any, settings: Any) -> None:
    settings.REFLECT_AFTER_MESSAGES = 1
    message = say(scene)
    assert end_look(claim(), taken=1, episode=Episode(first=message, count=1, summary="It began.")) is False
    look = claim(heard_at=PAST, look_at=PAST)
    assert (look.messages, look.last_message, look.is_paused) == ((), message, True)
    assert (look.episode.first, look.episode.count, look.episode.summary) == (message, 1, "It began.")


def test_many_messages_at_once_are_looked_at_one_portion_after_the_other(scene: Any, settings: Any) -> None:
    settings.REFLECT_AFTER_MESSAGES = 100
    messages = [say(scene) for _message in range(7)]
    settings.REFLECT_AFTER_MESSAGES = 3
    seen = []
    look = claim(heard_at=PAST, look_at=PAST)
    while look is not None:
        seen.append((len(look.messages), look.is_paused))
        is_due = end_look(look, taken=len(look.messages), episode=Episode())
        look = claim()
        assert is_due is (look is not None)
    assert seen == [(3, False), (3, False), (1, True)]
    assert Conversation.objects.get().look_count == 3
    assert messages


def test_a_look_that_is_begun_again_has_the_same_messages(scene: Any, settings: Any) -> None:
    settings.REFLECT_AFTER_MESSAGES = 2
    first = [say(scene) for _message in range(2)]
    look = claim()
    say(scene)
    again = claim(lease_until=PAST, look_at=PAST)
    assert again.messages == look.messages == tuple(first)
    assert (again.token, again.attempt) == (look.token + 1, 2)
    assert end_look(look, taken=2, episode=Episode()) is None, "the first holder has lost it"
    assert end_look(again, taken=2, episode=Episode()) is False


def test_a_look_that_is_begun_again_keeps_fewer_than_may_be_had(scene: Any, settings: Any) -> None:
    settings.REFLECT_AFTER_MESSAGES = 3
    first = say(scene)
    look = claim(heard_at=PAST, look_at=PAST)
    assert look.messages == (first,)
    say(scene)
    assert claim(lease_until=PAST, look_at=PAST).messages == (first,)


def test_what_is_put_off_waits_whatever_comes(scene: Any, settings: Any) -> None:
    settings.REFLECT_AFTER_MESSAGES = 1
    say(scene)
    postpone_look(claim(), delay_seconds=900.0, error="away", is_counted=False)
    put_off = Conversation.objects.get()
    assert (put_off.attempts, put_off.error, put_off.in_hand) == (0, "away", 1)
    say(scene)
    assert claim() is None
    assert Conversation.objects.get().look_at == put_off.look_at


def test_due_looks_are_found_once_they_were_left_a_moment(scene: Any, settings: Any) -> None:
    settings.REFLECT_AFTER_MESSAGES = 1
    say(scene)
    assert find_due_looks(10) == [], "who kept the message has told of it"
    Conversation.objects.update(look_at=PAST)
    assert find_due_looks(10) == [Conversation.objects.get().pk]
    claim()
    assert find_due_looks(10) == []
    settings.REFLECT_AFTER_MESSAGES = 0
    Conversation.objects.update(lease_until=None)
    assert find_due_looks(10) == []


def test_no_more_than_so_many_messages_wait(scene: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(conversations, "MAX_UNSEEN", 3)
    messages = [say(scene) for _message in range(5)]
    assert Conversation.objects.get().unseen == messages[:3]
    assert Memory.objects.count() == 10, "they are kept all the same"


@pytest.mark.django_db(transaction=True)
def test_messages_that_are_kept_at_the_same_time_are_all_counted(scene: Any) -> None:
    def speak() -> None:
        try:
            for _message in range(10):
                say(scene)
        finally:
            connection.close()

    threads = [threading.Thread(target=speak) for _speaker in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(set(Conversation.objects.get().unseen)) == 60


def test_a_room_that_is_deleted_takes_its_conversation_along(scene: Any) -> None:
    say(scene)
    scene.group.delete()
    assert not Conversation.objects.exists()


def test_keeping_messages_plainly_still_works(scene: Any) -> None:
    assert remember([scene.draft(id=(id := uuid4()))]) == 1
    assert Memory.objects.get().pk == id
