"""Server-sent events, against real Valkey and real PostgreSQL."""

from __future__ import annotations

import asyncio
import threading
import time
from unicodedata import normalize

import pytest
from django.db import connection
from django.utils import timezone

from agents import streams
from agents.models import Room, Turn
from agents.streams import StreamEvent
from transports.web import events as events_module

pytestmark = pytest.mark.django_db(transaction=True)


def names(events):
    return [name for name, _data, _id in events]


def test_a_messages_events_end_after_done(agent, program, stream_of, reply_to, read_events):
    other = program.say("Another question")
    taken = program.say("Hello")
    stream_of(other).put(StreamEvent.TOKEN, {"text": "not this"})
    stream = stream_of(taken)
    stream.put(StreamEvent.TOKEN, {"text": "Good "})
    stream.put(StreamEvent.ACTION, {"name": "WAVE", "success": True, "text": ""})
    (said,) = reply_to(taken["turn"], "Good day.")
    events = read_events(program.client.get(taken["events"]))
    assert names(events) == ["message", "token", "action", "reply", "done"]
    assert events[1][1]["text"] == "Good "
    assert events[1][1]["lease_token"] == 1
    reply = events[3][1]
    assert (reply["id"], reply["text"]) == (str(said.pk), "Good day.")
    assert reply["in_reply_to"] == taken["message"]


def test_events_come_while_the_turn_is_worked(agent, program, stream_of, reply_to, read_events):
    taken = program.say("Hello")

    def work() -> None:
        time.sleep(0.3)
        stream_of(taken).put(StreamEvent.TOKEN, {"text": "late"})
        streams.put_event(Room.objects.get().pk, StreamEvent.DONE, {}, turn_id=Turn.objects.get().pk)
        time.sleep(0.2)
        reply_to(taken["turn"], "A late reply", is_delivered=False)
        connection.close()

    worker = threading.Thread(target=work)
    worker.start()
    started = time.monotonic()
    events = read_events(program.client.get(taken["events"]))
    worker.join()
    assert names(events) == ["message", "token", "reply", "done"]
    assert time.monotonic() - started < 2


def test_a_reader_that_comes_back_misses_nothing(agent, program, stream_of, reply_to, read_events):
    taken = program.say("Hello")
    stream = stream_of(taken)
    for word in ("one ", "two ", "three "):
        stream.put(StreamEvent.TOKEN, {"text": word})
    first = read_events(program.client.get(taken["events"]), enough=2)
    assert first[-1][1]["text"] == "one "
    reply_to(taken["turn"], "one two three")
    rest = read_events(program.client.get(taken["events"], headers={"Last-Event-ID": first[-1][2]}))
    assert [data.get("text") for _name, data, _id in rest][:3] == ["two ", "three ", "one two three"]
    asked = program.client.get(f"{taken['events']}&last_event_id={first[-1][2]}")
    assert names(read_events(asked)) == names(rest)


def test_tokens_of_an_older_lease_are_dropped(agent, program, stream_of, reply_to, read_events):
    taken = program.say("Hello")
    old, new = stream_of(taken, lease_token=3), stream_of(taken, lease_token=4)
    old.put(StreamEvent.TOKEN, {"text": "old"})
    new.put(StreamEvent.RESET, {})
    old.put(StreamEvent.TOKEN, {"text": "stale"})
    new.put(StreamEvent.TOKEN, {"text": "new"})
    reply_to(taken["turn"], "new")
    events = read_events(program.client.get(taken["events"]))
    assert names(events) == ["message", "token", "reset", "token", "reply", "done"]
    assert [data["text"] for name, data, _id in events if name == "token"] == ["old", "new"]


def test_a_reader_that_comes_back_after_a_reset_is_shown_no_stale_words(
    agent, program, stream_of, reply_to, read_events
):
    taken = program.say("Hello")
    old, new = stream_of(taken, lease_token=3), stream_of(taken, lease_token=4)
    old.put(StreamEvent.TOKEN, {"text": "old"})
    new.put(StreamEvent.RESET, {})
    seen = read_events(program.client.get(taken["events"]), enough=3)
    assert names(seen) == ["message", "token", "reset"]
    old.put(StreamEvent.TOKEN, {"text": "stale"})
    old.put(StreamEvent.ACTION, {"name": "WAVE", "success": True, "text": ""})
    new.put(StreamEvent.TOKEN, {"text": "new"})
    reply_to(taken["turn"], "new")
    rest = read_events(program.client.get(taken["events"], headers={"Last-Event-ID": seen[-1][2]}))
    assert names(rest) == ["token", "reply", "done"]
    assert (rest[0][1]["text"], rest[0][1]["lease_token"]) == ("new", 4)


@pytest.mark.parametrize("event", [StreamEvent.ERROR, StreamEvent.DONE])
def test_a_stale_worker_neither_fails_nor_ends_the_answer(
    agent, program, stream_of, reply_to, read_events, event
):
    taken = program.say("Hello")
    old, new = stream_of(taken, lease_token=3), stream_of(taken, lease_token=4)
    new.put(StreamEvent.TOKEN, {"text": "new"})
    old.put(event, {"detail": "No answer could be made."})
    new.put(StreamEvent.ERROR, {"detail": "a real one"})
    reply_to(taken["turn"], "sorry")
    events = read_events(program.client.get(taken["events"]))
    assert names(events) == ["message", "token", "error", "reply", "done"]
    assert (events[2][1]["detail"], events[2][1]["lease_token"]) == ("a real one", 4)


