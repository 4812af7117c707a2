"""The pages of the audit: who decided what, and why. Nothing can be changed in them."""

from __future__ import annotations

from django.contrib import admin
from django.utils.safestring import SafeString

from agents.models import AuditEntry
from plugins.admin_pages import BigTable, ReadOnly, column, shorten, show_json, show_text


@admin.register(AuditEntry)
class AuditEntryAdmin(ReadOnly, BigTable):
    """What people decided."""

    list_display = ("at", "actor", "verb", "object_kind", "object_id", "beginning")
    list_filter = ("verb", "object_kind")
    search_fields = ("actor",)
    search_help_text = "The id of what was decided on, or a part of a name."
    id_search_fields = ("object_id",)
    fields = (("at", "actor"), "verb", ("object_kind", "object_id"), "whole_reason", "shown_details")
    readonly_fields = ("whole_reason", "shown_details")

    @column("reason")
    def beginning(self, entry: AuditEntry) -> str:
        """Return how the reason begins."""
        return shorten(entry.reason)

    @column("reason")
    def whole_reason(self, entry: AuditEntry) -> SafeString:
        """Return the reason, line by line."""
        return show_text(entry.reason)

    @column("details")
    def shown_details(self, entry: AuditEntry) -> SafeString | str:
        """Return the details as JSON."""
        return show_json(entry.details) if entry.details else "–"
