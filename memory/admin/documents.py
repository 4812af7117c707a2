"""The pages of documents: what agents know of files, how far each is, uploading, indexing again, removing.

Everything is done by the verbs of `memory.documents.library`.
"""

from __future__ import annotations

from typing import Any, cast
from uuid import UUID

from django import forms
from django.conf import settings
from django.contrib import admin, messages
from django.core.exceptions import PermissionDenied
from django.db.models import (
    BooleanField,
    Count,
    ExpressionWrapper,
    F,
    Field,
    IntegerField,
    OuterRef,
    Q,
    QuerySet,
    Subquery,
)
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.defaultfilters import filesizeformat
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminFileFieldWidget

from memory.documents.formats import ENDINGS
from memory.documents.indexing import is_cut_as_set
from memory.documents.library import (
    AddedDocument,
    DocumentRefused,
    DocumentSource,
    add_document,
    index_again,
    remove_document,
)
from memory.embeddings.spaces import used_column
from memory.models import Chunk, Document, Memory
from plugins.admin_pages import BigTable, HistoryRows, button, column, link_to, shorten

_STATE_COLOURS = {"in use": "success", "being made": "info", "being replaced": "info"}


class DocumentForm(forms.Form):
    """A file for an agent to know. The page adds the fields `agent` and `room`."""

    file = forms.FileField(
        label="File",
        widget=UnfoldAdminFileFieldWidget(attrs={"accept": ",".join(ENDINGS)}),
        help_text="Text, Markdown, HTML or PDF. A file of the same name takes the place of the one before. It is read"
        " before the page answers; for very long ones there is the command add_documents.",
    )

    def clean_file(self) -> Any:
        """Refuse what is too large before it is read."""
        file = self.cleaned_data["file"]
        if (file.size or 0) > settings.DOCUMENT_MAX_MEGABYTES * 1024 * 1024:
            raise forms.ValidationError(f"It is larger than {settings.DOCUMENT_MAX_MEGABYTES} MB.")
        return file


class ChunkRows(HistoryRows):
    """The chunks of a document that are in use."""

    model = Chunk
    fields = ("memory_link", "place", "pages", "characters", "has_vector")
    readonly_fields = fields
    verbose_name_plural = "chunks"

    def get_queryset(self, request: HttpRequest) -> QuerySet[Chunk]:
        """Leave the vectors, and chunks that are being made, in the database."""
        chunks: QuerySet[Chunk] = super().get_queryset(request)
        is_made = Q(**{f"memory__{used_column()}__isnull": False})
        has_vector = ExpressionWrapper(is_made, output_field=BooleanField())
        return (
            chunks.filter(edition=F("document__edition"))
            .select_related("memory")
            .defer("memory__embedding", "memory__second_embedding", "memory__source_messages")
            .annotate(has_a_vector=has_vector)
        )

    @column("text")
    def memory_link(self, chunk: Chunk) -> SafeString | str:
        """Return a link to the memory that the chunk is."""
        return link_to(Memory, chunk.memory_id, shorten(chunk.memory.text))

    @column("under")
    def place(self, chunk: Chunk) -> str:
        """Return the headings above it."""
        return " › ".join(chunk.headings) or "–"

    @column("pages")
    def pages(self, chunk: Chunk) -> str:
        """Return the page, or the first and the last."""
        if chunk.page is None:
            return "–"
        return (
            str(chunk.page) if chunk.last_page in (None, chunk.page) else f"{chunk.page} to {chunk.last_page}"
        )

    @column("characters")
    def characters(self, chunk: Chunk) -> str:
        """Return where it stands in the document's text."""
        return f"{chunk.start:,} to {chunk.end:,}"

    @column("vector", boolean=True)
    def has_vector(self, chunk: Any) -> bool:
        """Tell whether it has its vector."""
        return bool(chunk.has_a_vector)


