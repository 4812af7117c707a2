"""`ingest`: a file of messages comes in as any message does, once, and its replies are written down."""

from __future__ import annotations

import datetime as dt
import io
import json
from collections import defaultdict
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from agents.agents import pause, stop
from agents.llm.router import answering_with
from agents.models import Agent, Message, Room, Turn
from agents.people.senders import forget_connection_facts
from plugins.api import Action, ActionResult, Plugin
from tests.doubles.acting import acting_with, answer
from tests.doubles.inbound import inbound_lines, write_lines
from transports.ingest import Figures
from transports.models import Connection


def ingest(path: Path, *arguments: Any, code: int = 0) -> str:
    out, ended_with = io.StringIO(), 0
    try:
        call_command("ingest", str(path), *map(str, arguments), stdout=out, stderr=out)
    except SystemExit as end:
        ended_with = int(end.code or 0)
    assert ended_with == code
    return out.getvalue()


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return write_lines(tmp_path / "in.jsonl", inbound_lines(messages=9, people=3))


def test_each_message_is_answered_once_and_in_the_persons_order(
    eliza: Agent, worker: Any, file: Path, tmp_path: Path
) -> None:
    said = ingest(file, "--replies", tmp_path / "out.jsonl")

    replies = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert list(replies[0]) == [
        *("in_reply_to", "turn", "room", "person", "text", "received_at", "replied_at", "state")
    ]
    assert sorted(reply["in_reply_to"] for reply in replies) == [f"m-{number}" for number in range(9)]
    assert {reply["state"] for reply in replies} == {"sent"}
    assert [reply["replied_at"] for reply in replies] == sorted(reply["replied_at"] for reply in replies)
    assert all(len(reply[key]) == 32 for reply in replies for key in ("received_at", "replied_at"))
    order = defaultdict(list)
    for reply in replies:
        order[reply["person"]].append(reply["in_reply_to"])
    assert order["person-1"] == ["m-1", "m-4", "m-7"]
    assert "telegram: has no connection yet and gets one of the fake transport" in said
    assert "9 new, 0 known already" in said
    assert "9 answered" in said


def test_the_same_file_again_adds_nothing(eliza: Agent, worker: Any, file: Path) -> None:
    ingest(file, "--wait")
    assert "0 new, 9 known already" in ingest(file, "--wait")
    assert Message.objects.filter(direction="in").count() == 9
    assert Message.objects.filter(direction="out").count() == 9
    assert Connection.objects.count() == 3


def test_a_program_reads_the_report_from_standard_output(eliza: Agent, worker: Any, file: Path) -> None:
    out, told = io.StringIO(), io.StringIO()
    call_command("ingest", str(file), "--wait", "--json", stdout=out, stderr=told)
    report = json.loads(out.getvalue())
    assert (report["new"], report["known"], report["replies"], report["open"]) == (9, 0, 9, 0)
    assert report["results"] == {"answered": 9}
    assert report["is_complete"] is True
    assert {connection["platform"] for connection in report["connections"]} == {
        *("discord", "telegram", "twitter")
    }
    assert "fake transport" in told.getvalue()


def test_a_platform_with_a_connection_keeps_it(eliza: Agent, worker: Any, file: Path) -> None:
    own = Connection.objects.create(agent=eliza, platform="discord", transport="fake")
    said = ingest(file)
    assert Connection.objects.filter(platform="discord").get() == own
    assert "discord: its connection is of the fake transport" in said


def test_a_room_of_one_is_a_direct_chat_and_a_room_of_more_a_group(
    eliza: Agent, worker: Any, tmp_path: Path
) -> None:
    first, second, third, fourth = inbound_lines(messages=4, people=4, platforms=("telegram",))
    second["room"] = third["room"] = "shared"
    fourth["room_type"] = "THREAD"
    ingest(write_lines(tmp_path / "in.jsonl", [first, second, third, fourth]))
    types = dict(Room.objects.values_list("external_id", "type"))
    assert types == {"room-0": "DM", "shared": "GROUP", "room-3": "THREAD"}


