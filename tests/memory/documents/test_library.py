"""Documents: added, replaced and removed as wholes; known again by name and by content; within their scope."""

from __future__ import annotations

import io
import json
from collections.abc import Iterator
from typing import Any
from unicodedata import normalize
from uuid import UUID

import pytest
from django.db.models import F

from memory.checks import check_documents
from memory.documents import indexing
from memory.documents.library import (
    AddedDocument,
    DocumentRefused,
    DocumentSource,
    add_document,
    index_again,
    progress_of,
    remove_document,
    remove_documents,
)
from memory.models import Chunk, Document, DocumentPart, Memory
from memory.writes import embed_pending
from tests.doubles.pdfs import make_pdf

HANDBOOK = """# Handbook

Welcome to the company.

## Absence

Who falls ill tells the team lead before nine.

## Bicycles

Bicycles stand in the yard behind the gate.
"""


@pytest.fixture(autouse=True)
def _no_wakeups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "wake_embedding", lambda: False)


def add(scene: Any, content: str | bytes = HANDBOOK, name: str = "handbook.md", **more: Any) -> AddedDocument:
    raw = content.encode() if isinstance(content, str) else content
    source = DocumentSource(name=name, file=io.BytesIO(raw), **more.pop("source", {}))
    return add_document(scene.agent.id, source, **more)


def texts() -> list[str]:
    """The texts that are in use, in their order."""
    current = Chunk.objects.filter(document__edition=F("edition")).order_by("document", "position")
    return list(current.values_list("memory__text", flat=True))


def nothing_is_kept() -> bool:
    return not any(model.objects.exists() for model in (Document, DocumentPart, Chunk, Memory))


def found(scene: Any, text: str, **where: Any) -> list[str]:
    embed_pending()
    return [hit.text for hit in scene.recall(text, **where) if hit.score > 0.3]


def test_a_document_becomes_memories_that_recall_finds(scene: Any) -> None:
    added = add(scene)

    assert (added.outcome, added.title, added.format, added.chunk_count) == (
        "added",
        "Handbook",
        "markdown",
        3,
    )
    assert texts() == [
        "Handbook\nWelcome to the company.",
        "Handbook › Absence\nWho falls ill tells the team lead before nine.",
        "Handbook › Bicycles\nBicycles stand in the yard behind the gate.",
    ]
    assert found(scene, "who falls ill")[0].startswith("Handbook › Absence")
    memory = Memory.objects.get(text__contains="falls ill")
    assert (memory.kind, memory.scope, memory.person_id, memory.speaker) == ("document", "agent", None, "")


def test_the_words_of_a_heading_find_what_stands_below_it(scene: Any) -> None:
    add(scene)
    assert found(scene, "absence")[0].endswith("Who falls ill tells the team lead before nine.")


def test_each_chunk_knows_its_headings_its_page_and_its_place(scene: Any) -> None:
    add(scene)
    add(scene, make_pdf(["Page one says this.", "Page two says that."]), "two.pdf")

    chunk = Chunk.objects.get(memory__text__contains="falls ill")
    assert (chunk.headings, chunk.page) == (["Handbook", "Absence"], None)
    assert HANDBOOK[chunk.start : chunk.end] == "Who falls ill tells the team lead before nine."
    of_pdf = Chunk.objects.get(document__format="pdf")
    assert (of_pdf.page, of_pdf.last_page, of_pdf.document.page_count) == (1, 2, 2)


def test_the_same_file_again_changes_nothing_and_says_so(scene: Any) -> None:
    add(scene)
    before = list(Memory.objects.order_by("pk").values())

    assert add(scene).outcome == "unchanged"
    other = add(scene, name="copy.md")

    assert (other.outcome, other.note) == ("unchanged", "handbook.md has the same content")
    assert list(Memory.objects.order_by("pk").values()) == before
    assert Document.objects.count() == 1


