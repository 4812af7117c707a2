"""`export_person`: to standard output or to a file that is whole or not there."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command

from agents.exports.schema import PersonExport
from agents.inbox import receive
from agents.models import AuditEntry, Person

pytestmark = pytest.mark.django_db(transaction=True)


def run(*argv: str) -> str:
    out = io.StringIO()
    call_command("export_person", *argv, stdout=out, stderr=out)
    return out.getvalue()


def test_it_is_written_to_standard_output_and_noted_in_the_audit(incoming: Any) -> None:
    receipt = receive(incoming("Ünïcode 京都 \u2028"))
    export = PersonExport.model_validate_json(run("telegram:ann", "--why", "A letter."))
    assert [message.text for message in export.messages] == ["Ünïcode 京都 \u2028"]
    entry = AuditEntry.objects.get()
    assert (entry.actor, entry.verb, entry.object_id, entry.reason) == (
        "command",
        "export",
        str(receipt.person_id),
        "A letter.",
    )
    assert entry.details["messages"] == 1
    again = json.loads(run(str(receipt.person_id)))
    assert [entry["verb"] for entry in again["audit_entries"]] == ["export"], (
        "which is known of the person too"
    )


def test_a_file_is_for_its_owner_alone_and_put_in_its_place_when_it_is_whole(
    incoming: Any, tmp_path: Path, monkeypatch: Any
) -> None:
    receive(incoming("hello"))
    out = tmp_path / "ann.json"
    shown = run("telegram:ann", "--out", str(out))
    assert out.stat().st_mode & 0o777 == 0o600
    assert json.loads(out.read_text(encoding="utf-8"))["person"]["name"] == "Ann"
    assert "1  messages" in shown
    before = out.read_text(encoding="utf-8")

    def broken(_family: Any, write: Any, **_named: Any) -> None:
        write("{")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("agents.management.commands.export_person.export_person", broken)
    with pytest.raises(CommandError, match="can't be written: No space left on device"):
        run("telegram:ann", "--out", str(out))
    assert out.read_text(encoding="utf-8") == before
    assert [path.name for path in tmp_path.iterdir()] == ["ann.json"]
    assert AuditEntry.objects.count() == 1


def test_wrong_words_are_refused_in_one_line(incoming: Any, tmp_path: Path) -> None:
    receive(incoming("hello"))
    ann = Person.objects.get()
    for argv, words in (
        (("nobody",), "'nobody' is neither a person's id nor an account such as telegram:12345."),
        (
            ("ann",),
            f"'ann' is a name, and anybody may take it: give the id or account of whom you mean: {ann.pk} (te",
        ),
        ((), "'' is neither a person's id"),
        (("telegram:ann", "--out", str(tmp_path / "no" / "a.json")), "can't be written: No such file"),
    ):
        with pytest.raises(CommandError) as refusal:
            run(*argv)
        assert words in str(refusal.value)
    assert not AuditEntry.objects.exists()


def test_the_schema_can_be_had_without_anybody() -> None:
    assert json.loads(run("--schema"))["title"] == "PersonExport"
