"""`add_documents`: files and folders, each reported; and what becomes of it when it is killed."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.db.models import Count, Q

from agents.models import Agent, Room
from memory.documents import indexing
from memory.models import Chunk, Document, DocumentPart, Memory
from memory.writes import embed_pending
from tests.conftest import make_agent
from tests.doubles.pdfs import make_pdf
from tests.doubles.programs import own_database_url

ROOT = Path(__file__).resolve().parents[4]


@pytest.fixture(autouse=True)
def _no_wakeups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "wake_embedding", lambda: False)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with two documents, one below, something hidden, and a picture."""
    docs = tmp_path / "docs"
    (docs / "deep").mkdir(parents=True)
    (docs / "guide.md").write_text("# Guide\n\nRivers flow to the sea.\n")
    (docs / "deep" / "table.pdf").write_bytes(
        make_pdf(["Trains leave.", "Trains come back."], title="Timetable")
    )
    (docs / ".hidden.md").write_text("hidden")
    (docs / "logo.png").write_bytes(b"\x89PNG")
    return docs


def run(*arguments: object) -> str:
    out = io.StringIO()
    call_command("add_documents", *map(str, arguments), stdout=out)
    return out.getvalue()


def refused(*arguments: object) -> None:
    with pytest.raises(SystemExit) as status:
        run(*arguments)
    assert status.value.code == 1


def test_a_folder_is_read_and_each_file_is_reported(agent: Agent, folder: Path) -> None:
    assert run(agent.slug, folder).splitlines() == [
        f"{folder}/guide.md: added (1 chunk)",
        f"{folder}/deep/table.pdf: added (2 pages, 1 chunk)",
        f"Passed over, as no documents: {folder}/logo.png",
        "2 added. 0 of 2 chunks have vectors; the workers make the others.",
    ]
    embed_pending()
    (folder / "guide.md").write_text("# Guide\n\nRivers flow to the sea.\n\n# More\n\nOf it.\n")
    assert run(agent.slug, folder).splitlines() == [
        f"{folder}/guide.md: replaced (2 chunks, 1 of them new)",
        f"{folder}/deep/table.pdf: unchanged (2 pages, 1 chunk)",
        f"Passed over, as no documents: {folder}/logo.png",
        "1 replaced, 1 unchanged. 2 of 3 chunks have vectors; the workers make the others.",
    ]


