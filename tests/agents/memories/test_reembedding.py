"""Another embedder, as a person decides it: asked first, refused with a cure, compared, and written down."""

from __future__ import annotations

import json
from collections.abc import Iterator
from io import StringIO
from typing import Any
from uuid import uuid4

import pytest
from django.core.management import CommandError, call_command

from agents import work
from agents.fields import unseal
from agents.inbox import receive
from agents.memories.comparing import CannotCompare, compare
from agents.memories.reembedding import CannotReembed, finish, start, switch
from agents.models import AuditEntry, Step
from memory import ranking
from memory.embeddings import get_embedder
from memory.embeddings.spaces import choice_of, find_other_space, forget_known_spaces, used_space
from memory.models import Memory, VectorSpace
from memory.vector_spaces import changes
from memory.writes import embed_pending
from tests.doubles.openai_server import OpenAIServer
from tests.doubles.spaces import states, usual_indexes

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture(autouse=True)
def _usual_store(transactional_db: None, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(changes, "SETTLED_SECONDS", 0.0)
    forget_known_spaces()
    yield
    usual_indexes()


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer() as running:
        yield running


@pytest.fixture
def said(agent: Any, incoming: Any, model: Any) -> None:
    """Ann has spoken, and been answered."""
    for text in ("I have a garden.", "My cat is called Momo.", "What is my cat called?", "hi"):
        work.drain_lane(receive(incoming(text)).lane_id)
    embed_pending()


def fill() -> None:
    while embed_pending():
        pass


def run(*arguments: str) -> Any:
    """Run the command, and return what it reports as JSON."""
    out = StringIO()
    call_command("reembed_memories", *arguments, "--json", stdout=out)
    return json.loads(out.getvalue())


def test_the_whole_life_with_a_word_in_the_audit_for_each_step(said: None) -> None:
    assert start("hashed", dimensions=64, by="ops", why="Better.") == "hashed-64"
    assert start("hashed", dimensions=64, by="ops") == "hashed-64", "it is under way: nothing changes"
    fill()
    assert switch(by="ops") == "hashed-64"
    assert switch(back=True, by="ops") == "hashed-384"
    assert switch(by="ops", why="Sure.") == "hashed-64"
    name, pages = finish(by="ops")
    assert (name, sum(pages)) == ("hashed-384", Memory.objects.count())
    entries = AuditEntry.objects.filter(object_kind="vector space").order_by("pk")
    assert [(entry.actor, entry.verb, entry.reason) for entry in entries] == [
        ("ops", "began to fill", "Better."),
        ("ops", "switched", ""),
        ("ops", "switched back", ""),
        ("ops", "switched", "Sure."),
        ("ops", "finished", ""),
    ]
    assert entries[0].details == {"model": "hashed-64", "dimensions": 64, "at": "this machine"}
    assert states() == {"hashed-64": ("second_embedding", "used")}


def test_a_model_on_another_server_has_a_key_of_its_own(
    said: None, server: OpenAIServer, settings: Any
) -> None:
    name = start("bge", base_url=server.base_url, api_key="sk-own-key-of-it", by="ops")
    assert (name, find_other_space().choice.dimensions) == ("bge", 384), "the model says its size"  # type: ignore[union-attr]
    row = VectorSpace.objects.get(name="bge")
    assert "sk-own" not in row.sealed_key
    assert unseal(row.sealed_key, what="it") == "sk-own-key-of-it"
    fill()
    assert Memory.objects.exclude(second_embedding_model="bge").count() == 0
    assert all(b"Bearer sk-own-key-of-it" in entry["head"] for entry in server.ledger)
    switch(by="ops")
    assert get_embedder().name == "bge"
    # Once the settings name it themselves, their key and address count.
    settings.EMBEDDING_BASE_URL, settings.EMBEDDING_MODEL = "http://127.0.0.1:1/v1", "bge"
    settings.EMBEDDING_DIMENSIONS = 384
    assert choice_of(used_space()).base_url == "http://127.0.0.1:1/v1"


def test_a_key_goes_to_no_other_server_than_its_own(said: None, server: OpenAIServer, settings: Any) -> None:
    settings.OPENAI_API_KEY = "sk-of-openai"
    start("bge", base_url=server.base_url, by="ops")
    assert not any(b"sk-of-openai" in entry["head"] for entry in server.ledger)
    assert VectorSpace.objects.get(name="bge").sealed_key == ""


@pytest.mark.parametrize(
    ("wanted", "words"),
    [
        ({"model": "hashed", "dimensions": 5000}, "5000 numbers can't be indexed"),
        ({"model": "hashed", "dimensions": 384}, "hashed-384 is in use already"),
        (
            {"model": "nobody-has-it"},
            "No server is set that could have nobody-has-it: name it with --base-url",
        ),
        ({"model": "all-MiniLM-L6-v2", "dimensions": 5}, "makes 384 numbers, not 5"),
        (
            {"model": "m", "base_url": "http://127.0.0.1:1/v1", "dimensions": 384},
            "No vector could be had of m",
        ),
    ],
)
def test_what_cannot_be_started_is_refused_in_a_line(agent: Any, wanted: dict[str, Any], words: str) -> None:
    with pytest.raises(CannotReembed, match=words) as refused:
        start(**wanted, by="ops")
    assert "\n" not in str(refused.value)
    assert VectorSpace.objects.count() == 0
    assert AuditEntry.objects.count() == 0


def test_a_size_that_differs_from_what_was_said_is_refused(agent: Any, server: OpenAIServer) -> None:
    with pytest.raises(CannotReembed, match="384 numbers"):
        start("bge", base_url=server.base_url, dimensions=100, by="ops")
    assert VectorSpace.objects.count() == 0


def test_a_server_that_refuses_is_named(agent: Any, server: OpenAIServer) -> None:
    with pytest.raises(CannotReembed, match=r"No vector could be had.*Nothing was changed"):
        start("fail:401", base_url=server.base_url, by="ops")


def test_without_a_key_to_encrypt_by_no_other_key_is_kept(
    agent: Any, server: OpenAIServer, settings: Any
) -> None:
    settings.FIELD_ENCRYPTION_KEY = []
    with pytest.raises(CannotReembed, match="FIELD_ENCRYPTION_KEY is not set"):
        start("bge", base_url=server.base_url, api_key="sk-own", by="ops")
    assert VectorSpace.objects.count() == 0


def test_a_switch_is_refused_while_vectors_are_missing_unless_it_is_said_plainly(said: None) -> None:
    with pytest.raises(CannotReembed, match="no other space"):
        switch(by="ops")
    start("hashed", dimensions=64, by="ops")
    with pytest.raises(CannotReembed, match=r"memories have no vector of hashed-64 yet.*--now"):
        switch(by="ops", patience_seconds=0)
    with pytest.raises(CannotReembed, match="Nothing was switched"):
        switch(back=True, at_once=True, by="ops")
    assert switch(at_once=True, by="ops") == "hashed-64"
    assert AuditEntry.objects.get(verb="switched").details == {"model": "hashed-64", "at once": True}
    fill()
    assert Memory.objects.exclude(second_embedding_model="hashed-64").count() == 0
    assert VectorSpace.objects.get(name="hashed-64").filled_at is not None, "its index is built all the same"


def test_nothing_is_removed_until_every_process_has_heard_of_a_switch(
    said: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    slept: list[float] = []
    monkeypatch.setattr(changes.time, "sleep", slept.append)
    start("hashed", dimensions=64, by="ops")
    fill()
    switch(by="ops")
    monkeypatch.setattr(changes, "SETTLED_SECONDS", 600.0)
    finish(by="ops")
    assert any(500 < seconds < 600 for seconds in slept)


@pytest.mark.parametrize(
    ("model", "base_url", "words"),
    [
        (" ", "", "Name the new model"),
        ("m", "http://user:secret@127.0.0.1:1/v1", "a key by --key-file"),
    ],
)
def test_what_names_no_model_or_shows_a_password_is_refused(
    agent: Any, model: str, base_url: str, words: str
) -> None:
    with pytest.raises(CannotReembed, match=words) as refused:
        start(model, base_url=base_url, by="ops")
    assert "secret" not in str(refused.value)


def test_nothing_can_be_finished_that_is_not_there(agent: Any) -> None:
    with pytest.raises(CannotReembed, match="nothing to remove"):
        finish(by="ops")


def test_two_spaces_are_compared_by_what_a_turn_would_recall(said: None) -> None:
    with pytest.raises(CannotCompare, match="no other space"):
        compare(50)
    start("hashed", dimensions=256, by="ops")
    fill()
    before = list(Memory.objects.order_by("pk").values())
    found = compare(50)
    assert (found.used, found.other, found.missing) == ("hashed-384", "hashed-256", 0)
    assert found.questions == 3, "'hi' would recall anything"
    assert 0 < found.overlap <= 1
    assert found.same_first + len(found.differences) == found.questions
    assert compare(2).questions == 2
    assert list(Memory.objects.order_by("pk").values()) == before


def test_what_differs_is_listed_with_what_each_recalled(said: None, monkeypatch: Any) -> None:
    start("hashed", dimensions=256, by="ops")
    fill()
    # Without what the other space knows of the cat, something else comes first there.
    Memory.objects.filter(text__contains="cat").update(second_embedding=[-1.0] + [0.0] * 255)
    monkeypatch.setattr(ranking, "WEIGHTS", {name: float(name == "vector") for name in ranking.WEIGHTS})
    found = compare(50)
    asked = [one for one in found.differences if one.question == "What is my cat called?"]
    assert [one.used[0] for one in asked] == ["My cat is called Momo."]
    assert asked[0].other[0] != "My cat is called Momo."


def test_nobody_spoke_yet(agent: Any) -> None:
    start("hashed", dimensions=64, by="ops")
    with pytest.raises(CannotCompare, match="Nobody said anything"):
        compare(50)


def test_the_command_says_where_it_stands_to_people_and_programs(said: None, capsys: Any) -> None:
    call_command("reembed_memories", "--status")
    assert "hashed on this machine" in capsys.readouterr().out
    assert run("--status") == []
    run("--model", "hashed", "--dimensions", "64", "--why", "Better.")
    (used, other) = run("--status")
    assert (used["name"], used["state"], used["left"], used["is_filled"]) == ("hashed-384", "used", 0, True)
    assert (other["name"], other["state"], other["left"]) == ("hashed-64", "filling", other["memories"])
    call_command("reembed_memories", "--status")
    said_of = capsys.readouterr().out
    assert "hashed-64 (64 numbers), filling: 0 of" in said_of
    fill()
    call_command("reembed_memories", "--model", "hashed", "--dimensions", "64", "--wait")
    assert "hashed-64 has all vectors" in capsys.readouterr().out
    assert run("--compare", "--sample", "3")["questions"] == 3
    call_command("reembed_memories", "--compare")
    assert "of the first ten are the same memories" in capsys.readouterr().out
    call_command("reembed_memories", "--switch")
    assert "Set EMBEDDING_MODEL=hashed EMBEDDING_DIMENSIONS=64" in capsys.readouterr().out
    call_command("reembed_memories", "--undo")
    assert "The fleet uses hashed-384" in capsys.readouterr().out
    call_command("reembed_memories", "--switch")
    call_command("reembed_memories", "--finish")
    assert "vectors of hashed-384 were removed" in capsys.readouterr().out


def test_the_status_tells_of_an_embedder_that_fails(said: None, server: OpenAIServer, capsys: Any) -> None:
    start("bge", base_url=server.base_url, by="ops")
    server.settings.fault = "500"
    assert embed_pending() == 0
    call_command("reembed_memories", "--status")
    assert "its embedder failed 1 times" in capsys.readouterr().out
    VectorSpace.objects.update(leased_until=None)
    call_command("reembed_memories", "--status")
    assert run("--status")[1]["error"] != ""


def test_the_command_refuses_in_a_line(agent: Any, tmp_path: Any) -> None:
    with pytest.raises(CommandError, match="no other space"):
        call_command("reembed_memories", "--switch")
    with pytest.raises(CommandError, match="nothing to remove"):
        call_command("reembed_memories", "--cancel")
    with pytest.raises(CommandError, match="can't be read"):
        call_command("reembed_memories", "--model", "m", "--key-file", str(tmp_path / "none"))
    (tmp_path / "empty").write_text("\n")
    with pytest.raises(CommandError, match="There is no key in"):
        call_command("reembed_memories", "--model", "m", "--key-file", str(tmp_path / "empty"))
    with pytest.raises(CommandError, match="required"):
        call_command("reembed_memories")


def test_a_message_is_recalled_and_answered_while_it_is_filled_switched_and_undone(
    said: None, incoming: Any, agent: Any
) -> None:
    def ask() -> list[str]:
        # In a new direct chat, as what the prompt shows anyway is not recalled.
        work.drain_lane(receive(incoming("What is my cat called?", room=uuid4().hex)).lane_id)
        step = Step.objects.filter(name="recall").latest("pk")
        assert step.error == ""
        return [hit["id"] for hit in step.output["memories"] if "vector" in hit["scores"]]

    cat = str(Memory.objects.get(text="My cat is called Momo.").pk)
    start("hashed", dimensions=64, by="ops")
    assert cat in ask()
    embed_pending()
    assert cat in ask()
    fill()
    switch(by="ops")
    assert cat in ask()
    switch(back=True, at_once=True, by="ops")
    assert cat in ask()
