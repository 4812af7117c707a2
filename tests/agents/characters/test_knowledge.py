"""What a character file says that it knows: words, and files of its own folder alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command

from agents.characters import CharacterFiles, parse_character, read_character_files, save_character
from agents.characters.knowledge import find_knowledge, keep_knowledge
from agents.models import Agent, Character
from memory.documents import indexing
from memory.models import Chunk, Document, Memory

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def _no_wakeups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "wake_embedding", lambda: False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A character's folder with maps and letters, and a secret outside of it."""
    (tmp_path / "secret.md").write_text("the secret")
    home = tmp_path / "characters"
    (home / "letters" / "old").mkdir(parents=True)
    (home / "map.md").write_text("# Map\n\nThe river is in the west.\n")
    (home / "letters" / "one.txt").write_text("Dear Ada, the ferry has sunk.")
    (home / "letters" / "old" / "two.txt").write_text("Dear Ada, the ferry is new.")
    return home


def write(folder: Path, *knowledge: Any, **more: Any) -> Path:
    path = folder / "ada.json"
    path.write_text(json.dumps({"name": "Ada", "bio": ["One."], "knowledge": knowledge, **more}))
    return path


def load(path: Path) -> None:
    call_command("load_character", str(path))


def read(path: Path) -> CharacterFiles:
    return read_character_files([str(path)])


def known() -> dict[str, list[str]]:
    """What is in use: each document's texts, by its name."""
    texts: dict[str, list[str]] = {}
    for chunk in Chunk.objects.select_related("document", "memory").order_by("position"):
        texts.setdefault(chunk.document.name, []).append(chunk.memory.text)
    return texts


WORDS = "what the file says in words"
EVERYTHING = ("The lamp turns.", "map.md", {"directory": "letters", "shared": True}, "It is tall.")


def test_words_and_files_become_documents_of_the_agent(folder: Path, capsys: Any) -> None:
    load(write(folder, *EVERYTHING))

    assert known() == {
        WORDS: ["The lamp turns.", "It is tall."],
        "map.md": ["Map\nThe river is in the west."],
        "letters/one.txt": ["Dear Ada, the ferry has sunk."],
        "letters/old/two.txt": ["Dear Ada, the ferry is new."],
    }
    assert set(Memory.objects.values_list("scope", "agent")) == {("agent", Agent.objects.get().pk)}
    assert Document.objects.get(name=WORDS).title == "What Ada knows"
    assert capsys.readouterr().out.splitlines()[1] == "Ada: of what it knows, documents: 4 added"
    load(folder / "ada.json")
    assert capsys.readouterr().out.splitlines()[1] == "Ada: of what it knows, documents: 4 unchanged"


def test_what_the_file_names_no_longer_is_forgotten_and_the_rest_stays(folder: Path) -> None:
    load(write(folder, *EVERYTHING))
    before = set(Memory.objects.filter(text__contains="river").values_list("pk"))
    agent = Agent.objects.get()
    Document.objects.create(agent=agent, name="map.md", origin="upload")
    (folder / "letters" / "one.txt").unlink()

    load(write(folder, {"path": "./map.md"}, {"directory": "letters"}))

    assert set(known()) == {"map.md", "letters/old/two.txt"}
    assert set(Memory.objects.filter(text__contains="river").values_list("pk")) == before
    load(write(folder))
    assert known() == {}
    assert list(Document.objects.values_list("origin", flat=True)) == ["upload"], (
        "what others added is theirs"
    )


