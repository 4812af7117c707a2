"""`talk`: a word to an agent from the terminal, and its reply."""

from __future__ import annotations

import datetime as dt
import io
import json
import threading
from typing import Any
from unicodedata import normalize
from uuid import UUID

import pytest
from django.core.management import CommandError, call_command
from django.db import connection
from django.db.models.functions import Now

from agents import streams, wakeups, work
from agents.agents import pause
from agents.llm.base import ModelError, ModelFailure
from agents.llm.router import answering_with
from agents.llm.scripted import ScriptedModel
from agents.models import Account, Agent, Approval, Lane, Message, Room, Turn
from agents.processes.workers import explain_waiting
from plugins.api import Action, ActionResult, Plugin
from tests.doubles.acting import acting_with, answer
from transports.delivery import deliver_room
from transports.models import Connection
from transports.talk import talk


def say(*arguments: str) -> str:
    out = io.StringIO()
    call_command("talk", *arguments, stdout=out, stderr=out)
    return out.getvalue()


def test_the_reply_is_printed(eliza: Agent, worker: Any) -> None:
    assert say("Eliza", "hello", "--person", "Ann") == "Hello to you too.\n"
    assert Account.objects.get().external_id == "Ann"
    message = Message.objects.get(direction="in")
    assert (message.text, message.is_addressed, message.room.type) == ("hello", True, "DM")
    assert Connection.objects.get().platform == "terminal"


def test_a_named_room_is_a_group_and_a_chat_is_the_persons_own(eliza: Agent, worker: Any) -> None:
    say("eliza", "hello", "--person", "Ann", "--room", "hall")
    say("eliza", "hello", "--person", "Ben", "--room", "hall")
    say("eliza", "hello", "--person", "Ann")
    assert sorted(Room.objects.values_list("type", flat=True)) == ["DM", "GROUP"]


def test_a_name_is_one_person_and_one_room_however_its_accents_are_sent(eliza: Agent, worker: Any) -> None:
    for name in ("Hélène", normalize("NFD", "Hélène")):
        say("eliza", "hello", "--person", name)
        say("eliza", "hello", "--person", name, "--room", name)
    assert Account.objects.get().external_id == "Hélène"
    assert Room.objects.count() == 2


def test_a_program_reads_json(eliza: Agent, worker: Any) -> None:
    report = json.loads(say("eliza", "hello", "--json"))
    assert (report["result"], report["text"], report["error"]) == ("answered", "Hello to you too.", "")
    assert report["seconds"] > 0
    assert UUID(report["turn"])


def test_several_messages_are_said_one_after_the_other(eliza: Agent, worker: Any) -> None:
    assert say("eliza", "hello", "how are you?") == "Hello to you too.\nHello to you too.\n"
    assert [message.text for message in Message.objects.filter(direction="in").order_by("pk")] == [
        "hello",
        "how are you?",
    ]
    with pytest.raises(CommandError, match="Say something: talk AGENT TEXT"):
        say("eliza")


def test_a_conversation_that_nobody_keeps_needs_a_process_of_its_own(eliza: Agent, worker: Any) -> None:
    with pytest.raises(CommandError, match=r"manage\.py talk --ephemeral CHARACTER"):
        say("eliza", "hello", "--ephemeral")
    assert not Message.objects.exists()


class Terminal(io.StringIO):
    """A stream that says that a person reads it."""

    def isatty(self) -> bool:
        """Say so."""
        return True


def test_words_that_were_shown_while_they_came_are_not_shown_again(eliza: Agent, worker: Any) -> None:
    words, out = normalize("NFD", "Zoé is here."), Terminal()
    with answering_with(ScriptedModel(words)):
        call_command("talk", "eliza", "hello", stdout=out)
    assert out.getvalue() == f"{words}\n"


def test_silence_is_said(eliza: Agent, worker: Any) -> None:
    with answering_with(ScriptedModel("<response><actions>IGNORE</actions></response>")):
        assert say("eliza", "hello") == "(eliza said nothing.)\n"


def test_a_turn_that_failed_prints_the_apology_and_exits_with_1(eliza: Agent, worker: Any) -> None:
    refusal = ModelError("The key is wrong.", failure=ModelFailure.REFUSED, permanent=True)
    out = io.StringIO()
    with answering_with(ScriptedModel(refusal)), pytest.raises(SystemExit) as end:
        call_command("talk", "eliza", "hello", stdout=out, stderr=out)
    assert end.value.code == 1
    assert out.getvalue().startswith(eliza.apology)
    assert "The key is wrong." in out.getvalue()


