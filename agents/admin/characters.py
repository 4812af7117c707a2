"""The pages of characters: a readable form, files in and out, versions. Saving goes by `save_character`."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db import transaction
from django.db.models import Count, Model, QuerySet
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminFileFieldWidget

from agents.admin.character_form import CharacterForm, name_secrets, other_keys
from agents.admin.knowledge import keep_words
from agents.characters import (
    CharacterConflictError,
    CharacterFileError,
    export_character,
    parse_character,
    remarks,
    save_character,
    stored_document,
)
from agents.characters.reading import MAX_BYTES
from agents.fields import EncryptionKeyError
from agents.models import Agent, Character, CharacterVersion
from plugins.admin_pages import HistoryRows, Page, button, column, link_to, show_json, show_text


class CharacterFileForm(forms.Form):
    """A character file to be read."""

    file = forms.FileField(
        label="Character file",
        widget=UnfoldAdminFileFieldWidget(attrs={"accept": ".json,application/json"}),
        help_text="elizaOS' JSON, of its 0.25, 1.x or 2.x line. A character of the same id or name gets "
        "a new version; nothing is saved where anything is wrong.",
    )


class VersionRows(HistoryRows):
    """A character's versions; each has a page that shows what it changed."""

    model = CharacterVersion
    fields = ("version_link", "created_at")
    readonly_fields = fields
    verbose_name_plural = "versions"

    def get_queryset(self, request: HttpRequest) -> QuerySet[CharacterVersion]:
        """Leave the documents in the database."""
        return super().get_queryset(request).defer("document")

    @column("version")
    def version_link(self, version: CharacterVersion) -> SafeString | str:
        """Return a link to what the version changed."""
        return link_to(CharacterVersion, version.pk, f"version {version.number}")


class AgentRows(HistoryRows):
    """The agents that are this character at work."""

    model = Agent
    fields = ("agent_link", "status", "slug", "created_at")
    readonly_fields = fields
    verbose_name_plural = "agents"

    @column("agent")
    def agent_link(self, agent: Agent) -> SafeString | str:
        """Return a link to the agent."""
        return link_to(Agent, agent.pk, agent.name)


@admin.register(Character)
class CharacterAdmin(Page):
    """Characters: the form, import, export, versions."""

    form = CharacterForm
    list_defer = ("document", "secrets")
    list_display = ("name", "slug", "version", "agent_count", "updated_at")
    search_fields = ("name", "slug")
    ordering = ("name",)
    readonly_fields = ("kept_secrets", "everything_else", "version", "created_at", "updated_at")
    inlines = (AgentRows, VersionRows)
    actions_list = ("import_file",)
    actions_detail = ("export_file",)
    warn_unsaved_form = True
    fieldsets = (
        (None, {"fields": (("name", "username"), "slug", "system", "bio", "lore", ("topics", "adjectives"))}),
        ("Style", {"fields": ("style_all", "style_chat", "style_post")}),
        ("Examples", {"fields": ("message_examples", "post_examples")}),
        ("Knowledge and plugins", {"fields": (("knowledge", "plugins"),)}),
        ("Templates and settings", {"fields": ("templates", "settings")}),
        ("Secrets", {"fields": ("kept_secrets", "new_secrets")}),
        (
            "What else its file has",
            {
                "fields": ("everything_else", "version", ("created_at", "updated_at")),
                "classes": ("collapse",),
            },
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Character]:
        """Count the agents of each."""
        characters: QuerySet[Character] = super().get_queryset(request)
        return characters.annotate(agent_total=Count("agents"))

    @column("agents", ordering="agent_total")
    def agent_count(self, character: Any) -> int:
        """Return how many agents are this character."""
        return int(character.agent_total)

    @column("kept secrets")
    def kept_secrets(self, character: Character) -> SafeString | str:
        """Return the names of the secrets that are kept."""
        names = name_secrets(character.secrets or {})
        return show_text("\n".join(names)) if names else "none"

    @column("other keys")
    def everything_else(self, character: Character) -> SafeString | str:
        """Return what the form doesn't know; it is kept as it is."""
        rest = other_keys(character.document or {})
        return show_json(rest) if rest else "nothing"

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> Any:
        """Show the form; where id, name and slug turn out to be of several characters, say so."""
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except CharacterConflictError as error:
            messages.error(request, str(error))
            return HttpResponseRedirect(request.path)

    def save_model(self, request: HttpRequest, obj: Character, form: Any, change: bool) -> None:
        """Save by the verb that makes the version and encrypts the secrets."""
        saved = save_character(
            form.cleaned_document, slug=form.cleaned_data["slug"] or None, character=obj if change else None
        )
        for field in Character._meta.concrete_fields:
            setattr(obj, field.attname, getattr(saved, field.attname))
        # The page is saved in a transaction, in which no file is read.
        transaction.on_commit(lambda: keep_words(request, saved))

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Let versions go with their character, though nobody deletes one of them alone."""
        objects, counts, missing, protected = super().get_deleted_objects(objs, request)
        missing.discard(CharacterVersion._meta.verbose_name)
        return objects, counts, missing, protected

    def has_import_permission(self, request: HttpRequest, _obj: Model | None = None) -> bool:
        """Allow those who may both add and change: a file may do either."""
        return self.has_add_permission(request) and self.has_change_permission(request)

    @button("Import a file", permissions=["import"], icon="upload", url_path="import")
    def import_file(self, request: HttpRequest) -> HttpResponse:
        """Read an uploaded character file; every fault of it is named, and then nothing is saved."""
        form = CharacterFileForm(request.POST or None, request.FILES or None)
        if request.method == "POST" and form.is_valid():
            upload = form.cleaned_data["file"]
            try:
                # One byte more than is allowed is enough to refuse a file of any size.
                document = parse_character(upload.read(MAX_BYTES + 1), source=upload.name)
                character = save_character(document)
            except CharacterFileError as error:
                form.add_error("file", [str(fault) for fault in error.faults])
            except (CharacterConflictError, EncryptionKeyError) as error:
                form.add_error("file", str(error))
            else:
                keep_words(request, character)
                for remark in remarks(document):
                    messages.warning(request, f"{character.name}: {remark}.")
                self.log_change(request, character, f"Imported from {upload.name}.")
                messages.success(request, f"{character.name} is saved as version {character.version}.")
                return HttpResponseRedirect(reverse("admin:agents_character_change", args=[character.pk]))
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": "Import a character",
            "form": form,
        }
        return TemplateResponse(request, "agents/admin/import_character.html", context)

    @button("Export as JSON", permissions=["view"], icon="download", url_path="export")
    def export_file(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Give the character as a file, without its secrets."""
        character = self.get_object(request, object_id)
        if character is None:
            return HttpResponseRedirect(reverse("admin:agents_character_changelist"))
        text = json.dumps(export_character(stored_document(character)), indent=2, ensure_ascii=False)
        return HttpResponse(
            text + "\n",
            content_type="application/json; charset=utf-8",
            headers={"Content-Disposition": f'attachment; filename="{character.slug}.character.json"'},
        )
