"""Citations: where a recalled memory stands; and of a document that is replaced meanwhile, all of one edition."""

from __future__ import annotations

import io
from typing import Any

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from memory.documents import indexing
from memory.documents.citations import citations_of, cite
from memory.documents.library import DocumentSource, add_document, remove_document
from memory.memories import remember
from memory.models import Chunk, Memory
from memory.writes import embed_pending
from tests.doubles.pdfs import make_pdf

GUIDE = "# Guide\n\nRivers flow to the sea.\n\n## Boats\n\nBoats lie at the river.\n"


@pytest.fixture(autouse=True)
def _no_wakeups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "wake_embedding", lambda: False)


def add(scene: Any, content: str | bytes = GUIDE, name: str = "guide.md") -> Any:
    raw = content.encode() if isinstance(content, str) else content
    added = add_document(scene.agent.id, DocumentSource(name=name, file=io.BytesIO(raw)))
    embed_pending()
    return added.document_id


def test_a_hit_says_where_it_stands(scene: Any) -> None:
    key = add(scene)
    pdf = add(scene, make_pdf(["Trains leave the station.", "Trains come back."], title="Timetable"), "t.pdf")

    cited = cite(scene.recall("boats river trains"))

    places = {hit.text.split("\n")[-1]: hit.citation for hit in cited}
    boats, trains = places["Boats lie at the river."], places["Trains come back."]
    assert (boats.document_id, boats.document, boats.headings, boats.pages) == (
        key,
        "Guide",
        ("Guide", "Boats"),
        "",
    )
    assert (trains.document_id, trains.document, trains.heading, trains.pages) == (
        pdf,
        "Timetable",
        "",
        "pages 1 to 2",
    )
    assert [hit.text.startswith(hit.citation.heading) for hit in cited] == [True] * 3


def test_it_takes_one_statement_and_none_without_documents(scene: Any) -> None:
    add(scene)
    remember([scene.embedded("rivers and boats")])
    hits = scene.recall("rivers boats")
    assert {hit.kind for hit in hits} == {"document", "message"}
    with CaptureQueriesContext(connection) as queries:
        assert [hit.id for hit in cite(hits)] == [hit.id for hit in hits]
    assert len(queries) == 1
    with CaptureQueriesContext(connection) as queries:
        assert len(cite([hit for hit in hits if hit.kind == "message"])) == 1
    assert len(queries) == 0


def test_a_document_that_is_replaced_after_recall_shows_nothing_of_its_old_self(scene: Any) -> None:
    add(scene)
    before = scene.recall("rivers boats")
    add(scene, GUIDE.replace("Boats lie", "Ships lie"))

    cited = cite([*before, *scene.recall("ships")])

    assert "Boats lie" not in " ".join(hit.text for hit in cited)
    assert {hit.text.split("\n")[-1] for hit in cited} == {
        "Rivers flow to the sea.",
        "Ships lie at the river.",
    }


def test_what_was_removed_is_gone_and_what_is_in_no_document_has_no_citation(scene: Any) -> None:
    key = add(scene)
    remember([scene.embedded("a note on rivers", kind="document")])
    hits = scene.recall("rivers")
    assert len(hits) == 3
    remove_document(key)

    (cited,) = cite(hits)

    assert (cited.text, cited.citation) == ("a note on rivers", None)


def test_what_stands_twice_is_cited_where_it_stands_first(scene: Any) -> None:
    add(scene, "# A\n\nThe same.\n\n# B\n\nOther.\n\n# A\n\nThe same.\n")
    twice = Memory.objects.get(text="A\nThe same.")
    assert Chunk.objects.filter(memory=twice).count() == 2
    citation = citations_of([twice.pk])[twice.pk]
    assert citation is not None
    assert citation.headings == ("A",)


def test_chunks_that_are_still_being_made_are_in_nobodys_sight(scene: Any, monkeypatch: Any) -> None:
    """Not by recall, whatever way it finds things, since it asks for the scope; and not by a citation."""
    seen: list[tuple[set[str], int]] = []
    publish = indexing._publish

    def look(*arguments: Any) -> int:
        embed_pending()
        hits = cite(scene.recall("rivers boats ships"))
        staged = Memory.objects.filter(scope="nobody")
        assert citations_of(list(staged.values_list("pk", flat=True))) == {}
        assert not Memory.objects.visible_to(scene.agent.id, scene.group.id, scene.ann.id).filter(
            scope="nobody"
        )
        seen.append(({hit.text for hit in hits}, staged.count()))
        return publish(*arguments)

    monkeypatch.setattr(indexing, "_publish", look)
    add(scene)
    add(scene, GUIDE.replace("Boats lie", "Ships lie"))

    old = {"Guide\nRivers flow to the sea.", "Guide › Boats\nBoats lie at the river."}
    assert seen == [(set(), 2), (old, 1)]
