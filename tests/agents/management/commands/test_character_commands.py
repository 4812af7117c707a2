"""`load_character` and `export_character`, as a person and as a program call them."""

import json
import os
from io import StringIO

import pytest
from cryptography.fernet import Fernet
from django.core.management import CommandError, call_command

from agents.models import Agent, Character

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def key(settings):
    settings.FIELD_ENCRYPTION_KEY = [Fernet.generate_key().decode()]


@pytest.fixture
def ann(tmp_path):
    data = {"name": "Ann", "bio": ["One."], "lore": ["Old."], "settings": {"secrets": {"K": "hush"}}}
    path = tmp_path / "ann.json"
    path.write_text(json.dumps(data))
    return path


@pytest.fixture
def broken(tmp_path):
    path = tmp_path / "broken.json"
    path.write_text('{"name": "Bea", "bio": 5, "topics": [6]}')
    return path


def run(*arguments):
    out = StringIO()
    call_command(*map(str, arguments), stdout=out)
    return out.getvalue()


def test_a_file_is_loaded_updated_and_left_alone(ann):
    assert run("load_character", ann) == "Ann: created (version 1, agent ann is running)\n"
    assert run("load_character", ann) == "Ann: unchanged (version 1, agent ann is running)\n"
    ann.write_text('{"name": "Ann", "bio": ["Two."]}')
    assert run("load_character", ann) == "Ann: updated (version 2, agent ann is running)\n"


def test_a_fault_anywhere_saves_nothing_and_exits_with_1(ann, broken, capsys):
    with pytest.raises(SystemExit) as exit_status:
        call_command("load_character", str(ann), str(broken))
    assert exit_status.value.code == 1
    assert capsys.readouterr().err.splitlines() == [
        f"{broken}: bio: expected text or a list of texts, got 5",
        f"{broken}: topics[0]: expected text, got 6",
        "2 faults; nothing was saved",
    ]
    assert not Character.objects.exists()


def test_a_dry_run_checks_and_saves_nothing(ann):
    assert run("load_character", ann, "--dry-run") == "Ann: checked\n"
    assert not Character.objects.exists()


def test_a_program_reads_json(ann, broken, capsys):
    assert json.loads(run("load_character", ann, "--json")) == {
        "characters": [
            {
                "name": "Ann",
                "file": str(ann),
                "outcome": "created",
                "version": 1,
                "agent": "ann",
                "status": "running",
                "ignored_plugins": [],
                "unknown_keys": {},
                "knowledge": [],
            }
        ],
        "faults": [],
    }
    with pytest.raises(SystemExit):
        call_command("load_character", str(broken), "--json")
    faults = json.loads(capsys.readouterr().out)["faults"]
    assert faults[0] == {
        "file": str(broken),
        "path": "bio",
        "expected": "text or a list of texts",
        "got": "5",
    }


def test_keys_that_mean_nothing_are_named_and_kept(tmp_path, capsys):
    file = tmp_path / "cay.json"
    file.write_text('{"name": "Cay", "topcs": ["tea"], "mood": 7, "$schema": "x", "style": {"al": ["dry"]}}')
    run("load_character", file)
    assert capsys.readouterr().err == (
        "Cay: keys that mean nothing here: topcs (is it topics?), mood, style.al (is it all?)\n"
    )
    assert Character.objects.get().document["topcs"] == ["tea"]
    assert Character.objects.get().document["style"] == {"al": ["dry"]}
    report = json.loads(run("load_character", file, "--json"))
    assert report["characters"][0]["unknown_keys"] == {"topcs": "topics", "mood": "", "style.al": "all"}


def test_a_conflict_is_an_error_in_one_sentence(ann, tmp_path):
    other = tmp_path / "other.json"
    other.write_text('{"name": "Cay"}')
    run("load_character", ann, other)
    other.write_text(json.dumps({"name": "Cay", "id": str(Character.objects.get(name="Ann").pk)}))
    with pytest.raises(CommandError, match="are of different characters"):
        run("load_character", other)


def test_a_missing_key_is_named_and_nothing_is_saved(ann, settings):
    settings.FIELD_ENCRYPTION_KEY = []
    with pytest.raises(CommandError, match="FIELD_ENCRYPTION_KEY is not set"):
        run("load_character", ann)
    assert not Character.objects.exists()
    assert not Agent.objects.exists()


def test_an_export_has_unknown_keys_and_no_secrets(ann):
    run("load_character", ann)
    assert json.loads(run("export_character", "Ann")) == {
        "name": "Ann",
        "bio": ["One."],
        "lore": ["Old."],
        "settings": {},
    }
    assert json.loads(run("export_character", "ann", "--include-secrets")) == json.loads(ann.read_text())


def test_an_export_with_secrets_goes_into_a_private_file(ann, tmp_path):
    run("load_character", ann)
    target = tmp_path / "out.json"
    assert run("export_character", "Ann", "--output", target, "--include-secrets") == ""
    assert json.loads(target.read_text()) == json.loads(ann.read_text())
    assert os.stat(target).st_mode & 0o777 == 0o600
    assert run("load_character", target) == "Ann: unchanged (version 1, agent ann is running)\n"


def test_who_cannot_be_exported_is_named(tmp_path, ann):
    with pytest.raises(CommandError, match="no character is called 'Zed'; there are: none"):
        run("export_character", "Zed")
    run("load_character", ann)
    with pytest.raises(CommandError, match="No such file or directory"):
        run("export_character", "Ann", "--output", tmp_path / "no" / "where.json")


def test_plugins_that_are_not_here_are_named(tmp_path, capsys):
    path = tmp_path / "ann.json"
    path.write_text('{"name": "Ann", "bio": ["One."], "plugins": ["@elizaos/plugin-nowhere", "clock"]}')
    run("load_character", path)
    assert capsys.readouterr().err == "Ann: plugins that are not here are ignored: @elizaos/plugin-nowhere\n"