@pytest.mark.parametrize(
    ("entry", "got"),
    [
        ({"path": "../secret.md"}, '"../secret.md": it leads out of {folder}'),
        ({"path": "letters/../../secret.md"}, '"letters/../../secret.md": it leads out of {folder}'),
        ({"path": "{folder}/../secret.md"}, '"{folder}/../secret.md": it leads out of {folder}'),
        ({"path": "/etc/passwd"}, '"/etc/passwd": it leads out of {folder}'),
        ("../secret.md", '"../secret.md": it leads out of {folder}'),
        ({"directory": ".."}, '"..": it leads out of {folder}'),
        ({"path": "link.md"}, '"link.md": it leads out of {folder}'),
        ({"directory": "linked"}, '"linked": it leads out of {folder}'),
        ({"directory": "inner"}, '"inner/link.md": it is a link that leads out of its folder'),
        ({"path": "nowhere.md"}, '"nowhere.md": there is no such file'),
        ({"directory": "empty"}, '"empty": there is none in it'),
        ({"path": "circle.md"}, '"circle.md": it leads out of {folder}'),
    ],
)
def test_nothing_leads_out_of_the_characters_folder_and_then_nothing_is_saved(
    folder: Path, entry: Any, got: str, capsys: Any
) -> None:
    (folder / "link.md").symlink_to(folder.parent / "secret.md")
    (folder / "linked").symlink_to(folder.parent)
    (folder / "empty").mkdir()
    (folder / "inner").mkdir()
    (folder / "inner" / "link.md").symlink_to(folder.parent / "secret.md")
    (folder / "circle.md").symlink_to(folder / "circle.md")
    entry = json.loads(json.dumps(entry).replace("{folder}", str(folder)))
    path = write(folder, "Words.", entry)

    with pytest.raises(SystemExit):
        load(path)

    expected = "expected a document in the folder of the character's file, got"
    assert capsys.readouterr().err.splitlines() == [
        f"{path}: knowledge[1]: {expected} {got.replace('{folder}', str(folder))}",
        "1 fault; nothing was saved",
    ]
    assert not Character.objects.exists()
    assert not Document.objects.exists()


def test_a_link_within_the_folder_is_followed(folder: Path) -> None:
    (folder / "link.md").symlink_to(folder / "map.md")
    load(write(folder, {"path": "link.md"}))
    assert known() == {"link.md": ["Map\nThe river is in the west."]}


def test_standard_input_has_no_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    import io
    from types import SimpleNamespace

    raw = json.dumps({"name": "Ada", "knowledge": ["Words.", {"path": "map.md"}]}).encode()
    monkeypatch.setattr("sys.stdin", SimpleNamespace(buffer=io.BytesIO(raw)))
    read = read_character_files(["-"])
    assert [str(fault) for _, fault in read.faults] == [
        "knowledge: expected texts, as there is no folder, got map.md"
    ]


def test_a_file_that_cannot_be_read_is_told_and_the_rest_is_kept(folder: Path, capsys: Any) -> None:
    (folder / "broken.pdf").write_bytes(b"%PDF-1.4")
    with pytest.raises(SystemExit) as status:
        load(write(folder, "Words.", {"path": "broken.pdf"}))
    said = capsys.readouterr()
    assert status.value.code == 1
    assert said.err.startswith("Ada: broken.pdf: refused: it is broken, ")
    assert "documents: 1 added, 1 refused" in said.out
    assert known() == {WORDS: ["Words."]}


def test_a_sentence_that_ends_like_a_file_is_a_sentence(folder: Path) -> None:
    (knowledge,) = read(write(folder, "Read the map.md", "map.md ", "a.b", "Two words.txt")).knowledge
    assert knowledge.texts == ("Read the map.md", "a.b", "Two words.txt")
    assert knowledge.named == ("map.md",)


def test_several_agents_of_a_character_know_the_same(folder: Path) -> None:
    load(write(folder, "Words."))
    character = Character.objects.get()
    other = Agent.objects.create(character=character, name="Ada two", slug="ada-two")
    (knowledge,) = read(folder / "ada.json").knowledge
    keep_knowledge(character, knowledge)
    assert Document.objects.filter(agent=other).count() == 1


def test_without_a_folder_only_words_are_kept_and_known_files_stay(folder: Path) -> None:
    load(write(folder, *EVERYTHING))
    uploaded = {"name": "Ada", "knowledge": ["New words.", "../secret.md", {"directory": "letters"}]}
    character = save_character(parse_character(json.dumps(uploaded), source="an upload"))
    found, faults = find_knowledge(parse_character(json.dumps(character.document), source="x"), None)
    assert (faults, found.files) == ((), None)

    keep_knowledge(character, found)

    assert set(known()) == {WORDS, "letters/one.txt", "letters/old/two.txt"}
    assert known()[WORDS] == ["New words."]
