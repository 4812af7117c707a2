"""A turn that knows documents: the prompt quotes them with their place, and the trace shows it."""

from __future__ import annotations

import io
import json
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from agents import work
from agents.inbox import receive
from agents.llm.scripted import ScriptedModel
from memory.documents import indexing
from memory.documents.library import DocumentSource, add_document, remove_document
from memory.writes import embed_pending
from tests.doubles.pdfs import make_pdf
from transports.delivery import deliver_room

PAGES = ["Opening words.", "Absence\nWho falls ill tells the team lead before nine."]
QUOTE = '- "Handbook", "Absence", page 2: "Who falls ill tells the team lead before nine."'


@pytest.fixture
def handbook(agent: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.setattr(indexing, "wake_embedding", lambda: False)
    raw = make_pdf(PAGES, outline=[(1, "Absence", 2)], title="Handbook")
    added = add_document(agent.pk, DocumentSource(name="handbook.pdf", file=io.BytesIO(raw)))
    embed_pending()
    return added.document_id


def ask(incoming: Any, text: str = "What does who falls ill tell the team lead?", **more: Any) -> Any:
    receipt = receive(incoming(text, **more))
    work.drain_lane(receipt.lane_id)
    return receipt


def show(turn_id: Any, *options: str) -> str:
    out = io.StringIO()
    call_command("show_turn", str(turn_id), *options, stdout=out)
    return out.getvalue()


def test_the_prompt_quotes_the_document_with_its_heading_and_page(
    incoming: Any, model: ScriptedModel, handbook: Any
) -> None:
    ask(incoming)
    (system, *_rest) = model.requests[-1].messages
    assert QUOTE in system.content.splitlines()
    assert "What you remember" not in system.content, "it is told once"


def test_show_turn_says_where_each_piece_stands(incoming: Any, model: Any, handbook: Any) -> None:
    turn_id = ask(incoming).turn_id

    hits = json.loads(show(turn_id, "--json"))["memories"]
    assert hits[0]["citation"] == {
        "document": "Handbook",
        "document_id": str(handbook),
        "name": "handbook.pdf",
        "headings": ["Absence"],
        "page": 2,
        "last_page": 2,
    }
    assert "Handbook, Absence, page 2" in show(turn_id)
    remove_document(handbook)
    assert json.loads(show(turn_id, "--json"))["memories"][0]["citation"] is None


def test_a_turn_with_documents_costs_at_most_fourteen_statements(
    incoming: Any, model: ScriptedModel, connection: Any, handbook: Any
) -> None:
    def whole_way() -> list[str]:
        with CaptureQueriesContext(database) as captured:
            receipt = ask(incoming)
            deliver_room(connection.pk, receipt.room_id)
        return [
            query["sql"]
            for query in captured
            if not query["sql"].startswith(("SAVEPOINT", "RELEASE SAVEPOINT"))
        ]

    whole_way()
    statements = whole_way()
    assert QUOTE in model.requests[-1].messages[0].content
    assert len(statements) <= 14, "\n".join(statements)


def test_a_document_that_is_gone_since_recall_is_not_told(
    incoming: Any, model: ScriptedModel, handbook: Any, monkeypatch: Any
) -> None:
    from agents.pipeline import recall as step

    found = step.recall

    def removed(query: Any, **given: Any) -> Any:
        recollection = found(query, **given)
        remove_document(handbook)
        assert recollection.memories
        return recollection

    monkeypatch.setattr(step, "recall", removed)
    ask(incoming)
    assert "falls ill" not in model.requests[-1].messages[0].content


def test_a_rooms_document_is_told_in_that_room_alone(
    incoming: Any, model: ScriptedModel, agent: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(indexing, "wake_embedding", lambda: False)
    room_id = ask(incoming, "Hello", room="kitchen", room_type="GROUP", is_addressed=True).room_id
    source = DocumentSource(name="a.txt", file=io.BytesIO(b"The key hangs behind the door."))
    add_document(agent.pk, source, room_id=room_id)
    embed_pending()

    ask(incoming, "Where hangs the key of the door?", room="kitchen", room_type="GROUP", is_addressed=True)
    assert "behind the door" in model.requests[-1].messages[0].content
    ask(incoming, "Where hangs the key of the door?")
    assert "behind the door" not in model.requests[-1].messages[0].content