def test_a_name_is_one_document_in_whichever_form_its_accents_are_written(scene: Any) -> None:
    apart = normalize("NFD", "menü/menü.md")
    assert add(scene, "Soup.", "menü/menü.md").outcome == "added"
    assert add(scene, "Soup and bread.", apart).outcome == "replaced"
    for kept in ({"keep": [apart]}, {"keep": [], "keep_below": [normalize("NFD", "menü")]}):
        assert remove_documents(scene.agent.id, Document.Origin.FILE, **kept) == 0
    assert Document.objects.get().name == "menü/menü.md"


def test_of_a_changed_file_only_the_changed_chunks_are_replaced(scene: Any) -> None:
    add(scene)
    embed_pending()
    before = dict(Memory.objects.values_list("text", "pk"))

    added = add(scene, HANDBOOK.replace("before nine", "before ten"))

    assert (added.outcome, added.chunk_count, added.new_chunk_count) == ("replaced", 3, 1)
    after = dict(Memory.objects.values_list("text", "pk"))
    assert {text for text in before if text in after} == {text for text in before if "Absence" not in text}
    assert all(before[text] == key for text, key in after.items() if text in before)
    assert Memory.objects.filter(embedding=None).count() == 1
    assert "before ten" in found(scene, "who falls ill")[0]


def test_an_unchanged_chunk_that_moved_has_its_new_place(scene: Any) -> None:
    add(scene)
    add(scene, HANDBOOK.replace("## Absence", "## Absence\n\nA line more.\n\n## Illness"))

    chunk = Chunk.objects.get(memory__text__contains="Bicycles stand")
    assert (chunk.position, chunk.start > HANDBOOK.index("Bicycles stand")) == (3, True)


def test_new_settings_replace_all_chunks(scene: Any, settings: Any) -> None:
    add(scene)
    before = set(Memory.objects.values_list("pk", flat=True))
    settings.DOCUMENT_CHUNK_TOKENS = 100

    added = add(scene)

    assert (added.outcome, added.new_chunk_count) == ("indexed again", 3)
    assert not before & set(Memory.objects.values_list("pk", flat=True))
    assert Memory.objects.count() == 3


def test_what_stands_twice_in_a_document_is_one_memory(scene: Any) -> None:
    added = add(scene, "# A\n\nThe same.\n\n# A\n\nThe same.\n")
    assert (added.chunk_count, Memory.objects.count()) == (2, 1)


def test_a_removed_document_leaves_nothing(scene: Any) -> None:
    add(scene)
    kept = add(scene, "# Other\n\nOf another document.", "other.md")

    assert remove_document(Document.objects.get(name="handbook.md").pk) is True

    assert texts() == ["Other\nOf another document."]
    assert Memory.objects.count() == 1
    assert remove_document(kept.document_id or UUID(int=0)) is True
    assert nothing_is_kept()
    assert remove_document(UUID(int=1)) is False


def test_a_document_of_a_room_surfaces_there_alone(scene: Any) -> None:
    add(scene, room_id=scene.group.id)

    assert found(scene, "who falls ill", room_id=scene.group.id)
    assert found(scene, "who falls ill", room_id=scene.dm_of_ann.id) == []
    assert add(scene).outcome == "added", "everywhere is another scope"
    assert found(scene, "who falls ill", room_id=scene.dm_of_ann.id)


def test_another_agent_knows_nothing_of_it(scene: Any) -> None:
    add(scene)
    other = scene.make_agent()
    assert found(scene, "who falls ill", agent_id=other.id) == []


@pytest.mark.parametrize(
    ("content", "name", "reason"),
    [
        (b"", "a.txt", "it is empty"),
        (b"  \n\n ", "a.txt", "it has no text"),
        (b"\x89PNG\r\n\x1a\n\0\0", "a.md", "it is neither text nor a PDF"),
        (b"caf\xe9 au lait", "a.txt", "it is not UTF-8: byte 0xe9 in line 1; save it as UTF-8"),
        (b"no pdf", "a.pdf", "it is named as a PDF and is none"),
        (make_pdf(["text"])[:400], "a.pdf", "it is broken, "),
        (make_pdf(["text"], password="secret"), "a.pdf", "it is encrypted: save it without a password"),
        (make_pdf([""]), "scan.pdf", r"it has no text: is it a scan\? Text recognition \(OCR\) makes one"),
        (b"text", "", "its name has 0 characters"),
        (b"text", "n" * 501, "its name has 501 characters"),
    ],
)
def test_what_cannot_be_read_is_refused_and_nothing_is_kept(
    scene: Any, content: bytes, name: str, reason: str
) -> None:
    with pytest.raises(DocumentRefused, match=reason):
        add(scene, content, name)
    assert nothing_is_kept()


