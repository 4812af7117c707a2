"""The pages of connections to networks, whose secrets are written and never shown, and of API keys."""

from __future__ import annotations

import json
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db import transaction
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils import timezone
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextareaWidget

from agents.agents import renew
from agents.people.senders import note_agent_account
from plugins.admin_pages import Page, column
from transports.models import ApiKey, Connection
from transports.registry import TRANSPORTS, get_transport
from transports.web.auth import create_api_key


class ConnectionForm(forms.ModelForm):  # type: ignore[type-arg]
    """A connection, with a field that takes secrets and shows none."""

    transport = forms.ChoiceField(
        choices=[(name, name) for name in sorted(TRANSPORTS)], widget=UnfoldAdminSelectWidget()
    )
    new_secrets = forms.CharField(
        label="Replace secrets",
        required=False,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3, "class": "eliza-code"}),
        help_text='A JSON object, such as {"token": "…"}: each replaces the secret of that name or is added; '
        "null forgets it. Empty keeps all as they are. What is kept is never shown.",
    )

    class Meta:
        model = Connection
        fields = ("agent", "platform", "transport", "name", "external_id", "settings", "is_enabled")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        chosen = self.instance.transport
        field = self.fields.get("transport")
        if isinstance(field, forms.ChoiceField) and chosen and chosen not in TRANSPORTS:
            names = [(name, name) for name in sorted(TRANSPORTS)]
            field.choices = [*names, (chosen, f"{chosen} (not installed)")]

    def clean_settings(self) -> dict[str, Any]:
        """Take an object, or nothing."""
        given = self.cleaned_data["settings"] or {}
        if not isinstance(given, dict):
            raise forms.ValidationError('Settings are a JSON object: write {"name": …}.')
        return given

    def clean_new_secrets(self) -> dict[str, Any]:
        """Take a JSON object, or nothing."""
        given = self.cleaned_data["new_secrets"].strip()
        try:
            secrets = json.loads(given) if given else {}
        except ValueError as error:
            raise forms.ValidationError(f"This is no JSON: {error}.") from None
        if not isinstance(secrets, dict):
            raise forms.ValidationError('Secrets are a JSON object: write {"name": "…"}.')
        return secrets


@admin.register(Connection)
class ConnectionAdmin(Page):
    """Agents' accounts on networks."""

    form = ConnectionForm
    list_display = ("__str__", "agent", "platform", "transport", "external_id", "is_enabled", "created_at")
    list_filter = ("platform", "transport", "is_enabled", "agent")
    list_select_related = ("agent",)
    list_defer = ("secrets", "settings", "agent__settings")
    search_fields = ("name", "external_id", "agent__name")
    id_search_fields = ("pk", "agent")
    ordering = ("-created_at",)
    autocomplete_fields = ("agent",)
    fields = (
        ("agent", "is_enabled"),
        ("platform", "transport"),
        ("name", "external_id"),
        ("kept_secrets", "new_secrets"),
        "settings",
        ("supports_streaming", "created_at"),
    )
    readonly_fields = ("kept_secrets", "supports_streaming", "created_at")

    @column("kept secrets")
    def kept_secrets(self, connection: Connection) -> str:
        """Return the names of the secrets that are kept."""
        return ", ".join(sorted(connection.secrets or {})) or "none"

    def has_delete_permission(self, request: HttpRequest, obj: Connection | None = None) -> bool:
        """Allow it where nothing was said yet; one with a history is disabled instead."""
        if not super().has_delete_permission(request, obj):
            return False
        return not isinstance(obj, Connection) or not obj.messages.exists()

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Offer no deletion of many: messages go with their connection."""
        actions: dict[str, Any] = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    def save_model(self, request: HttpRequest, obj: Connection, form: Any, change: bool) -> None:
        """Save the connection with its secrets, and let workers read its agent anew."""
        secrets = {**(obj.secrets or {}), **form.cleaned_data["new_secrets"]}
        obj.secrets = {name: secret for name, secret in secrets.items() if secret is not None}
        if obj.transport in TRANSPORTS:
            obj.supports_streaming = get_transport(obj.transport).supports_streaming
        with transaction.atomic():
            super().save_model(request, obj, form, change)
            renew(obj.agent_id)
            note_agent_account(obj.platform, obj.external_id)

    def delete_model(self, request: HttpRequest, obj: Connection) -> None:
        """Delete the connection, and let workers read its agent anew."""
        with transaction.atomic():
            super().delete_model(request, obj)
            renew(obj.agent_id)


@admin.register(ApiKey)
class ApiKeyAdmin(Page):
    """Programs' keys: which there are, making one and revoking them."""

    list_display = ("name", "prefix", "user", "created_at", "revoked_at")
    list_select_related = ("user",)
    search_fields = ("name", "prefix", "user__username")
    ordering = ("-id",)
    fields = (("name", "prefix"), "user", ("created_at", "revoked_at"))
    add_fieldsets = ((None, {"fields": ("name", "user")}),)
    autocomplete_fields = ("user",)
    actions = ("revoke",)

    def get_readonly_fields(self, _request: HttpRequest, obj: ApiKey | None = None) -> tuple[str, ...]:
        """Leave only the name to be changed once the key is made."""
        return ("prefix", "created_at", "revoked_at", *(("user",) if obj else ()))

    def save_model(self, request: HttpRequest, obj: ApiKey, form: Any, change: bool) -> None:
        """Make a key and show it, this once, or save its new name."""
        if change:
            super().save_model(request, obj, form, change)
            return
        key = create_api_key(obj.name, obj.user)
        made = ApiKey.objects.get(prefix=key.split("_")[1])
        obj.pk, obj.prefix = made.pk, made.prefix
        messages.warning(request, f"Copy the key now, it is never shown again: {key}")

    def has_delete_permission(self, _request: HttpRequest, _obj: Model | None = None) -> bool:
        """Allow nobody: a key is revoked, and its row tells that it was."""
        return False

    @admin.action(description="Revoke the selected keys", permissions=["change"])
    def revoke(self, request: HttpRequest, keys: QuerySet[ApiKey]) -> None:
        """Revoke them."""
        count = keys.filter(revoked_at__isnull=True).update(revoked_at=timezone.now())
        self.message_user(request, f"{count} revoked.")
