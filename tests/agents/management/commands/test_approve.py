"""`approve`: what waits is listed, and decided by its number."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from agents.models import Approval, Turn
from tests.doubles.history import make_history

pytestmark = pytest.mark.django_db


@pytest.fixture
def ids() -> list[int]:
    made = make_history(3).approvals
    Turn.objects.filter(pk=made[0].turn_id).update(state=Turn.State.PARKED)
    return [approval.pk for approval in made]


def approve(*arguments: Any) -> str:
    out = io.StringIO()
    call_command("approve", *map(str, arguments), stdout=out)
    return out.getvalue()


def states() -> list[str]:
    return list(Approval.objects.order_by("pk").values_list("state", flat=True))


def test_without_an_id_what_is_pending_is_listed_and_nothing_is_decided(ids: list[int]) -> None:
    Approval.objects.filter(pk=ids[2]).update(state="refused")
    listed = approve()
    assert listed == approve("--list", ids[0])
    lines = listed.splitlines()
    assert len(lines) == 2
    assert lines[0].startswith(f'{ids[0]} PAY {{"amount": 0}} (dangerous, pending, until 20')
    assert "by a-ada-0 for a Person 0, turn" in lines[0]
    assert states() == ["pending", "pending", "refused"]


def test_those_named_are_granted_with_who_and_why(ids: list[int], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("getpass.getuser", lambda: "ann")
    assert "(dangerous, granted)" in approve(ids[0], ids[1], "--why", "it is owed")
    assert states() == ["granted", "granted", "pending"]
    first = Approval.objects.get(pk=ids[0])
    assert (first.decided_by, first.reason) == ("ann", "it is owed")
    assert Turn.objects.get(pk=first.turn_id).state == "waiting"


def test_they_can_be_refused_or_told_to_have_been_done(ids: list[int]) -> None:
    Approval.objects.filter(pk=ids[1]).update(kind="uncertain", expires_at=None)
    approve(ids[0], "--refuse")
    approve(ids[1], "--was-done")
    assert states() == ["refused", "done", "pending"]
    with pytest.raises(CommandError, match="not allowed with"):
        approve(ids[2], "--refuse", "--was-done")


def test_what_could_not_be_decided_fails_the_command_and_the_rest_is_done(ids: list[int]) -> None:
    with pytest.raises(CommandError, match=r"There is no approval 999.*\n.*has not run"):
        approve(999, ids[0], ids[1], "--was-done")
    approve(ids[0])
    with pytest.raises(CommandError, match="decided already: granted by"):
        approve(ids[0], ids[1], "--refuse")
    assert states() == ["granted", "refused", "pending"]


def test_a_program_reads_json(ids: list[int]) -> None:
    report = json.loads(approve("--json"))
    assert [row["id"] for row in report] == ids
    assert (report[0]["action"], report[0]["arguments"], report[0]["agent"]) == (
        "PAY",
        {"amount": 0},
        "a-ada-0",
    )
    assert json.loads(approve(ids[0], "--json"))[0]["state"] == "granted"


def test_where_nothing_waits_it_says_so(db: None) -> None:
    assert approve() == "Nothing waits for an approval.\n"


def test_show_turn_tells_of_it(ids: list[int]) -> None:
    turn = Approval.objects.get(pk=ids[0]).turn_id
    out = io.StringIO()
    call_command("show_turn", str(turn), stdout=out)
    assert "Approvals" in out.getvalue()
    out = io.StringIO()
    call_command("show_turn", str(turn), "--json", stdout=out)
    assert [row["id"] for row in json.loads(out.getvalue())["approvals"]] == ids


@pytest.mark.parametrize("text", ["abc", "-1", "1.5"])
def test_what_is_no_number_of_an_approval_is_named_with_the_cure(text: str) -> None:
    with pytest.raises(CommandError, match=f"{text}.*approve --list"):
        call_command("approve", "--", text)
