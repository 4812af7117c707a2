"""The pages of character versions: what each changed, and the way back to it."""

from __future__ import annotations

import difflib
import json
from typing import Any

from django.contrib import admin, messages
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from agents.admin.knowledge import keep_words
from agents.characters import CharacterConflictError, CharacterDocument, save_character
from agents.models import CharacterVersion
from plugins.admin_pages import Page, ReadOnly, button, column, link_to, show_json

_CONTEXT_LINES = 2
_CLASSES = {"+": "eliza-added", "-": "eliza-removed", "@": "eliza-place"}


@admin.register(CharacterVersion)
class CharacterVersionAdmin(ReadOnly, Page):
    """What a character was at each save."""

    list_display = ("character", "number", "created_at")
    list_defer = ("document", "character__document", "character__secrets")
    search_fields = ("character__name",)
    id_search_fields = ("pk", "character")
    ordering = ("-created_at",)
    fields = (("character_link", "created_at"), "changes", "changes_back", "whole")
    readonly_fields = ("character_link", "created_at", "changes", "changes_back", "whole")
    actions_detail = ("restore",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[CharacterVersion]:
        """Bring the character along, which every page shows."""
        return super().get_queryset(request).select_related("character")

    def has_restore_permission(self, request: HttpRequest, _obj: Model | str | None = None) -> bool:
        """Allow those who may change characters."""
        return bool(request.user.has_perm("agents.change_character"))

    @column("character")
    def character_link(self, version: CharacterVersion) -> SafeString | str:
        """Return a link to the character."""
        return link_to(type(version.character), version.character_id, version.character)

    @column("changed since the version before")
    def changes(self, version: CharacterVersion) -> SafeString:
        """Return what this version added and removed."""
        before = (
            CharacterVersion.objects.filter(character=version.character_id, number__lt=version.number)
            .order_by("-number")
            .first()
        )
        return show_changes(before.document if before else {}, version.document)

    @column("what restoring it would change")
    def changes_back(self, version: CharacterVersion) -> SafeString:
        """Return what differs from the character as it is now."""
        return show_changes(version.character.document, version.document)

    @column("the whole document")
    def whole(self, version: CharacterVersion) -> SafeString:
        """Return the document as JSON."""
        return show_json(version.document)

    @button(
        "Restore this version",
        permissions=["restore"],
        icon="restore",
        url_path="restore",
        dialog={
            "title": "Restore this version?",
            "description": "The character becomes what it was then, as a new version. Its secrets stay.",
            "form_class": None,
            "form_submit_text": "Restore",
        },
    )
    def restore(self, request: HttpRequest, _form: Any, object_id: str) -> HttpResponse:
        """Save the old document as the newest version."""
        version = self.get_object(request, object_id)
        if version is None:
            raise Http404(f"There is no version {object_id}.")
        document = CharacterDocument(content=version.document, source=str(version))
        try:
            character = save_character(document, character=version.character)
        except CharacterConflictError as error:
            messages.error(request, str(error))
        else:
            keep_words(request, character)
            self.log_change(request, character, f"Restored version {version.number}.")
            messages.success(
                request,
                f"{character.name} is again what it was as version {version.number}; "
                f"the newest version is {character.version}.",
            )
        address = reverse("admin:agents_character_change", args=[version.character_id])
        return HttpResponse(headers={"HX-Redirect": address})


def show_changes(before: dict[str, Any], after: dict[str, Any]) -> SafeString:
    """Show two documents' differences, line by line."""
    lines = list(difflib.unified_diff(_as_lines(before), _as_lines(after), lineterm="", n=_CONTEXT_LINES))[2:]
    if not lines:
        return SafeString("nothing")
    shown = format_html_join(
        "", '<span class="{}">{}\n</span>', ((_CLASSES.get(line[0], "eliza-same"), line) for line in lines)
    )
    return format_html('<pre class="eliza-text eliza-changes">{}</pre>', shown)


def _as_lines(document: dict[str, Any]) -> list[str]:
    return json.dumps(document, indent=2, ensure_ascii=False, sort_keys=True).splitlines()
