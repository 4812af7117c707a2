"""Many files at once, and the sample characters."""

import io
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from agents.characters import character_view, export_character, read_character_files
from agents.characters.shapes import V1_KEYS

SHIPPED = Path(__file__).parents[3] / "characters"


def write(path, data):
    path.write_text(json.dumps(data))
    return str(path)


def faults_of(*names):
    return [f"{Path(file).name}: {fault}" for file, fault in read_character_files(names).faults]


def test_a_directory_stands_for_its_json_files(tmp_path):
    write(tmp_path / "b.json", {"name": "B"})
    write(tmp_path / "a.json", {"name": "A"})
    (tmp_path / "notes.txt").write_text("not a character")
    read = read_character_files([str(tmp_path), str(tmp_path / "a.json")])
    assert [document.name for document in read.documents] == ["A", "B"]
    assert read.faults == ()


def test_the_faults_of_all_files_are_collected(tmp_path):
    good = write(tmp_path / "good.json", {"name": "A"})
    bad = write(tmp_path / "bad.json", {"name": 1, "bio": 2})
    same = write(tmp_path / "same.json", {"name": "A"})
    (tmp_path / "empty").mkdir()
    assert faults_of(good, bad, same, str(tmp_path / "none.json"), str(tmp_path / "empty")) == [
        "bad.json: name: expected a name: text that isn't empty, got 1",
        "bad.json: bio: expected text or a list of texts, got 2",
        f"same.json: name: expected a name of its own, got 'A', which {good} has too",
        "none.json: $: expected a readable file, got no such file or directory",
        "empty: $: expected a readable file, got a directory without *.json",
    ]


def test_a_hyphen_reads_standard_input(monkeypatch):
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(b'{"name": "Piped"}')))
    assert [document.name for document in read_character_files(["-"]).documents] == ["Piped"]


def test_the_samples_are_whole_and_eliza_comes_first():
    read = read_character_files([str(SHIPPED)])
    assert read.faults == ()
    assert len(read.documents) == 3
    names = [document.name for document in read.documents]
    assert names[0] == "Eliza"
    assert names == sorted(names)


@pytest.mark.parametrize("path", sorted(SHIPPED.glob("*.json")), ids=lambda path: path.stem)
def test_a_sample_has_every_field_and_suits_a_small_model(path):
    (document,) = read_character_files([str(path)]).documents
    assert set(V1_KEYS) - {"id", "secrets"} == set(document.content)
    assert export_character(document) == json.loads(path.read_text())
    view = character_view(document)
    assert len(view.system) <= 240
    assert all(len(line) <= 90 for line in view.bio)
    assert len(view.message_examples) >= 4
    assert all(talk[0]["name"] == "{{name1}}" for talk in view.message_examples)


@pytest.mark.parametrize(
    ("name", "got"), [("", "no such file or directory"), ("x" * 300 + ".json", "file name too long")]
)
def test_a_name_that_no_file_can_have_is_a_fault(name, got):
    assert faults_of(name) == [f"{name}: $: expected a readable file, got {got}"]