def test_a_file_is_the_same_however_it_is_named(
    agent: Agent, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run(agent.slug, folder)
    monkeypatch.chdir(folder)
    assert "guide.md: unchanged" in run(agent.slug, "guide.md")
    assert "guide.md: unchanged" in run(agent.slug, "deep/../guide.md")
    assert Document.objects.count() == 2


def test_what_is_refused_is_said_the_rest_is_added_and_the_code_is_1(
    agent: Agent, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "broken.pdf").write_bytes(b"%PDF-1.4")
    (folder / "empty.txt").write_text("")
    refused(agent.slug, folder, folder / "nowhere.md", "/dev/null")
    assert capsys.readouterr().err.splitlines() == [
        f"{folder}/broken.pdf: refused: it is broken, Stream has ended unexpectedly (PdfStreamError): save it anew",
        f"{folder}/empty.txt: refused: it is empty",
        f"{folder}/nowhere.md: refused: there is no such file",
        "/dev/null: refused: it is no file",
    ]
    assert Document.objects.count() == 2


def test_a_link_leads_out_of_no_folder(agent: Agent, folder: Path, tmp_path: Path, capsys: Any) -> None:
    (tmp_path / "outside.md").write_text("outside")
    (folder / "link.md").symlink_to(tmp_path / "outside.md")
    (folder / "inside.md").symlink_to(folder / "guide.md")
    (folder / "up").symlink_to(tmp_path)
    refused(agent.slug, folder)
    assert (
        capsys.readouterr().err == f"{folder}/link.md: refused: it is a link that leads out of its folder\n"
    )
    assert not Memory.objects.filter(text__contains="outside").exists()


def test_a_program_reads_json(agent: Agent, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = json.loads(run(agent.slug, folder, "--json"))
    assert report["documents"][1] == {
        "file": f"{folder}/deep/table.pdf",
        "outcome": "added",
        "reason": "",
        "note": "",
        "document": str(Document.objects.get(format="pdf").pk),
        "title": "Timetable",
        "format": "pdf",
        "pages": 2,
        "chunks": 1,
        "new_chunks": 1,
    }
    assert (report["skipped"], report["chunks"], report["vectors"]) == ([f"{folder}/logo.png"], 2, 0)
    with pytest.raises(SystemExit):
        call_command("add_documents", agent.slug, str(folder / "no.md"), "--json")
    assert json.loads(capsys.readouterr().out)["documents"][0]["reason"] == "there is no such file"


def test_a_dry_run_keeps_nothing(agent: Agent, folder: Path) -> None:
    assert run(agent.slug, folder, "--dry-run").splitlines()[-1] == "2 added; nothing was kept."
    assert not Document.objects.exists()
    assert not Memory.objects.exists()


def test_a_room_is_found_by_its_names(agent: Agent, folder: Path, db: None) -> None:
    room = Room.objects.create(platform="discord", external_id="42", name="Kitchen")
    run(agent.slug, folder, "--room", "kitchen")
    assert set(Document.objects.values_list("room", flat=True)) == {room.pk}
    assert set(Memory.objects.values_list("scope", "room")) == {("room", room.pk)}
    for name in (room.pk, "discord:42", "42"):
        assert "unchanged" in run(agent.slug, folder, "--room", name)
    Room.objects.create(platform="telegram", external_id="42")
    with pytest.raises(CommandError, match="Several rooms are called '42': say which by its id"):
        run(agent.slug, folder, "--room", "42")
    with pytest.raises(CommandError, match="There is no room 'attic': give its id"):
        run(agent.slug, folder, "--room", "attic")


def test_what_makes_no_sense_is_an_error_in_one_line(agent: Agent, tmp_path: Path) -> None:
    with pytest.raises(CommandError, match=r"No agent is named 'nobody'\."):
        run("nobody", tmp_path)
    with pytest.raises(CommandError, match="There is no document in "):
        run(agent.slug, tmp_path)


# Cut off --------------------------------------------------------------------------------------------------


def start(*arguments: object) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "manage.py", "add_documents", *map(str, arguments)],
        cwd=ROOT,
        env={**os.environ, "DATABASE_URL": own_database_url(), "EMBEDDING_MODEL": "hashed"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def a_thousand_pages(path: Path, changed: str = "") -> Path:
    """Write a text of 1,000 pages, each paragraph of it another."""
    pages = (
        "\n\n".join(
            f"On page {page} paragraph {number} tells of river {page * 7 + number} and of the town {page + number}"
            f" that lies at it, of its bridges, its markets and the people who live there{changed}."
            for number in range(3)
        )
        for page in range(1, 1001)
    )
    path.write_text("\f".join(pages))
    return path


def wait_for_chunks(count: int, process: subprocess.Popen[str]) -> None:
    while Chunk.objects.count() < count:
        assert process.poll() is None, process.communicate()
        time.sleep(0.01)


def in_use() -> list[str]:
    return sorted(Memory.objects.exclude(scope="nobody").values_list("text", flat=True))


@pytest.mark.django_db(transaction=True)
def test_a_book_that_was_cut_off_is_completed_without_doubles(tmp_path: Path, hashed_vectors: None) -> None:
    agent = make_agent()
    book = a_thousand_pages(tmp_path / "book.txt")
    process = start(agent.slug, book)
    wait_for_chunks(1, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    staged = set(Memory.objects.values_list("pk", flat=True))
    assert Document.objects.get().edition == ""
    assert in_use() == [], "half a book is nobody's"

    process = start(agent.slug, book)
    out, err = process.communicate()

    assert process.returncode == 0, err
    document = Document.objects.get()
    assert f"; went on after chunk {len(staged) - len(staged) % indexing.BATCH}" in out
    assert document.page_count == 1000
    assert (
        document.chunk_count == Chunk.objects.count() == Memory.objects.count() == len(in_use()) > len(staged)
    )
    assert staged <= set(Memory.objects.values_list("pk", flat=True))
    assert list(document.chunks.values_list("position", flat=True)) == list(range(document.chunk_count))
    assert b"".join(map(bytes, document.parts.values_list("content", flat=True))) == book.read_bytes()
    process = start(agent.slug, book)
    assert "unchanged" in process.communicate()[0]


@pytest.mark.django_db(transaction=True)
def test_a_successor_that_was_cut_off_leaves_the_old_one_in_use(tmp_path: Path, hashed_vectors: None) -> None:
    agent = make_agent()
    (book := tmp_path / "book.txt").write_text("The old book is short.")
    run(agent.slug, book)
    a_thousand_pages(book)
    process = start(agent.slug, book)
    wait_for_chunks(2, process)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert in_use() == ["The old book is short."]

    book.write_text("Another book instead.")
    assert "replaced (1 chunk)" in run(agent.slug, book)

    assert in_use() == ["Another book instead."]
    assert Memory.objects.count() == Chunk.objects.count() == DocumentPart.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_two_who_add_the_same_book_at_once_make_it_once(tmp_path: Path, hashed_vectors: None) -> None:
    agent = make_agent()
    book = a_thousand_pages(tmp_path / "book.txt")
    both = [start(agent.slug, book) for _ in range(2)]
    said = [process.communicate() for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    document = Document.objects.get()
    assert document.chunk_count == Chunk.objects.count() == Memory.objects.count() == len(in_use())


@pytest.mark.django_db(transaction=True)
def test_while_a_book_is_replaced_whoever_looks_sees_one_edition(
    tmp_path: Path, hashed_vectors: None
) -> None:
    agent = make_agent()
    book = a_thousand_pages(tmp_path / "book.txt", changed=" of old")
    run(agent.slug, book)
    a_thousand_pages(book, changed=" today")
    process = start(agent.slug, book)
    seen = set()
    while process.poll() is None:
        shown = Memory.objects.visible_to(agent.pk, None, None)
        is_old = Count("pk", filter=Q(text__contains="there of old"))
        seen.add(tuple(shown.aggregate(every=Count("pk"), old=is_old).values()))
    said = process.communicate()
    assert process.returncode == 0, said
    count = Document.objects.get().chunk_count
    assert seen <= {(count, count), (count, 0)}
    assert (count, count) in seen
    assert (
        Memory.objects.visible_to(agent.pk, None, None).filter(text__contains="there today").count() == count
    )
