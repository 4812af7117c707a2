"""`recall`: what an agent recalls, as a table and as JSON, in the place that is named."""

from __future__ import annotations

import io
import json
import sys
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command

from agents.inbox import receive
from agents.models import Account, Agent, Message, Participant, Person, Room
from agents.work import drain_lane
from memory.memories import MemoryDraft, remember
from memory.models import Memory
from memory.writes import embed_pending


@pytest.fixture
def talked(incoming: Any, model: Any, agent: Agent) -> Agent:
    """Ann told the agent something in private, and the agent knows one thing of its own."""
    for text in ("I keep bees behind the house.", "My sister sails."):
        drain_lane(receive(incoming(text)).lane_id)
    message = Message.objects.filter(direction="in")[0]
    remember(
        [
            MemoryDraft(
                agent_id=agent.pk,
                kind="document",
                scope="agent",
                text="Bees live in hives. " + "They work. " * 40,
                said_at=message.said_at,
            )
        ]
    )
    embed_pending()
    return agent


def show(*arguments: str, errors: io.StringIO | None = None) -> str:
    out = io.StringIO()
    call_command("recall", *arguments, stdout=out, stderr=errors or io.StringIO())
    return out.getvalue()


def hits(*arguments: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(show(*arguments, "--json"))["memories"]
    return found


def test_hits_stand_in_a_table_with_what_brought_them(talked: Agent) -> None:
    title, heading, first, *_ = show(talked.slug, "Where do I keep bees?", "--person", "Ann").splitlines()
    assert title == "Recalled"
    assert heading.split() == ["score", "because", "of", "when", "who", "kind", "memory", "text"]
    assert "I keep bees behind the house." in first
    assert f" {Memory.objects.get(text='I keep bees behind the house.').pk} " in first
    assert "vector +" in first
    assert "speaker +2.00" in first
    assert "Ann" in first


def test_at_a_terminal_a_hits_id_stands_below_its_text(
    talked: Agent, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys.stdout, "isatty", lambda: True, raising=False)
    monkeypatch.setenv("COLUMNS", "160")
    call_command("recall", talked.slug, "Where do I keep bees?", "--person", "Ann")
    cells = [line.rsplit("│", 2)[1].strip() for line in capsys.readouterr().out.splitlines() if "│" in line]
    place = cells.index("I keep bees behind the house.")
    assert cells[place + 1] == str(Memory.objects.get(text="I keep bees behind the house.").pk)


def test_long_texts_are_folded_unless_they_are_wanted_whole(talked: Agent) -> None:
    assert "…" in show(talked.slug, "hives")
    assert "…" not in show(talked.slug, "hives", "--full")


def test_a_person_stands_for_their_direct_chat_and_nobody_for_what_is_known_everywhere(talked: Agent) -> None:
    person = Person.objects.get(name="Ann")
    room = Room.objects.get(type="DM")
    everywhere = [hit["kind"] for hit in hits(talked.slug, "bees")]
    assert everywhere == ["document"]
    for place in (
        ("--person", "ann"),
        ("--person", str(person.pk)),
        ("--person", "telegram:ann"),
        ("--room", str(room.pk)),
        ("--room", f"telegram:{room.external_id}", "--person", "Ann"),
    ):
        found = [hit["text"] for hit in hits(talked.slug, "bees", *place)]
        assert "I keep bees behind the house." in found, place


def test_json_has_all_scores_and_the_place(talked: Agent) -> None:
    report = json.loads(show(talked.slug, "sister", "--person", "Ann", "--limit", "2", "--json"))
    assert report["agent"] == talked.slug
    assert report["room"] == str(Room.objects.get(type="DM").pk)
    assert len(report["memories"]) == 2
    first = report["memories"][0]
    assert first["text"] == "My sister sails."
    assert first["score"] == pytest.approx(sum(first["scores"].values()), abs=0.001)
    assert first["source_messages"] == [str(Message.objects.get(text="My sister sails.").pk)]


def test_an_embedder_that_is_away_is_told_of(talked: Agent, monkeypatch: pytest.MonkeyPatch) -> None:
    from memory.embeddings.base import EmbeddingError

    def away() -> Any:
        raise EmbeddingError("The embedder is away.")

    monkeypatch.setattr("agents.memories.recollections.get_embedder", away)
    errors = io.StringIO()
    assert "Bees live in hives." in show(talked.slug, "hive", errors=errors)
    assert errors.getvalue() == "Only words were compared: The embedder is away.\n"
    assert show(talked.slug, "zeppelin") == "Nothing comes to mind.\n"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("nobody", "x"), "No agent is named 'nobody'"),
        (
            ("{agent}", "x", "--person", "Zed"),
            "There is no person 'Zed': give an id, an account such as telegram:12345, or a name. There are: Cy, Bo.$",
        ),
        (("{agent}", "x", "--person", "bob"), "There is no person 'bob': .* There are: Bo and more.$"),
        (("{agent}", "x", "--person", "y"), "There is no person 'y': .* There are: Cy and more.$"),
        (("{agent}", "x", "--room", "attic"), "There is no room 'attic'"),
        (("{agent}", "x", "--person", "Bo"), "'Bo' is the name of several: give the id or account"),
        (("{agent}", "x", "--person", "Cy"), "Cy has no direct chat with Eliza: name a room with --room"),
        (("{agent}", " "), "Say what is to be recalled: the text is empty."),
        (("{agent}", "x", "--limit", "-1"), "'-1' is no whole number above 0"),
    ],
)
def test_a_place_that_is_not_there_is_named_with_its_cure(
    agent: Agent, arguments: tuple[str, ...], words: str
) -> None:
    for name in ("Bo", "Bo", "Cy"):
        Person.objects.create(name=name)
    with pytest.raises(CommandError, match=words):
        show(*(argument.format(agent=agent.slug) for argument in arguments))


def test_a_private_room_of_two_people_shows_nobodys_secrets(talked: Agent) -> None:
    room = Room.objects.get(type="DM")
    other = Person.objects.create(name="Other")
    Account.objects.create(person=other, platform="telegram", external_id=uuid4().hex)
    Participant.objects.create(room=room, person=other)
    assert [hit["kind"] for hit in hits(talked.slug, "bees", "--room", str(room.pk))] == ["document"]
