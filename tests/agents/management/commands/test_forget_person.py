"""`forget_person`: says what it is about to do, asks, does it, and tells how much went."""

from __future__ import annotations

import io
import json
import sys
from typing import Any

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command

from agents import forgetting
from agents.models import Account, AuditEntry, Forgetting, Message, Person
from memory.models import Memory
from tests.doubles.lives import MARK, Life, columns_with, live


@pytest.fixture
def life(agent: Any, connection: Any, monkeypatch: Any) -> Life:
    monkeypatch.setattr("agents.people.merging.LATE_PAUSE_SECONDS", 0.0)
    return live(agent, connection)


def run(*argv: str) -> str:
    out = io.StringIO()
    call_command("forget_person", *argv, stdout=out, stderr=out)
    return out.getvalue()


def test_a_dry_run_counts_and_changes_nothing(life: Life) -> None:
    before = {table: columns_with(MARK) for table in ("all",)}
    report = json.loads(run(f"telegram:{MARK}-ann", "--dry-run", "--json"))
    assert report["forgetting"] is None
    assert {
        "people": 2,
        "rooms": 2,
        "accounts": 4,
        "users": 1,
        "sessions": 2,
        "api_keys": 1,
    }.items() <= report["counts"].items()
    assert report["counts"]["messages"] == 3 + 2
    assert report["searched"] == {"messages": 3, "turns": 2}
    shown = run(str(life.ann.pk), "--dry-run")
    assert "memories" in shown
    assert "Would stay, and be searched" in shown
    assert {table: columns_with(MARK) for table in ("all",)} == before
    assert not Forgetting.objects.exists()


def test_what_a_dry_run_counts_is_what_goes(life: Life) -> None:
    would = json.loads(run(str(life.ann.pk), "--dry-run", "--json"))["counts"]
    went = json.loads(run(str(life.ann.pk), "--yes", "--json"))["counts"]
    # What others had that held her words went besides.
    besides = {"memories", "scheduled_tasks", "prompts"}
    assert {kind: went.get(kind) for kind in would if kind not in besides} == {
        kind: count for kind, count in would.items() if kind not in besides
    }
    assert all(went[kind] > would[kind] for kind in besides)
    only_found = {"events", "admin_log_entries", "audit_entries_blanked", "replies_unlinked"}
    assert {kind for kind in went.keys() - would.keys() if not kind.endswith("_cut")} == only_found


def test_a_program_reads_nothing_but_the_report(life: Life, capsys: pytest.CaptureFixture[str]) -> None:
    assert json.loads(run(str(life.ann.pk), "--yes", "--json"))["counts"]["accounts"] == 4
    assert "forgotten" not in capsys.readouterr().err


@pytest.mark.parametrize("which", ["id", "merged id", "account"])
def test_a_person_is_found_by_id_and_by_account_and_stands_for_those_merged(life: Life, which: str) -> None:
    reference = {"id": str(life.ann.pk), "merged id": str(life.anna), "account": f"telegram:{MARK}-anna"}[
        which
    ]
    assert "The person is forgotten." in run(reference, "--yes")
    assert columns_with(MARK) == set()
    assert (AuditEntry.objects.get(verb="forget").actor, Forgetting.objects.count()) == ("command", 0)


@pytest.mark.parametrize(
    ("reference", "words"),
    [
        ("nobody", "'nobody' is neither a person's id nor an account such as telegram:12345."),
        ("01990000-0000-7000-8000-000000000000", "There is no person 01990000-0000-7000-8000-000000000000"),
        ("telegram:none", "Nobody has the account 'none' on telegram."),
        ("mars:1", "Nobody has an account on 'mars'; people have accounts on: telegram, web."),
    ],
)
def test_who_is_not_there_is_said_in_one_line(life: Life, reference: str, words: str) -> None:
    with pytest.raises(CommandError) as refusal:
        run(reference, "--yes")
    assert str(refusal.value).startswith(words)
    assert len(str(refusal.value).splitlines()) == 1


def test_nothing_is_done_without_a_word(life: Life, monkeypatch: Any) -> None:
    with pytest.raises(CommandError, match="add --yes"):
        run(str(life.ann.pk))
    monkeypatch.setattr(sys.stdin, "isatty", lambda: True, raising=False)
    for typed in ("", "yes", "Forget"):
        monkeypatch.setattr("builtins.input", lambda _prompt, typed=typed: typed)
        with pytest.raises(CommandError, match="Nothing was done"):
            run(str(life.ann.pk))
    assert Account.objects.filter(person=life.ann).exists()
    monkeypatch.setattr("builtins.input", lambda _prompt: "forget")
    shown = run(str(life.ann.pk))
    assert "and 1 merged into them will be forgotten, for good." in shown
    assert columns_with(MARK) == set()


def test_a_reason_that_names_the_person_is_refused(life: Life) -> None:
    with pytest.raises(CommandError, match="say why without their name"):
        run(str(life.ann.pk), "--yes", "--why", f"letter of {MARK}_ann")
    assert Account.objects.filter(person=life.ann).exists()


def test_one_that_had_begun_goes_on_by_id_or_account_though_somebody_new_has_the_account(
    life: Life, incoming: Any
) -> None:
    from agents.inbox import receive

    for reference in (f"telegram:{MARK}-ann", str(life.anna)):
        forgetting.begin(life.ann.pk, by="ada", why="Asked.") if not Forgetting.objects.exists() else None
        with pytest.raises(CommandError, match="is being forgotten already"):
            run(reference, "--dry-run")
    new = receive(incoming("hello", person=f"{MARK}-ann"))
    assert "It had begun before, and goes on." in run(f"telegram:{MARK}-ann")
    assert not Person.objects.filter(pk=life.ann.pk).exists()
    assert Message.objects.filter(person=new.person_id).count() == 1, "the new person is another"
    assert Memory.objects.filter(person=life.bob).exists()


def test_a_user_who_may_see_the_admin_stays_and_is_named(life: Life) -> None:
    User.objects.filter(username=f"{MARK}_user").update(is_staff=True)
    shown = run(str(life.ann.pk), "--yes")
    assert f"The user {MARK}_user may see the admin, and stays: delete it there." in shown
    assert {table for table, _column in columns_with(MARK)} == {
        "auth_user",
        "transports_apikey",
        "django_session",
    }


def test_a_server_that_is_away_is_said_in_one_line_and_it_goes_on_later(life: Life, monkeypatch: Any) -> None:
    import redis

    def away() -> Any:
        raise redis.ConnectionError("Connection refused.")

    monkeypatch.setattr("agents.forgetting.ending.streams.client", away)
    with pytest.raises(CommandError, match=r"Valkey does not answer \(Connection refused.\)"):
        run(str(life.ann.pk), "--yes")
    monkeypatch.undo()
    Forgetting.objects.update(lease_until=None)
    assert "The person is forgotten." in run(str(life.ann.pk))
