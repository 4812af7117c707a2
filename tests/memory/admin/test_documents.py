"""The pages of documents: uploading, what is refused, progress, indexing again, removing."""

from __future__ import annotations

from typing import Any

import pytest
from django.contrib.admin.models import LogEntry
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from memory.documents import indexing
from memory.models import Chunk, Document, DocumentPart, Memory
from memory.writes import embed_pending
from tests.doubles.pdfs import make_pdf

pytestmark = pytest.mark.django_db

LIST = reverse("admin:memory_document_changelist")
ADD = reverse("admin:memory_document_add")
GUIDE = b"# Guide\n\nRivers flow to the sea.\n\n## Boats\n\nBoats lie at the river.\n"


@pytest.fixture(autouse=True)
def _no_wakeups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "wake_embedding", lambda: False)


def page(document: Document) -> str:
    return reverse("admin:memory_document_change", args=[document.pk])


def index_page(document: Document) -> str:
    return reverse("admin:memory_document_index", args=[document.pk])


def upload(client: Any, scene: Any, content: bytes = GUIDE, name: str = "guide.md", **more: Any) -> Any:
    file = SimpleUploadedFile(name, content)
    return client.post(ADD, {"file": file, "agent": scene.agent.pk, "room": "", **more}, follow=True)


def told(response: Any) -> list[str]:
    return [str(message) for message in response.context["messages"]]


def test_an_upload_becomes_a_document_and_its_page_shows_how_far_it_is(admin_client: Any, scene: Any) -> None:
    response = upload(admin_client, scene)

    document = Document.objects.get()
    assert response.redirect_chain == [(page(document), 302)]
    assert told(response) == ["Guide: added, 2 chunks, 2 of them new. Vectors are made in the background."]
    assert (document.origin, document.name, document.agent_id) == ("upload", "guide.md", scene.agent.pk)
    assert "0 of 2" in response.content.decode()
    embed_pending()
    shown = admin_client.get(page(document)).content.decode()
    assert "2 of 2" in shown
    assert "Guide › Boats" in shown
    assert (
        reverse("admin:memory_memory_change", args=[Memory.objects.get(text__contains="Boats lie").pk])
        in shown
    )
    assert LogEntry.objects.get().get_change_message() == "Added, 2 chunks, 2 of them new."


def test_the_same_upload_again_changes_nothing_and_a_changed_one_replaces(
    admin_client: Any, scene: Any
) -> None:
    upload(admin_client, scene)
    assert "Guide: unchanged" in told(upload(admin_client, scene))[0]
    response = upload(admin_client, scene, GUIDE.replace(b"Boats lie", b"Ships lie"))
    assert "Guide: replaced, 2 chunks, 1 of them new" in told(response)[0]
    assert Document.objects.count() == 1


def test_an_upload_for_a_room_is_known_there(admin_client: Any, scene: Any) -> None:
    upload(admin_client, scene, room=scene.group.pk)
    assert Document.objects.get().room_id == scene.group.pk
    assert set(Memory.objects.values_list("scope", flat=True)) == {"room"}


@pytest.mark.parametrize(
    ("content", "name", "reason"),
    [
        (b"\x89PNG\0", "a.md", "a.md: it is neither text nor a PDF"),
        (b"text", "a.pdf", "a.pdf: it is named as a PDF and is none"),
        (make_pdf(["x"], password="secret"), "a.pdf", "a.pdf: it is encrypted: save it without a password."),
        (b" ", "a.txt", "a.txt: it has no text."),
        (b"x" * (1024 * 1024 + 1), "a.txt", "It is larger than 1 MB."),
        (b"", "a.txt", "The submitted file is empty."),
    ],
)
def test_what_cannot_be_read_is_said_at_its_field_and_nothing_is_kept(
    admin_client: Any, scene: Any, settings: Any, content: bytes, name: str, reason: str
) -> None:
    settings.DOCUMENT_MAX_MEGABYTES = 1

    response = upload(admin_client, scene, content, name)

    assert response.status_code == 200
    assert reason in str(response.context["form"].errors["file"])
    assert not Document.objects.exists()
    assert not Memory.objects.exists()


def test_a_name_that_says_another_format_does_not_matter(admin_client: Any, scene: Any) -> None:
    upload(admin_client, scene, make_pdf(["A page."]), "notes.txt")
    assert Document.objects.get().format == "pdf"