@admin.register(Document)
class DocumentAdmin(BigTable):
    """Documents of agents: read here, added as files, indexed again, removed with their chunks."""

    list_per_page = 25
    list_display = (
        "title",
        "state",
        "agent",
        "room",
        "format",
        "page_count",
        "chunk_count",
        "vectors",
        "indexed_at",
    )
    list_filter = ("agent", "format", "origin")
    list_select_related = ("agent", "room")
    list_defer = ("agent__settings", "agent__apology")
    search_fields = ("title", "name")
    id_search_fields = ("pk", "room")
    autocomplete_fields = ("agent", "room")
    fields = (
        ("title", "state"),
        "name",
        ("agent", "room"),
        ("origin", "format"),
        ("size", "page_count"),
        ("chunk_count", "vectors"),
        "is_as_set",
        ("created_at", "indexed_at"),
    )
    readonly_fields = ("state", "size", "vectors", "is_as_set", "created_at")
    inlines = (ChunkRows,)
    actions_detail = ("index",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Document]:
        """Count the chunks that have vectors, and those that are being made."""
        documents: QuerySet[Document] = super().get_queryset(request)
        chunks = Chunk.objects.filter(document=OuterRef("pk"))
        with_vector = {f"memory__{used_column()}__isnull": False}
        in_use = chunks.filter(edition=OuterRef("edition"), **with_vector)
        return documents.annotate(
            vector_total=_count(in_use), staged_total=_count(chunks.exclude(edition=OuterRef("edition")))
        )

    def has_change_permission(self, _request: HttpRequest, _obj: Any = None) -> bool:
        """Allow nobody: a document says what its file says."""
        return False

    def has_index_permission(self, request: HttpRequest, _obj: Any = None) -> bool:
        """Allow those who may change documents."""
        return bool(request.user.has_perm("memory.change_document"))

    @column("state", label=_STATE_COLOURS)
    def state(self, document: Any) -> str | tuple[str, str]:
        """Return whether it is in use, or being made, and how far it is."""
        if not document.staged_total:
            return "in use" if document.edition else "being made"
        name = "being replaced" if document.edition else "being made"
        return name, f"{name}: {document.staged_total:,} chunks so far"

    @column("vectors")
    def vectors(self, document: Any) -> str:
        """Return how many chunks have vectors, of how many."""
        return f"{document.vector_total or 0:,} of {document.chunk_count:,}"

    @column("size")
    def size(self, document: Document) -> str:
        """Return the file's size."""
        return filesizeformat(document.byte_count)

    @column("cut as the settings say", boolean=True)
    def is_as_set(self, document: Document) -> bool:
        """Tell whether indexing it again would cut it in the same way."""
        return is_cut_as_set(document)

    # Adding -----------------------------------------------------------------------------------------------

    def add_view(
        self, request: HttpRequest, _form_url: str = "", extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Take a file, read it, and say where it can't be. No transaction is open meanwhile."""
        if not self.has_add_permission(request):
            raise PermissionDenied
        is_sent = request.method == "POST"
        form = DocumentForm(request.POST, request.FILES) if is_sent else DocumentForm()
        for name in ("agent", "room"):
            column_of = cast("Field[Any, Any]", Document._meta.get_field(name))
            field = self.formfield_for_dbfield(column_of, request)
            assert field is not None
            form.fields[name] = field
        form.fields["room"].help_text = "Empty: it is known wherever the agent speaks."
        form.order_fields(["file", "agent", "room"])
        if form.is_valid() and (added := self._add(request, form)) is not None:
            return HttpResponseRedirect(reverse("admin:memory_document_change", args=[added.document_id]))
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Add a document",
            "form": form,
            "media": self.media + form.media,
            **(extra_context or {}),
        }
        return TemplateResponse(request, "memory/admin/add_document.html", context)

    def _add(self, request: HttpRequest, form: DocumentForm) -> AddedDocument | None:
        file, room = form.cleaned_data["file"], form.cleaned_data["room"]
        source = DocumentSource(name=file.name, file=file.file, origin=Document.Origin.UPLOAD.value)
        try:
            added = add_document(form.cleaned_data["agent"].pk, source, room_id=room.pk if room else None)
        except DocumentRefused as error:
            form.add_error("file", f"{file.name}: {error}.")
            return None
        self._tell(request, added)
        return added

    def _tell(self, request: HttpRequest, added: AddedDocument) -> None:
        document = Document.objects.get(pk=added.document_id or UUID(int=0))
        note = f" ({added.note})" if added.note else ""
        chunks = f"{added.chunk_count} chunk{'' if added.chunk_count == 1 else 's'}"
        said = f"{added.outcome}, {chunks}, {added.new_chunk_count} of them new{note}"
        if added.outcome != "unchanged":
            self.log_change(request, document, f"{said[0].upper()}{said[1:]}.")
        messages.success(request, f"{document}: {said}. Vectors are made in the background.")

    # Indexing again, removing -----------------------------------------------------------------------------

    @button(
        "Index again",
        permissions=["index"],
        icon="refresh",
        url_path="index",
        dialog={
            "title": "Index this document again?",
            "description": "Its file is read and cut as the settings are now. What was cut off is completed.",
            "form_class": None,
            "form_submit_text": "Index again",
        },
    )
    def index(self, request: HttpRequest, _form: Any, object_id: str) -> HttpResponse:
        """Index the kept file as the settings are now."""
        document = self.get_object(request, object_id)
        if document is None:
            raise Http404(f"There is no document {object_id}.")
        try:
            self._tell(request, index_again(document.pk))
        except DocumentRefused as error:
            messages.error(request, f"{document}: {error}.")
        # A first attempt that fails leaves no document.
        is_there = Document.objects.filter(pk=document.pk).exists()
        page, arguments = ("change", [document.pk]) if is_there else ("changelist", [])
        return HttpResponse(headers={"HX-Redirect": reverse(f"admin:memory_document_{page}", args=arguments)})

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Tell what goes in one line a document: its chunks may be thousands."""
        listed = [f"{document}: {document.chunk_count:,} chunks" for document in objs]
        missing = set() if self.has_delete_permission(request) else {Document._meta.verbose_name}
        return listed, {"documents": len(listed)}, missing, []

    def delete_model(self, _request: HttpRequest, obj: Document) -> None:
        """Remove a document with its chunks."""
        remove_document(obj.pk)

    def delete_queryset(self, _request: HttpRequest, queryset: QuerySet[Document]) -> None:
        """Remove the chosen documents with their chunks."""
        keys: list[UUID] = list(queryset.values_list("pk", flat=True))
        for key in keys:
            remove_document(key)


def _count(chunks: QuerySet[Chunk]) -> Subquery:
    counted = chunks.order_by().values("document").annotate(number=Count("pk")).values("number")
    return Subquery(counted, output_field=IntegerField())