def test_a_message_addresses_the_agent_unless_it_says_no(
    eliza: Agent, no_worker: None, tmp_path: Path
) -> None:
    lines = inbound_lines(messages=2)
    lines[1]["mention"] = False
    lines[1]["likes"] = 3
    ingest(write_lines(tmp_path / "in.jsonl", lines))
    first, second = Message.objects.order_by("received_at")
    assert (first.is_addressed, second.is_addressed) == (True, False)
    assert (first.platform_data, second.platform_data) == ({}, {"likes": 3})
    assert second.said_at == dt.datetime.fromisoformat(lines[1]["at"])


def test_silence_is_an_answer_where_it_is_right(eliza: Agent, worker: Any, tmp_path: Path) -> None:
    Agent.objects.filter(pk=eliza.pk).update(settings={"groupReplies": "mentioned"})
    lines = inbound_lines(messages=2)
    for line in lines:
        line.update(platform="telegram", room="hall", mention=False)
    said = ingest(write_lines(tmp_path / "in.jsonl", lines), "--wait")
    assert "2 silent" in said


def test_more_from_one_person_than_the_limit_is_taken(
    eliza: Agent, no_worker: None, settings: Any, tmp_path: Path
) -> None:
    settings.PERSON_MESSAGES_PER_MINUTE = 2
    ingest(write_lines(tmp_path / "in.jsonl", inbound_lines(messages=5, people=1)))
    assert Turn.objects.count() == 5


FAULTS = [
    ("{", "is no JSON (Expecting property name enclosed in double quotes at column"),
    ("[1]", "is a list: write an object, in braces"),
    ({"id": None}, '"id" is missing: add the network\'s own id of the message'),
    ({"person": ["ann"]}, '"person" is a list: write who said it as text'),
    ({"platform": " "}, '"platform" is empty'),
    ({"platform": "x" * 31}, '"platform" has 31 characters'),
    ({"room": "r" * 201}, "The room's id"),
    ({"text": "  "}, "The message is empty: write something."),
    ({"text": 5}, '"text" is a number: write what was said as text'),
    ({"at": "yesterday"}, "\"at\" is 'yesterday': write it as 2026-05-01T12:00:00.000000Z"),
    ({"at": "2026-05-01T12:00:00"}, "without a zone: end it with Z"),
    ({"at": "0001-01-01T00:00:00+05:00"}, "the years 1970 to 2100"),
    ({"mention": "no"}, '"mention" is text: write true or false'),
    ({"room_type": "CAVE"}, "write one of DM, GROUP"),
    ({"attachments": [{"name": "cat"}]}, 'an attachment has no "url"'),
    ({"attachments": "cat.png"}, '"attachments" is text'),
]


@pytest.mark.parametrize(("change", "fault"), FAULTS)
def test_a_faulty_line_is_named_with_its_number_and_nothing_is_sent(
    eliza: Agent, no_worker: None, tmp_path: Path, change: Any, fault: str
) -> None:
    good, bad = inbound_lines(messages=2)
    line = change if isinstance(change, str) else json.dumps({**bad, **change})
    path = tmp_path / "in.jsonl"
    path.write_text(f"{json.dumps(good)}\n\n{line}\n")
    told = io.StringIO()
    with pytest.raises(CommandError, match="1 faulty lines; nothing was sent"):
        call_command("ingest", str(path), stderr=told)
    assert told.getvalue().startswith("line 3: ")
    assert fault in told.getvalue()
    assert not Message.objects.exists()
    assert not Connection.objects.exists()


def test_every_faulty_line_is_named(eliza: Agent, no_worker: None, tmp_path: Path) -> None:
    path, told = tmp_path / "in.jsonl", io.StringIO()
    path.write_bytes(b'{"id": "\xff"}\n{}\nno\n')
    with pytest.raises(CommandError):
        call_command("ingest", str(path), stderr=told)
    assert [line.partition(":")[0] for line in told.getvalue().splitlines()] == ["line 1", "line 2", "line 3"]
    assert "is not UTF-8" in told.getvalue()