def test_two_turns_of_a_room_have_leases_of_their_own(agent, program, stream_of, reply_to, read_events):
    first, second = program.say("One"), program.say("Two")
    stream_of(first, lease_token=9).put(StreamEvent.TOKEN, {"text": "late"})
    stream_of(second, lease_token=2).put(StreamEvent.TOKEN, {"text": "early"})
    history = program.client.get(f"/api/v1/rooms/{first['room']}/events?last_event_id=0-0")
    tokens = [data["text"] for name, data, _id in read_events(history, enough=4) if name == "token"]
    assert tokens == ["late", "early"]


def test_each_part_of_an_answer_comes_before_done(agent, program, reply_to, read_events):
    taken = program.say("Hello")
    reply_to(taken["turn"], "First.", "Second.")
    events = read_events(program.client.get(taken["events"]))
    assert [data["text"] for name, data, _id in events if name == "reply"] == ["First.", "Second."]
    assert names(events)[-1] == "done"


def test_a_silent_turn_is_done_too(agent, program, read_events):
    taken = program.say("Hello")
    Turn.objects.update(state="done", outcome="silent", ended_at=timezone.now())
    assert names(read_events(program.client.get(taken["events"]))) == ["message", "done"]


def test_a_lost_stream_still_brings_the_reply(agent, program, reply_to, read_events):
    taken = program.say("Hello")
    streams.forget_room(Room.objects.get().pk)
    reply_to(taken["turn"], "From the database", is_delivered=False)
    events = read_events(program.client.get(taken["events"]))
    assert names(events) == ["reply", "done"]


def test_without_valkey_the_reply_comes_from_the_database(agent, program, reply_to, read_events, settings):
    taken = program.say("Hello")
    settings.REDIS_URL = "redis://127.0.0.1:1/0"

    def work() -> None:
        reply_to(taken["turn"], "All the same", is_delivered=False)
        connection.close()

    worker = threading.Timer(0.5, work)
    worker.start()
    events = read_events(program.client.get(taken["events"]))
    worker.join()
    assert names(events) == ["reply", "done"]
    room = program.client.get(f"/api/v1/rooms/{taken['room']}/events")
    assert names(read_events(room, enough=2)) == ["message", "reply"]


def test_a_second_page_sees_the_message_and_the_reply(agent, program, reply_to, read_events):
    room = program.say("Hello")["room"]
    history = program.client.get(f"/api/v1/rooms/{room}/messages").json()
    taken = program.say("From the first page", id="tab1")
    reply_to(taken["turn"], "To both")
    events = read_events(program.client.get(history["events"]), enough=4)
    assert names(events) == ["message", "message", "reply", "done"]
    assert (events[1][1]["text"], events[1][1]["client_id"]) == ("From the first page", "tab1")


def test_a_message_is_told_as_it_is_kept(agent, program, reply_to, read_events):
    taken = program.say(normalize("NFD", "Olé"))
    reply_to(taken["turn"], "Good day.")
    assert read_events(program.client.get(taken["events"]), enough=1)[0][1]["text"] == "Olé"


def test_a_reader_of_a_quiet_room_gets_heartbeats(agent, program, monkeypatch):
    monkeypatch.setattr(events_module, "HEARTBEAT_SECONDS", 0.1)
    monkeypatch.setattr(events_module, "LOOK_AFTER_SILENCE_SECONDS", 0.2)
    room = program.post("/api/v1/rooms", {"agent": "mira"}).json()["id"]
    stream = program.client.get(f"/api/v1/rooms/{room}/events").streaming_content

    async def read() -> list[bytes]:
        try:
            return [await anext(stream), await anext(stream)]
        finally:
            await stream.aclose()

    assert asyncio.run(read()) == [b"retry: 1000\n\n", b": still here\n\n"]


def test_a_wrong_last_event_id_is_refused_in_words(agent, program):
    taken = program.say("Hello")
    response = program.client.get(taken["events"], headers={"Last-Event-ID": "yesterday"})
    assert response.status_code == 422
    assert "Last-Event-ID" in response.json()["detail"]


def test_a_message_of_another_room_has_no_events_here(agent, program):
    taken = program.say("Hello")
    other = program.post("/api/v1/rooms", {"agent": "mira"}).json()["id"]
    response = program.client.get(f"/api/v1/rooms/{other}/events?message={taken['message']}")
    assert response.status_code == 404


def test_a_deleted_room_tells_its_readers(agent, program, read_events):
    room = program.say("Hello")["room"]
    reading = program.client.get(f"/api/v1/rooms/{room}/events")
    program.client.delete(f"/api/v1/rooms/{room}")
    ((name, data, _id),) = read_events(reading, enough=1)
    assert (name, data["is_gone"]) == ("error", True)


def test_a_messages_events_end_where_its_turn_waits_for_a_person(
    agent, program, stream_of, reply_to, read_events
):
    taken = program.say("Pay ten")
    stream = stream_of(taken)
    stream.put(StreamEvent.ACTION, {"name": "PAY", "success": False, "is_waiting": True, "text": "waits"})
    stream.put(StreamEvent.DONE, {"state": "parked"})
    Turn.objects.update(state=Turn.State.PARKED)
    events = read_events(program.client.get(taken["events"]))
    assert names(events) == ["message", "action", "done"]
    assert events[1][1]["is_waiting"] is True
    assert events[2][1]["state"] == "parked"

    reply_to(taken["turn"], "It is paid.")
    again = read_events(program.client.get(taken["events"]))
    assert names(again) == ["message", "action", "reply", "done"]
    assert again[-1][1]["state"] == "done"
