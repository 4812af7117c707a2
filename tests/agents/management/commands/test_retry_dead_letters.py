"""`retry_dead_letters`: chooses, tells, and changes only what it should."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from agents.inbox import receive
from agents.models import AuditEntry, Turn
from tests.conftest import make_agent


@pytest.fixture
def dead(incoming: Any) -> list[Any]:
    receipts = [receive(incoming(person=name)) for name in ("ann", "bob")]
    Turn.objects.update(state="dead", error="Broken: badly", ended_at=timezone.now())
    return [receipt.turn_id for receipt in receipts]


def run(*arguments: str) -> str:
    out = io.StringIO()
    call_command("retry_dead_letters", *arguments, stdout=out)
    return out.getvalue()


def states() -> list[str]:
    return list(Turn.objects.order_by("pk").values_list("state", flat=True))


def test_without_a_choice_all_are_retried(dead: Any) -> None:
    assert "2 dead letters retried." in run("--why", "the model is back")
    assert states() == ["waiting", "waiting"]
    assert set(AuditEntry.objects.values_list("actor", "verb", "reason")) == {
        ("command", "retry_front", "the model is back")
    }


def test_a_dry_run_tells_and_changes_nothing(dead: Any) -> None:
    page = run("--dry-run")
    assert "2 dead letters would be retried." in page
    assert "Broken: badly" in page
    assert (states(), AuditEntry.objects.count()) == (["dead", "dead"], 0)


def test_chosen_ones_are_discarded_and_reported_as_json(dead: Any) -> None:
    report = json.loads(run("--id", str(dead[0]), "--discard", "--json"))
    assert report["discarded"] == [str(dead[0])]
    assert (report["found"][0]["turn"], report["found"][0]["agent"]) == (str(dead[0]), "Eliza")
    assert states() == ["discarded", "dead"]


def test_agent_and_time_choose(dead: Any) -> None:
    make_agent(name="Iris")
    assert "0 dead letters retried." in run("--agent", "Iris")
    assert "0 dead letters retried." in run("--since", "2999-01-01")
    assert "2 dead letters retried." in run("--agent", "Eliza", "--since", "2020-01-01", "--place", "end")
    assert set(Turn.objects.values_list("sequence", flat=True)) == {2}


@pytest.mark.parametrize("arguments", [("--since", "soon"), ("--id", "7"), ("--place", "middle")])
def test_what_makes_no_sense_is_told_of(db: None, arguments: tuple[str, str]) -> None:
    with pytest.raises(CommandError):
        run(*arguments)


def test_an_id_of_no_dead_letter_stops_all(dead: Any) -> None:
    Turn.objects.filter(pk=dead[1]).update(state="done")
    with pytest.raises(CommandError, match=f"No such dead letter: {dead[1]}"):
        run("--id", *map(str, dead))
    assert states() == ["dead", "done"]


def test_an_agent_that_nobody_knows_is_named_and_nothing_is_changed(dead: Any) -> None:
    with pytest.raises(CommandError, match=r"No agent is named 'zed'\. There are: eliza"):
        run("--agent", "zed")
    assert states() == ["dead", "dead"]
