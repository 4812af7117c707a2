"""The pages of approvals: what waits for a person, and what was decided, by whom and why."""

from __future__ import annotations

from django import forms
from django.contrib import admin
from django.db.models import Case, IntegerField, Model, QuerySet, Value, When
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString

from agents.admin.reasons import Decisions, dialog
from agents.approvals import grant, mark_done, refuse
from agents.models import Approval, Message, Turn
from plugins.admin_pages import (
    BigTable,
    ReadOnly,
    button,
    column,
    link_to,
    shorten,
    show_json,
    show_text,
)

APPROVAL_COLOURS = {
    Approval.State.PENDING: "warning",
    Approval.State.GRANTED: "success",
    Approval.State.REFUSED: "danger",
    Approval.State.DONE: "success",
    Approval.State.EXPIRED: "danger",
}


@admin.register(Approval)
class ApprovalAdmin(Decisions, ReadOnly, BigTable):
    """What waits for a person stands first."""

    list_display = (
        "action",
        "coloured_state",
        "kind",
        "asked_with",
        "agent",
        "person",
        "requested_at",
        "expires_at",
        "decided_by",
    )
    list_filter = ("state", "kind", "turn__agent")
    list_select_related = ("turn__agent", "turn__person")
    list_defer = ("turn__agent__settings",)
    search_fields = ("action", "turn__person__name")
    search_help_text = "An id of a turn, or a part of an action's or a person's name."
    id_search_fields = ("turn",)
    ordering = (
        Case(
            When(state=Approval.State.PENDING, then=Value(0)), default=Value(1), output_field=IntegerField()
        ).asc(),
        "-id",
    )
    is_row_by_row = True
    actions = ("grant_approvals", "refuse_approvals", "mark_approvals_done")
    actions_detail = ("grant_approval", "refuse_approval", "mark_approval_done")
    fields = (
        ("action", "plugin"),
        ("coloured_state", "kind"),
        "shown_arguments",
        ("agent", "person"),
        ("turn_link", "step"),
        "said",
        ("requested_at", "expires_at"),
        ("decided_by", "decided_at"),
        ("used_at", "argument_hash"),
        "decisions",
    )
    readonly_fields = (
        "coloured_state",
        "shown_arguments",
        "agent",
        "person",
        "turn_link",
        "said",
        "decisions",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Approval]:
        """Bring the turn's agent, person and message along."""
        rows: QuerySet[Approval] = super().get_queryset(request)
        return rows.select_related("turn__agent", "turn__person", "turn__message")

    def has_decide_permission(self, request: HttpRequest, _obj: Model | str | None = None) -> bool:
        """Allow those who may decide."""
        return bool(request.user.has_perm("agents.decide_approval"))

    @column("state", ordering="state", label=APPROVAL_COLOURS)
    def coloured_state(self, approval: Approval) -> str:
        """Return the state, coloured."""
        return approval.state

    @column("arguments")
    def asked_with(self, approval: Approval) -> str:
        """Return how the arguments begin."""
        return shorten(", ".join(f"{name}: {value}" for name, value in approval.arguments.items())) or "–"

    @column("arguments")
    def shown_arguments(self, approval: Approval) -> SafeString:
        """Return the arguments as JSON."""
        return show_json(approval.arguments)

    @column("agent")
    def agent(self, approval: Approval) -> str:
        """Return which agent wants it."""
        return approval.turn.agent.name

    @column("person")
    def person(self, approval: Approval) -> str:
        """Return for whom."""
        return approval.turn.person.name if approval.turn.person else "–"

    @column("turn")
    def turn_link(self, approval: Approval) -> SafeString | str:
        """Return a link to the turn."""
        return link_to(Turn, approval.turn_id, approval.turn_id)

    @column("what was said")
    def said(self, approval: Approval) -> SafeString | str:
        """Return the message that the turn answers."""
        message = approval.turn.message
        return show_text(message.text) if isinstance(message, Message) else "–"

    @admin.action(description="Grant the selected actions", permissions=["decide"])
    def grant_approvals(self, request: HttpRequest, approvals: QuerySet[Approval]) -> None:
        """Let them run."""
        self.decide_each(request, approvals, grant, "granted")

    @admin.action(description="Refuse the selected actions", permissions=["decide"])
    def refuse_approvals(self, request: HttpRequest, approvals: QuerySet[Approval]) -> None:
        """Let their turns go on without them."""
        self.decide_each(request, approvals, refuse, "refused")

    @admin.action(description="The selected actions were done", permissions=["decide"])
    def mark_approvals_done(self, request: HttpRequest, approvals: QuerySet[Approval]) -> None:
        """Count them as done."""
        self.decide_each(request, approvals, mark_done, "marked as done")

    @button(
        "Grant",
        permissions=["decide"],
        icon="check",
        dialog=dialog("Grant this action?", "It runs once, with these arguments.", "Grant"),
    )
    def grant_approval(self, request: HttpRequest, form: forms.Form, object_id: str) -> HttpResponse:
        """Let it run."""
        return self.decide_one(request, form, object_id, grant, "granted")

    @button(
        "Refuse",
        permissions=["decide"],
        icon="block",
        dialog=dialog("Refuse this action?", "The turn goes on without it.", "Refuse"),
    )
    def refuse_approval(self, request: HttpRequest, form: forms.Form, object_id: str) -> HttpResponse:
        """Let its turn go on without it."""
        return self.decide_one(request, form, object_id, refuse, "refused")

    @button(
        "Was done",
        permissions=["decide"],
        icon="done_all",
        dialog=dialog("Was this action done?", "It counts as done and does not run again.", "It was done"),
    )
    def mark_approval_done(self, request: HttpRequest, form: forms.Form, object_id: str) -> HttpResponse:
        """Count it as done."""
        return self.decide_one(request, form, object_id, mark_done, "marked as done")
