"""`drill`: what it asks before it harms anything, and what it says when it can't be done."""

from __future__ import annotations

import datetime as dt
import io
import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db import connection as database

from agents.models import Agent, Character, Message, Person, Room, Turn
from agents.people.senders import forget_connection_facts
from agents.processes.workers import WorkerProcess
from transports.drill.cast import Cast, make_cast, remove_all
from transports.drill.faults import Damage, NotAllowed
from transports.drill.planning import KEYLESS, Order, make_plan
from transports.drill.reporting import as_json, notes_of
from transports.drill.running import Report
from transports.fake import ledger
from transports.management.commands import drill as command
from transports.verdicts import Verdict, judge, read_fates

CLEAN = Verdict(said=4, received=4, answered=4, silent=0, seconds_to_converge=1.5)
REPORT = Report(
    plan=make_plan(Order(seed=3, messages=4)),
    name="Drill 3 abc",
    ledger="/run/drills/drill-3-abc/network.jsonl",
    workers=("worker-1@here", "worker-2@here"),
    rehearsal_seconds=0.4,
    verdict=CLEAN,
    damage=Damage(killed=[WorkerProcess(name="worker-1@here", pid=1)]),
    missing_workers=0,
    explanation="",
    is_removed=True,
)


@pytest.fixture
def reports(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """Let the drill end at once, with the reports in this list; what was planned is put there instead."""
    queue: list[Any] = [REPORT]

    def run(plan: Any, audience: Any, *, is_kept: bool) -> Report:
        report = queue.pop(0)
        queue.append((plan, is_kept))
        if isinstance(report, BaseException):
            raise report
        return report

    monkeypatch.setattr(command, "run", run)
    return queue


def drill(*arguments: str, code: int = 0) -> str:
    out, ended_with = io.StringIO(), 0
    try:
        call_command("drill", *arguments, stdout=out, stderr=out)
    except SystemExit as end:
        ended_with = int(end.code or 0)
    assert ended_with == code
    return out.getvalue()


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_where_nobody_can_be_asked_nothing_is_harmed(
    reports: list[Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO("drill\n"))
    with pytest.raises(CommandError, match="add --yes, or run it at a terminal"):
        drill("--kill-workers", "1")
    assert reports == [REPORT]


def test_at_a_terminal_the_word_decides(reports: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", Terminal("yes\n"))
    with pytest.raises(CommandError, match="Nothing was done"):
        drill("--flush-broker")
    assert reports == [REPORT]
    monkeypatch.setattr("sys.stdin", Terminal("drill\n"))
    said = drill("--flush-broker")
    assert "FLUSHDB" in said
    assert "Streams and cache" in said
    assert reports[0][0].order.flushes == 1


def test_without_faults_nobody_is_asked(reports: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.StringIO(""))
    assert "every promise was kept" in drill("--seed", "3")


def test_the_options_make_the_order(reports: list[Any]) -> None:
    drill(
        *("--messages", "9", "--rate", "2.5", "--people", "3", "--kill-workers", "4", "--flush-broker", "2"),
        *("--kill-backends", "3", "--keyless", "--seed", "11", "--timeout", "60", "--keep", "--yes"),
    )
    ((plan, is_kept),) = reports
    assert is_kept
    assert plan.order == Order(
        seed=11,
        messages=9,
        per_second=2.5,
        people=3,
        is_half_keyless=True,
        kills=4,
        flushes=2,
        cuts=3,
        patience_seconds=60.0,
    )


def test_the_seed_is_printed_where_none_was_given(reports: list[Any]) -> None:
    said = drill()
    assert f"Seed {reports[0][0].order.seed}" in said


@pytest.mark.parametrize("field", ["lost", "doubled", "out_of_order", "undelivered", "dead_letters"])
def test_every_broken_promise_is_an_exit_code_and_is_named(reports: list[Any], field: str) -> None:
    reports[:] = [replace(REPORT, verdict=replace(CLEAN, **{field: ("m-1 is a finding",)}), is_removed=False)]
    said = drill(code=1)
    assert "A PROMISE WAS BROKEN" in said
    assert "m-1 is a finding" in said
    assert "`drill --clear` removes both" in said


def test_what_is_uncertain_is_named_and_breaks_no_promise(reports: list[Any]) -> None:
    reports[:] = [replace(REPORT, verdict=replace(CLEAN, uncertain=("m-2 has an uncertain reply",)))]
    assert "uncertain: m-2 has an uncertain reply" in drill()


def test_a_program_reads_all_of_it(reports: list[Any]) -> None:
    out, told = io.StringIO(), io.StringIO()
    call_command("drill", "--json", "--kill-workers", "1", "--yes", stdout=out, stderr=told)
    read = json.loads(out.getvalue())
    assert read == json.loads(json.dumps(as_json(REPORT)))
    assert (read["is_good"], read["verdict"]["answered"], read["kills"]) == (True, 4, ["worker-1@here"])
    assert "SIGKILL" in told.getvalue()


def test_what_went_wrong_on_the_way_says_how_to_clear_up(reports: list[Any]) -> None:
    reports[:] = [NotAllowed("The broker could not be emptied.")]
    with pytest.raises(CommandError, match=r"could not be emptied\. `drill --clear` removes"):
        drill()
    reports[:] = [KeyboardInterrupt()]
    with pytest.raises(CommandError, match=r"Broken off, and not judged\. `drill --clear` removes"):
        drill()


@pytest.mark.parametrize(
    "wrong", ["--messages=0", "--people=-1", "--rate=0", "--timeout=inf", "--kill-workers=x"]
)
def test_numbers_that_make_no_drill_are_refused(reports: list[Any], wrong: str) -> None:
    with pytest.raises(CommandError, match="is no number"):
        drill(wrong)


def test_nobody_who_starts_dead_workers_is_told_of_with_the_cure() -> None:
    skipped = replace(REPORT, damage=replace(REPORT.damage, skipped_kills=2))
    assert any("2 kills were left out" in note and "supervisor" in note for note in notes_of(skipped))
    missing = replace(REPORT, missing_workers=1)
    assert any("1 of 2 workers did not come back" in note for note in notes_of(missing))
    open_still = replace(REPORT, explanation="Drill 3 abc is paused: start it.")
    assert any("is paused: start it" in note for note in notes_of(open_still))


# The cast -----------------------------------------------------------------------------------------------------


@pytest.fixture
def drill_cast(
    transactional_db: None, hashed_vectors: None, settings: Any, tmp_path: Path, worker: Any
) -> Cast:
    settings.RUN_DIR = tmp_path
    forget_connection_facts()
    return make_cast(5)


def test_what_a_cast_says_is_answered_in_the_ledger(
    drill_cast: Cast, monkeypatch: pytest.MonkeyPatch
) -> None:
    said = [
        drill_cast.say(number, person=number % 2, network=network)
        for number, network in enumerate(("fake", KEYLESS, "fake"))
    ]
    with database.cursor() as cursor:
        ids = [one.external_id for one in said]
        fates = read_fates(cursor, ids, connections=list(drill_cast.connections.values()))
        assert read_fates(cursor, ids, connections=[]) == []
    verdict = judge(said, ledger.read(drill_cast.ledger), fates, faults_ended_at=dt.datetime.now(dt.UTC))
    assert (verdict.is_clean, verdict.answered) == (True, 3)


def test_a_drills_traces_are_removed_and_others_are_left(drill_cast: Cast, eliza: Agent) -> None:
    drill_cast.say(1, person=1, network="fake")
    own = Room.objects.create(platform="drill", external_id="elsewhere")
    assert drill_cast.ledger.exists()
    assert list(remove_all()) == [drill_cast.agent.name]
    assert list(Agent.objects.all()) == [eliza]
    assert list(Room.objects.all()) == [own]
    for model in (Message, Turn, Person):
        assert not model.objects.exists()
    assert Character.objects.count() == 1
    assert not drill_cast.ledger.parent.exists()
    assert list(remove_all()) == []


def test_a_ledger_that_can_not_be_written_is_told_of(settings: Any, tmp_path: Path) -> None:
    settings.RUN_DIR = tmp_path / "file"
    settings.RUN_DIR.touch()
    with pytest.raises(NotAllowed, match="The ledger can't be written"):
        make_cast(1)