def test_a_large_upload_comes_from_the_disk(admin_client: Any, scene: Any, settings: Any) -> None:
    settings.FILE_UPLOAD_MAX_MEMORY_SIZE = 10
    upload(admin_client, scene)
    assert Chunk.objects.count() == 2
    assert b"".join(map(bytes, DocumentPart.objects.values_list("content", flat=True))) == GUIDE


def test_the_form_needs_an_agent_and_a_file(admin_client: Any, scene: Any) -> None:
    response = admin_client.post(ADD, {})
    assert set(response.context["form"].errors) == {"file", "agent"}
    assert "Empty: it is known wherever the agent speaks." in admin_client.get(ADD).content.decode()
    for field in ("agent", "room"):
        asked = {"app_label": "memory", "model_name": "document", "field_name": field, "term": ""}
        assert admin_client.get(reverse("admin:autocomplete"), asked).json()["results"]


def test_what_is_being_made_is_shown_and_can_be_completed(
    admin_client: Any, scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def cut_off(*_arguments: Any) -> int:
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(indexing, "_publish", cut_off)
        with pytest.raises(KeyboardInterrupt):
            upload(admin_client, scene)
    document = Document.objects.get()
    assert "being made: 2 chunks so far" in admin_client.get(LIST).content.decode()

    response = admin_client.post(index_page(document), {"_form_submitted": "on"})

    assert response["HX-Redirect"] == page(document)
    shown = admin_client.get(LIST).content.decode()
    assert "in use" in shown
    assert "being made" not in shown
    assert set(Memory.objects.values_list("scope", flat=True)) == {"agent"}


def test_it_is_indexed_again_as_the_settings_are_now(admin_client: Any, scene: Any, settings: Any) -> None:
    upload(admin_client, scene)
    document = Document.objects.get()
    settings.DOCUMENT_CHUNK_TOKENS = 100
    before = document.edition

    admin_client.post(index_page(document), {"_form_submitted": "on"})

    document.refresh_from_db()
    assert document.edition != before
    DocumentPart.objects.all().delete()
    settings.DOCUMENT_CHUNK_TOKENS = 150
    admin_client.post(index_page(document), {"_form_submitted": "on"})
    assert "Guide: its file was not stored to its end: add it again." in told(admin_client.get(LIST))
    assert Chunk.objects.count() == 2


def test_a_removed_document_leaves_nothing_one_or_many(admin_client: Any, scene: Any) -> None:
    upload(admin_client, scene)
    asked = admin_client.get(reverse("admin:memory_document_delete", args=[Document.objects.get().pk]))
    assert "Guide: 2 chunks" in asked.content.decode()

    admin_client.post(
        reverse("admin:memory_document_delete", args=[Document.objects.get().pk]), {"post": "yes"}
    )

    assert not any(model.objects.exists() for model in (Document, DocumentPart, Chunk, Memory))
    upload(admin_client, scene)
    upload(admin_client, scene, b"Another.", "other.txt")
    keys = list(Document.objects.values_list("pk", flat=True))
    admin_client.post(LIST, {"action": "delete_selected", "_selected_action": keys, "post": "yes"})
    assert not any(model.objects.exists() for model in (Document, DocumentPart, Chunk, Memory))


def test_seeing_documents_is_no_permission_to_add_index_or_remove_them(
    client: Any, admin_client: Any, scene: Any
) -> None:
    upload(admin_client, scene)
    document = Document.objects.get()
    reader = User.objects.create_user("reader", is_staff=True)
    reader.user_permissions.add(Permission.objects.get(codename="view_document"))
    client.force_login(reader)

    assert client.get(page(document)).status_code == 200
    assert client.get(ADD).status_code == 403
    assert upload(client, scene).status_code == 403
    assert client.post(index_page(document), {"_form_submitted": "on"}).status_code == 403
    assert (
        client.post(reverse("admin:memory_document_delete", args=[document.pk]), {"post": "yes"}).status_code
        == 403
    )
    assert client.post(page(document), {"title": "else"}).status_code == 403
    assert Chunk.objects.count() == 2


def test_what_a_file_says_is_shown_as_text(admin_client: Any, scene: Any) -> None:
    attack = b"# <script>alert(1)</script>\n\n<b onclick=x()>Bold</b> &amp; <script>alert(2)</script>\n"
    upload(admin_client, scene, attack)
    shown = admin_client.get(page(Document.objects.get())).content.decode()
    assert "<script>alert" not in shown
    assert "onclick=x()>" not in shown
