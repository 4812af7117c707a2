"""`show_turn`: all that is known of a turn, by any of its ids."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from agents import work
from agents.envelopes import Receipt
from agents.inbox import receive
from agents.models import Message, Turn
from agents.reports.turns import TurnNotFound, find_turn, report_recalled, report_turn
from memory.models import Memory
from memory.writes import embed_pending
from transports.delivery import deliver_room
from transports.models import Connection


@pytest.fixture
def worked(incoming: Any, model: Any, connection: Connection) -> Receipt:
    """Two turns of one person, worked and delivered; the second recalls the first."""
    for text in ("I keep bees in the garden.", "Which animals do I keep in the garden?"):
        receipt = receive(incoming(text))
        work.drain_lane(receipt.lane_id)
        deliver_room(connection.pk, receipt.room_id)
        embed_pending()
    return receipt


def show(*arguments: str) -> str:
    out = io.StringIO()
    call_command("show_turn", *arguments, stdout=out)
    return out.getvalue()


def test_a_turn_is_found_by_its_own_id_its_messages_and_its_replys(worked: Receipt) -> None:
    reply = Message.objects.get(turn=worked.turn_id)
    for name in (str(worked.turn_id), str(worked.message_id), str(reply.pk), worked.turn_id.hex.upper()):
        assert find_turn(name).pk == worked.turn_id


def test_the_beginning_of_an_id_will_do_where_it_is_one_turns(worked: Receipt) -> None:
    first = Turn.objects.exclude(pk=worked.turn_id).get()
    digits = str(worked.turn_id)
    shared = next(place for place in range(36) if digits[place] != str(first.pk)[place])
    assert find_turn(digits[:34]).pk == worked.turn_id
    if shared < 8:  # one of them came a moment after the digits had changed
        return
    with pytest.raises(TurnNotFound) as several:
        find_turn(digits[:shared])
    head, *lines = str(several.value).splitlines()
    assert head == f"More than one turn has an id that begins with {digits[:shared]}: give more of it."
    assert [line.partition("  ")[0] for line in lines] == [str(first.pk), digits]
    assert lines[0].endswith(f"{first.received_at:%Y-%m-%d %H:%M:%S}  I keep bees in the garden.")


@pytest.mark.parametrize("name", ["", "abc", "no-such-id", "12345678123456781234567812345678aa"])
def test_what_is_no_id_is_told_of(db: None, name: str) -> None:
    with pytest.raises(CommandError, match="is no id: give a turn's"):
        show(name)


def test_an_id_that_nothing_has_is_told_of(db: None) -> None:
    with pytest.raises(CommandError, match="No turn, message or reply has the id"):
        show("12345678-1234-5678-1234-567812345678")


def test_the_page_names_every_part(worked: Receipt) -> None:
    page = show(str(worked.turn_id))
    assert f"Turn: {worked.turn_id}: done, replied, attempt 1" in page
    assert "Text: Which animals do I keep in the garden?" in page
    for words in ("Steps", "generate", "Model calls", "Deliveries", "sent", "Hello to you too."):
        assert words in page
    assert "You are" not in page
    assert "Prompts are folded: --full shows them." in page


def test_full_shows_the_prompts(worked: Receipt) -> None:
    page = show(str(worked.turn_id), "--full")
    assert "Prompt of answer, system: " in page
    assert "folded" not in page


def test_json_has_the_same(worked: Receipt) -> None:
    report = json.loads(show(str(worked.turn_id), "--json"))
    assert report["turn"] == str(worked.turn_id)
    assert (report["state"], report["outcome"], report["attempts"]) == ("done", "replied", 1)
    assert report["message"]["text"] == "Which animals do I keep in the garden?"
    assert [step["name"] for step in report["steps"]][-1] == "reply"
    (call,) = report["model_calls"]
    assert call["answer"] == "Hello to you too."
    assert call["prompt"][0]["role"] == "system"
    assert report["deliveries"][0]["state"] == "sent"


def test_recalled_memories_come_with_their_texts(worked: Receipt) -> None:
    turn = find_turn(str(worked.turn_id))
    report = report_turn(turn)
    recalled = next(step for step in report["steps"] if step["name"] == "recall")
    assert [hit["id"] for hit in report["memories"]] == [hit["id"] for hit in recalled["output"]["memories"]]
    assert all(hit["text"] for hit in report["memories"])


def test_recalled_memories_come_with_their_scores_speakers_and_messages(
    worked: Receipt, django_assert_num_queries: Any
) -> None:
    turn = find_turn(str(worked.turn_id))
    said = Message.objects.exclude(pk=worked.message_id).filter(direction="in").get()
    kept = Memory.objects.get(source_messages=[str(said.pk)])
    hit = {"id": str(kept.pk), "score": 2.5, "scores": {"vector": 1.5, "speaker": 1.0}}
    turn.steps.filter(name="recall").update(output={"memories": [hit]})

    (told,) = report_turn(turn)["memories"]
    page = show(str(worked.turn_id))

    assert (told["score"], told["scores"]) == (2.5, {"vector": 1.5, "speaker": 1.0})
    assert (told["kind"], told["scope"], told["speaker"]) == ("message", "person", "Ann")
    (source,) = told["source_messages"]
    assert (source["id"], source["speaker"]) == (str(said.pk), "Ann")
    assert source["turn"] == str(Turn.objects.exclude(pk=turn.pk).get().pk)
    assert str(kept.pk) in page
    assert f"message {said.pk} (Ann, " in page
    turn.steps.filter(name="recall").update(output={"memories": [hit] * 6})
    with django_assert_num_queries(3):
        assert len(report_recalled(turn.steps.filter(name="recall"))) == 6


def test_a_forgotten_memory_is_told_as_such(worked: Receipt) -> None:
    turn = find_turn(str(worked.turn_id))
    gone = "01a207be-0000-7000-8000-000000000000"
    turn.steps.filter(name="recall").update(
        output={"memories": [{"id": gone, "score": 0.5, "scores": {"vector": 0.5}}]}
    )
    assert report_turn(turn)["memories"][0]["text"] is None
    assert "(forgotten since)" in show(str(worked.turn_id))


def test_a_turn_that_waits_is_shown_too(incoming: Any) -> None:
    receipt = receive(incoming("hello [bold]there[/bold]"))
    page = show(str(receipt.message_id))
    assert "waiting, attempt 0" in page
    assert "hello [bold]there[/bold]" in page
