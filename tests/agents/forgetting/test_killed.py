"""A forgetting that breaks off anywhere goes on where it was, and leaves nothing in the end."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Any

import pytest

from agents import forgetting
from agents.crashpoints import Fault, read_hits, write_plan
from agents.forgetting import holding
from agents.models import AuditEntry, Forgetting, Message, Person
from tests.doubles.acting import Died
from tests.doubles.lives import MARK, Life, columns_with
from tests.doubles.programs import own_database_url, run_python


def let_lease_end() -> None:
    Forgetting.objects.update(lease_until=None)


def test_one_that_dies_after_each_batch_in_turn_leaves_nothing(life: Life, monkeypatch: Any) -> None:
    """It dies after its first batch, then, taken up, after two, and so on, until it comes to its end."""
    begun = forgetting.begin(life.ann.pk, by="ada", why="Asked.")
    left: list[int] = []

    def reach(_name: str) -> None:
        left[0] -= 1
        if not left[0]:
            raise Died

    monkeypatch.setattr(holding, "reach", reach)
    deaths = 0
    while True:
        left[:] = [deaths + 1]
        try:
            assert forgetting.go_on(begun.pk)
        except Died:
            deaths += 1
            let_lease_end()
            continue
        break
    assert deaths > 20
    assert columns_with(MARK) == set()
    assert AuditEntry.objects.filter(verb="forget").count() == 1
    assert not Person.objects.filter(pk__in=[life.ann.pk, life.anna]).exists()
    assert Message.objects.filter(person=life.bob, direction="in").count() == 3, "what is Bob's stays"


def test_a_batch_that_dies_within_changes_nothing(life: Life, monkeypatch: Any) -> None:
    begun = forgetting.begin(life.ann.pk, by="ada", why="Asked.")
    before = columns_with(MARK)
    monkeypatch.setattr("agents.forgetting.audits._blank", lambda _ids: (_ for _ in ()).throw(Died))
    with pytest.raises(Died):
        forgetting.go_on(begun.pk)
    assert columns_with(MARK) - {("agents_forgetting", "pieces")} >= before - {
        ("auth_user", "username"), ("auth_user", "email"), ("auth_user", "first_name"), ("auth_user", "last_name"),
        ("auth_user", "password"), ("transports_apikey", "name"), ("transports_apikey", "prefix"),
        ("transports_apikey", "key_hash"), ("django_session", "session_data"),
    }  # fmt: skip
    monkeypatch.undo()
    let_lease_end()
    assert forgetting.go_on(begun.pk)
    assert columns_with(MARK) == set()


def run_command(*argv: str, plan: Path) -> Any:
    return run_python(
        "manage.py", "forget_person", *argv, DATABASE_URL=own_database_url(), CRASHPOINTS=str(plan),
        EMBEDDING_MODEL="hashed",
    )  # fmt: skip


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize(("point", "hit"), [("forgetting.begun", 1), ("forgetting.batch_done", 25)])
def test_the_command_that_was_killed_is_run_again(life: Life, tmp_path: Path, point: str, hit: int) -> None:
    plan = tmp_path / "plan.json"
    write_plan(plan, [Fault(point=point, hits=(hit,))])
    person = str(life.ann.pk)
    killed = run_command(person, "--yes", "--why", "A letter.", plan=plan)
    assert killed.returncode == -signal.SIGKILL, killed.stderr
    assert [hit.kind for hit in read_hits(plan)][-1] is not None
    assert Forgetting.objects.get().lease_token == (0 if point == "forgetting.begun" else 1)
    assert columns_with(MARK)
    let_lease_end()  # half a minute later
    write_plan(plan, [])
    again = run_command(person, "--json", plan=plan)
    assert again.returncode == 0, again.stderr
    assert "goes on" in again.stderr
    assert json.loads(again.stdout)["counts"]["messages"] >= 3
    assert columns_with(MARK) == set()
    entry = AuditEntry.objects.get(verb="forget")
    assert (entry.actor, entry.reason) == ("command", "A letter.")