def test_the_agents_own_words_and_a_disabled_connection_are_faults(
    eliza: Agent, no_worker: None, file: Path
) -> None:
    Connection.objects.create(agent=eliza, platform="discord", transport="fake", external_id="person-0")
    Connection.objects.create(agent=eliza, platform="twitter", transport="fake", is_enabled=False)
    told = io.StringIO()
    with pytest.raises(CommandError, match="6 faulty lines"):
        call_command("ingest", str(file), stderr=told)
    assert "'person-0' is Eliza's own account" in told.getvalue()
    assert "Eliza's connection to twitter is disabled" in told.getvalue()


def test_an_unknown_agent_or_file_is_told_of(eliza: Agent, file: Path) -> None:
    with pytest.raises(CommandError, match=r"No agent is named 'nobody'\. There are: eliza\."):
        call_command("ingest", str(file), "--agent", "nobody")
    with pytest.raises(CommandError, match="No such file"):
        call_command("ingest", "/nowhere/in.jsonl")
    with pytest.raises(CommandError, match="'-1' is no number above 0"):
        call_command("ingest", str(file), "--rate=-1")


def test_a_stopped_agent_takes_nothing_and_a_paused_one_keeps_it(
    eliza: Agent, no_worker: None, file: Path
) -> None:
    stop(eliza)
    with pytest.raises(CommandError, match="Line 1 was refused: Eliza is stopped"):
        call_command("ingest", str(file), stdout=io.StringIO())
    pause(eliza)
    forget_connection_facts()
    assert "Eliza is paused: the messages wait" in ingest(file)
    assert Turn.objects.filter(state="waiting").count() == 9


def test_waiting_ends_in_time_says_why_and_exits_with_1(eliza: Agent, no_worker: None, file: Path) -> None:
    said = ingest(file, "--wait", "--timeout", 0.3, code=1)
    assert "9 not ended in time" in said
    assert "No worker answers" in said


def test_a_reply_that_could_not_be_sent_is_no_success(
    eliza: Agent, worker: Any, file: Path, tmp_path: Path
) -> None:
    for platform in ("discord", "telegram", "twitter"):
        Connection.objects.create(
            agent=eliza, platform=platform, transport="fake", settings={"fail": "permanent"}
        )
    said = ingest(file, "--replies", tmp_path / "out.jsonl", code=1)
    assert "9 undelivered" in said
    replies = [json.loads(line) for line in (tmp_path / "out.jsonl").read_text().splitlines()]
    assert {(reply["state"], reply["replied_at"]) for reply in replies} == {("failed", None)}


def test_the_rate_is_kept(eliza: Agent, no_worker: None, file: Path) -> None:
    report = io.StringIO()
    call_command("ingest", str(file), "--rate", "40", "--json", stdout=report, stderr=io.StringIO())
    assert json.loads(report.getvalue())["seconds"] >= 8 / 40


def test_turns_that_wait_for_an_approval_are_counted_and_are_no_success(
    eliza: Agent, worker: Any, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pay = Action(name="PAY", description="Pay.", execute=lambda context: ActionResult(), dangerous=True)
    plugin = Plugin(name="purse", description="", actions=(pay,))
    with acting_with(monkeypatch, plugin), answering_with(answer("PAY, REPLY")):
        said = ingest(file, "--wait", code=1)
    assert "9 parked" in said
    assert "Turns that wait for an approval: 9. See `approve --list`." in said


def test_a_file_of_replies_that_can_not_be_written_is_named_before_anything_is_made(
    eliza: Agent, file: Path, tmp_path: Path
) -> None:
    with pytest.raises(CommandError, match=r"nowhere/out\.jsonl: No such file or directory"):
        call_command("ingest", str(file), "--replies", str(tmp_path / "nowhere" / "out.jsonl"))
    assert not Connection.objects.exists()


def test_percentiles_are_of_the_replies_that_came() -> None:
    figures = Figures(latencies=[4.0, 1.0, 3.0, 2.0])
    assert [figures.percentile(share) for share in (0.25, 0.5, 0.95)] == [1.0, 2.0, 4.0]
    assert Figures().percentile(0.5) is None


class _Unread(io.StringIO):
    def write(self, _text: str) -> int:
        raise BrokenPipeError


def test_a_reader_that_went_is_no_file_that_cannot_be_written(
    eliza: Agent, no_worker: None, file: Path
) -> None:
    with pytest.raises(BrokenPipeError):
        call_command("ingest", str(file), stdout=_Unread())