def test_limits_of_size_and_pages_are_kept(scene: Any, settings: Any) -> None:
    settings.DOCUMENT_MAX_MEGABYTES, settings.DOCUMENT_MAX_PAGES = 1, 2
    with pytest.raises(DocumentRefused, match=r"it is larger than 1 MB: divide it, or raise DOCUMENT_MAX"):
        add(scene, b"x " * 600_000)
    with pytest.raises(DocumentRefused, match=r"it has 3 pages, and 2 are allowed"):
        add(scene, make_pdf(["one", "two", "three"]), "a.pdf")
    assert nothing_is_kept()


def test_a_broken_successor_leaves_the_document_as_it_was(scene: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(indexing, "BATCH", 2)
    add(scene, make_pdf(["Old words."]), "a.pdf")
    before = (texts(), list(Memory.objects.values()), list(DocumentPart.objects.values()))
    broken = make_pdf(["text"], password="secret")

    with pytest.raises(DocumentRefused, match="encrypted"):
        add(scene, broken, "a.pdf")

    assert (texts(), list(Memory.objects.values()), list(DocumentPart.objects.values())) == before


def test_what_breaks_off_in_the_middle_leaves_nothing_of_itself(scene: Any, monkeypatch: Any) -> None:
    """The first batches of a file are kept already when its reader gives up."""
    monkeypatch.setattr(indexing, "BATCH", 1)
    add(scene)
    before = texts()
    whole = indexing.Reading.__iter__

    def broken(reading: Any) -> Iterator[Any]:
        for number, block in enumerate(whole(reading)):
            if number == 4:
                assert Chunk.objects.count() > len(before)
                raise DocumentRefused("it is broken")
            yield block

    monkeypatch.setattr(indexing.Reading, "__iter__", broken)
    with pytest.raises(DocumentRefused, match="broken"):
        add(scene, HANDBOOK.replace("Welcome", "Good day"))
    assert (texts(), Memory.objects.count(), Chunk.objects.count()) == (before, 3, 3)
    with pytest.raises(DocumentRefused, match="broken"):
        add(scene, HANDBOOK.replace("Welcome", "New"), "new.md")
    assert Document.objects.count() == 1


def test_a_dry_run_tells_what_it_would_do_and_keeps_nothing(scene: Any) -> None:
    assert add(scene, dry_run=True).chunk_count == 3
    assert nothing_is_kept()
    add(scene)
    before = list(Memory.objects.values())

    would = add(scene, HANDBOOK.replace("before nine", "before ten"), dry_run=True)

    assert (would.outcome, would.chunk_count, would.new_chunk_count) == ("replaced", 3, 1)
    assert list(Memory.objects.values()) == before


def test_the_kept_file_can_be_indexed_again(scene: Any, settings: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr("memory.documents.files.PART_BYTES", 50)
    key = add(scene).document_id
    assert DocumentPart.objects.count() > 2
    assert key is not None
    assert index_again(key).outcome == "unchanged"
    settings.DOCUMENT_CHUNK_TOKENS = 100

    assert index_again(key).outcome == "indexed again"

    assert len(texts()) == 3
    DocumentPart.objects.all()[1].delete()
    settings.DOCUMENT_CHUNK_TOKENS = 200
    with pytest.raises(DocumentRefused, match="its file was not stored to its end: add it again"):
        index_again(key)
    assert len(texts()) == 3


def test_a_successor_that_was_not_stored_to_its_end_is_passed_over(scene: Any, settings: Any) -> None:
    key = add(scene).document_id or UUID(int=0)
    DocumentPart.objects.create(document_id=key, content_hash="f" * 64, position=0, content=b"# Hand")
    settings.DOCUMENT_CHUNK_TOKENS = 100
    assert index_again(key).outcome == "indexed again"
    assert len(texts()) == 3
    assert DocumentPart.objects.count() == 1


def test_a_successor_that_was_stored_and_cut_off_is_completed(scene: Any, monkeypatch: Any) -> None:
    key = add(scene).document_id or UUID(int=0)

    def cut_off(*_arguments: Any) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(indexing, "_publish", cut_off)
        with pytest.raises(KeyboardInterrupt):
            add(scene, HANDBOOK.replace("before nine", "before ten"))
    assert "before nine" in texts()[1]

    completed = index_again(key)

    assert (completed.outcome, completed.note) == ("replaced", "went on after chunk 3")
    assert "before ten" in texts()[1]
    assert Memory.objects.count() == 3


def test_progress_counts_chunks_and_vectors(scene: Any) -> None:
    key = add(scene).document_id or UUID(int=0)
    assert (progress_of([key])[key].chunk_count, progress_of([key])[key].vector_count) == (3, 0)
    embed_pending(limit=2)
    assert progress_of([key])[key].vector_count == 2
    embed_pending()
    assert progress_of([key])[key].vector_count == 3


def test_texts_are_chunks_of_their_own(scene: Any) -> None:
    raw = json.dumps(["The lamp turns.", "", "It is 40 m high."])
    added = add(scene, raw, "knowledge", source={"format": "texts", "title": "What Bram knows"})
    assert (added.title, texts()) == ("What Bram knows", ["The lamp turns.", "It is 40 m high."])
    assert index_again(added.document_id or UUID(int=0)).title == "What Bram knows"


def test_whoever_comes_second_with_other_content_is_told(scene: Any, monkeypatch: Any) -> None:
    publish = indexing._publish

    def overtaken(*arguments: Any) -> int:
        monkeypatch.setattr(indexing, "_publish", publish)
        add(scene, HANDBOOK.replace("nine", "eleven"))
        return publish(*arguments)

    monkeypatch.setattr(indexing, "_publish", overtaken)
    with pytest.raises(DocumentRefused, match="somebody changed or removed it meanwhile: add it again"):
        add(scene)
    assert "before eleven" in texts()[1]
    assert Memory.objects.count() == 3


def test_removing_a_document_that_is_being_made_ends_the_making(scene: Any, monkeypatch: Any) -> None:
    publish = indexing._publish

    def removed(document: Any, *arguments: Any) -> int:
        remove_document(document.pk)
        return publish(document, *arguments)

    monkeypatch.setattr(indexing, "_publish", removed)
    with pytest.raises(DocumentRefused, match="somebody changed or removed it"):
        add(scene)
    assert nothing_is_kept()


def test_a_rooms_end_and_an_agents_end_take_their_documents_along(scene: Any) -> None:
    add(scene, room_id=scene.group.id)
    add(scene, "Of everywhere.", "other.txt")
    scene.group.delete()
    assert texts() == ["Of everywhere."]
    scene.agent.delete()
    assert nothing_is_kept()


def test_settings_that_let_nothing_through_are_told(settings: Any) -> None:
    assert check_documents() == []
    settings.DOCUMENT_MAX_PAGES, settings.DOCUMENT_CHUNK_TOKENS = 0, 10
    assert [str(problem.msg) for problem in check_documents()] == [
        "DOCUMENT_MAX_PAGES is 0: it lets no document through.",
        "DOCUMENT_CHUNK_TOKENS is 10: no chunk is that long.",
    ]
    settings.DOCUMENT_MAX_PAGES, settings.DOCUMENT_CHUNK_TOKENS, settings.DOCUMENT_OVERLAP_TOKENS = 1, 100, 51
    assert [problem.hint for problem in check_documents()] == ["Set it to 50 or less, or leave it unset."]