def test_no_worker_is_the_reason_that_is_told(eliza: Agent, no_worker: None) -> None:
    with pytest.raises(CommandError, match=r"No answer within 0\.2 seconds .* No worker answers"):
        say("eliza", "hello", "--timeout", "0.2")


def test_workers_of_another_database_are_not_called_slow(
    eliza: Agent, no_worker: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The shell's DATABASE_URL is not the fleet's, and both have one broker: the workers find nothing to work."""
    monkeypatch.setattr("agents.processes.workers.find_workers", lambda: ["celery@here"])
    name = connection.settings_dict["NAME"]

    with pytest.raises(CommandError, match=rf"is 1 worker, but nothing is worked in this database \({name}"):
        say("eliza", "hello", "--timeout", "0.2")

    Lane.objects.update(lease_until=Now() + dt.timedelta(seconds=9))
    with pytest.raises(CommandError, match="is 1 worker at work, so the model may be slow"):
        say("eliza", "hello", "--timeout", "0.2")
    later = Now() + dt.timedelta(seconds=60)
    Lane.objects.update(lease_until=None, next_run_at=later)  # it failed, and is tried again later
    with pytest.raises(CommandError, match="so the model may be slow"):
        say("eliza", "hello", "--timeout", "0.2")

    Lane.objects.update(next_run_at=Now())
    assert "nothing is worked in this database" in explain_waiting()
    Turn.objects.update(take_count=1)
    assert "so the model may be slow" in explain_waiting()
    Turn.objects.update(take_count=0)
    pause(eliza)
    assert "so the model may be slow" in explain_waiting()


def test_whoever_can_not_answer_is_told_of_before_waiting(eliza: Agent, no_worker: None) -> None:
    with pytest.raises(CommandError, match=r"No agent is named 'iris'\. There are: eliza\."):
        say("iris", "hello")
    with pytest.raises(CommandError, match="The message is empty"):
        say("eliza", " ")
    pause(eliza)
    with pytest.raises(CommandError, match="Eliza is paused: start it in the admin"):
        say("eliza", "hello")
    assert not Message.objects.exists()


def test_words_are_heard_while_they_come(eliza: Agent, monkeypatch: pytest.MonkeyPatch, worker: Any) -> None:
    """The turn is worked on a thread of its own, and its tokens pass by the stream."""
    threads: list[threading.Thread] = []
    heard: list[str | None] = []

    def work_apart(name: str, _arguments: dict[str, Any]) -> bool:
        if name == "agents.drain_lane":
            threads.append(threading.Thread(target=run))
            threads[-1].start()
        return True

    def run() -> None:
        lane = Lane.objects.get()
        work.drain_lane(lane.pk)
        deliver_room(Connection.objects.get().pk, Room.objects.get().pk)
        connection.close()

    monkeypatch.setattr(wakeups._publisher, "publish", work_apart)
    with answering_with(ScriptedModel("One two three four five six.", token_seconds=0.04)):
        answer = talk(eliza, "count", person="Ann", room="", timeout_seconds=20, on_token=heard.append)
        threads[0].join()
    assert answer.text == "One two three four five six."
    assert "".join(piece or "" for piece in heard).strip() == answer.text
    assert len(heard) > 1
    streams.forget_room(answer.receipt.room_id)


def test_what_waits_for_an_approval_is_said_and_exits_with_1(
    eliza: Agent, worker: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    pay = Action(name="PAY", description="Pay.", execute=lambda context: ActionResult(), dangerous=True)
    plugin = Plugin(name="purse", description="", actions=(pay,))
    with acting_with(monkeypatch, plugin), answering_with(answer("PAY")):
        out = io.StringIO()
        with pytest.raises(SystemExit, match="1"):
            call_command("talk", "eliza", "pay ten", stdout=out, stderr=out)
        assert out.getvalue() == "(eliza waits for an approval: see `approve --list`.)\n"
        call_command("approve", str(Approval.objects.get().pk), stdout=io.StringIO())
    assert Turn.objects.get().state == "done", "a worker was woken by the decision"


@pytest.mark.parametrize("seconds", ["-3", "0", "soon", "inf"])
def test_a_patience_that_is_no_number_above_0_is_named_and_nothing_is_said(
    eliza: Agent, seconds: str
) -> None:
    with pytest.raises(CommandError, match=f"'{seconds}' is no number above 0"):
        call_command("talk", "Eliza", "hi", f"--timeout={seconds}")
    assert not Message.objects.exists()
