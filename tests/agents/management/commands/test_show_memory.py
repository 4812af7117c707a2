"""`show_memory`: where a memory came from, what took its place, and who had it in mind; as tables and as JSON."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from agents import work
from agents.inbox import receive
from agents.models import Agent, Message, Person, Room, Turn
from agents.reports.memories import report_memory
from memory.facts import NewFact, Place, learn_facts
from memory.memories import MemoryDraft, remember
from memory.models import Chunk, Document, Memory
from memory.provenance import find_memory
from memory.writes import embed_pending


@pytest.fixture
def worked(incoming: Any, model: Any, agent: Agent) -> Agent:
    """Two turns of one person; the second recalls the first one's message, which its room's window has lost."""
    receipt = receive(incoming("I keep bees in the garden."))
    work.drain_lane(receipt.lane_id)
    embed_pending()
    # What stands in the prompt anyway is not recalled: the words are as if from before the window.
    Message.objects.filter(pk=receipt.message_id).update(
        room=Room.objects.create(platform="x", external_id="x")
    )
    receipt = receive(incoming("Which animals do I keep in the garden?"))
    work.drain_lane(receipt.lane_id)
    return agent


def memory_of(text: str) -> Memory:
    return Memory.objects.get(text=text)


def show(*arguments: str) -> str:
    out = io.StringIO()
    call_command("show_memory", *arguments, stdout=out)
    return out.getvalue()


def learn(agent: Agent, value: str) -> Memory:
    message = Message.objects.filter(direction="in").latest("pk")
    fact = NewFact(
        text=f"Ann lives in {value}.",
        said_at=timezone.now(),
        subject_id=message.person_id,
        attribute="lives_in",
        value=value,
        confidence=0.8,
        sources=[message.pk],
    )
    place = Place(agent_id=agent.pk, scope="person", person_id=message.person_id, room_id=message.room_id)
    learn_facts(place, [fact])
    return memory_of(fact.text)


def test_a_memory_stands_with_its_message_the_turn_that_made_it_and_the_turn_that_recalled_it(
    worked: Agent,
) -> None:
    memory = memory_of("I keep bees in the garden.")
    first, second = Turn.objects.order_by("pk")

    report = json.loads(show(str(memory.pk), "--json"))

    assert (report["memory"], report["agent"]) == (str(memory.pk), worked.slug)
    assert (report["kind"], report["scope"], report["speaker"]) == ("message", "person", "Ann")
    (source,) = report["source_messages"]
    assert source["id"] == str(first.message_id)
    assert (source["speaker"], source["text"]) == ("Ann", memory.text)
    assert report["turn"] == source["turn"] == str(first.pk)
    assert [row["turn"] for row in report["prompted"]] == [str(second.pk)]
    assert [version["place"] for version in report["history"]] == [0]


def test_the_page_says_the_same(worked: Agent) -> None:
    memory = memory_of("I keep bees in the garden.")
    first, second = Turn.objects.order_by("pk")

    page = show(str(memory.pk)[:35])

    assert f"Memory: {memory.pk}: message, of the scope person" in page
    assert f"Made by turn: {first.pk}" in page
    for words in ("Came from", str(first.message_id), "Ann", "In mind lately", str(second.pk)):
        assert words in page
    assert "1 of the turns on the last 200 messages" in page
    assert "History" not in page


def test_the_history_of_a_fact_is_whole(worked: Agent) -> None:
    facts = [learn(worked, city) for city in ("Lyon", "Rome", "Oslo")]
    message = Message.objects.filter(direction="in").latest("pk")

    report = json.loads(show(str(facts[1].pk), "--json"))
    page = show(str(facts[1].pk))

    assert [version["id"] for version in report["history"]] == [str(fact.pk) for fact in facts]
    assert [version["ended_by_message"] for version in report["history"]] == [str(message.pk)] * 2 + [None]
    assert report["fact"]["attribute"] == "lives_in"
    assert report["turn"] is None
    assert "Fact: fact about Ann, lives_in Rome, sure to 0.80, said once" in page
    for words in ("History", "this memory", str(facts[0].pk), str(facts[2].pk), "Ann lives in Oslo."):
        assert words in page


def test_a_chunk_names_its_document(worked: Agent) -> None:
    remember(
        [
            MemoryDraft(
                agent_id=worked.pk, kind="document", scope="agent", text="Bees dance.", said_at=timezone.now()
            )
        ]
    )
    document = Document.objects.create(agent=worked, name="b.md", title="On bees", edition="e", chunk_count=1)
    memory = memory_of("Bees dance.")
    Chunk.objects.create(
        document=document, edition="e", position=0, memory=memory, headings=["Dances"], start=0, end=11
    )

    assert "Document: On bees, Dances\nAdded as: b.md\n" in show(str(memory.pk))
    assert json.loads(show(str(memory.pk), "--json"))["citation"]["document_id"] == str(document.pk)


def test_a_source_that_is_gone_is_told_as_such(worked: Agent) -> None:
    memory = memory_of("I keep bees in the garden.")
    gone = "0197f000-0000-7000-8000-00000000dead"
    Memory.objects.filter(pk=memory.pk).update(source_messages=[gone])

    report = json.loads(show(str(memory.pk), "--json"))

    assert report["source_messages"] == [
        {"id": gone, "speaker": None, "room": None, "said_at": None, "turn": None, "text": None}
    ]
    assert "deleted since" in show(str(memory.pk))


def test_the_words_of_others_are_shown_as_they_are(worked: Agent) -> None:
    memory = memory_of("I keep bees in the garden.")
    Memory.objects.filter(pk=memory.pk).update(text="[bold]bees[/bold]")
    Person.objects.update(name="[red]Ann[/red]")

    page = show(str(memory.pk), "--full")

    assert "Text: [bold]bees[/bold]" in page
    assert "Person: [red]Ann[/red]" in page


def test_what_is_no_id_or_nobodys_is_told_in_one_line(db: None) -> None:
    with pytest.raises(
        CommandError, match="'bees' is no id: give a memory's id, or at least 8 digits of its beginning"
    ):
        show("bees")
    with pytest.raises(CommandError, match="No memory has the id 12345678"):
        show("12345678-1234-5678-1234-567812345678")


def test_a_report_costs_no_more_statements_for_a_long_history_than_for_a_short_one(worked: Agent) -> None:
    def count(memory: Memory) -> int:
        found = find_memory(str(memory.pk))
        with CaptureQueriesContext(connection) as caught:
            report_memory(found)
        return len(caught)

    few = count(learn(worked, "Lyon"))
    many = count([learn(worked, f"City {number}") for number in range(12)][-1])

    assert few == many == 5
