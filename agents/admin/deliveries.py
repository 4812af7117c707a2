"""The pages of deliveries: what was sent, what waits, what nobody knows."""

from __future__ import annotations

from django import forms
from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse
from django.utils.safestring import SafeString

from agents import deliveries
from agents.admin.conversations import DELIVERY_COLOURS
from agents.admin.reasons import Decisions, dialog
from agents.models import Delivery, Message
from plugins.admin_pages import (
    BigTable,
    ReadOnly,
    WhenFilter,
    button,
    column,
    link_to,
    shorten,
    show_json,
    show_text,
)


class WhenPutFilter(WhenFilter):
    """Filters by when the message was put; a delivery's own key carries no time."""

    key = "message_id"


@admin.register(Delivery)
class DeliveryAdmin(Decisions, ReadOnly, BigTable):
    """The sending of outbound messages, and people's decisions about what was not sent."""

    list_display = (
        "beginning",
        "coloured_state",
        "connection",
        "room",
        "attempts",
        "sent_at",
        "next_run_at",
        "first_error",
    )
    list_filter = ("state", "connection__platform", WhenPutFilter)
    list_select_related = ("message", "connection", "room")
    list_defer = ("answer", "message__platform_data", "message__attachments", "connection__secrets")
    search_fields = ("message__external_id__exact", "room__name")
    search_help_text = "An id of a message, room or connection, or a part of a room's name."
    id_search_fields = ("message", "room", "connection")
    left_because = "only unsent ones are decided about."
    actions = ("resend_deliveries", "mark_deliveries_sent", "drop_deliveries")
    actions_detail = ("resend_delivery", "mark_delivery_sent", "drop_delivery")
    fields = (
        ("coloured_state", "attempts"),
        ("connection", "room"),
        "message_link",
        "message_text",
        ("created_at", "sent_at"),
        ("next_run_at", "expires_at"),
        ("lease_until", "lease_token"),
        "tried_at",
        "whole_error",
        "shown_answer",
        "decisions",
    )
    readonly_fields = (
        "coloured_state",
        "message_link",
        "message_text",
        "whole_error",
        "shown_answer",
        "decisions",
    )

    def has_resend_permission(self, request: HttpRequest, _obj: Model | str | None = None) -> bool:
        """Allow those who may decide about deliveries."""
        return bool(request.user.has_perm("agents.resend_delivery"))

    @column("message", ordering="id")
    def beginning(self, delivery: Delivery) -> str:
        """Return how the message begins."""
        return shorten(delivery.message.text) or "(no text)"

    @column("state", ordering="state", label=DELIVERY_COLOURS)
    def coloured_state(self, delivery: Delivery) -> str:
        """Return the state, coloured."""
        return delivery.state

    @column("error")
    def first_error(self, delivery: Delivery) -> str:
        """Return how the error begins."""
        return shorten(delivery.error)

    @column("error")
    def whole_error(self, delivery: Delivery) -> SafeString:
        """Return the error, line by line."""
        return show_text(delivery.error)

    @column("message")
    def message_link(self, delivery: Delivery) -> SafeString | str:
        """Return a link to the message."""
        return link_to(Message, delivery.message_id, "message")

    @column("text")
    def message_text(self, delivery: Delivery) -> SafeString:
        """Return what was to be sent."""
        return show_text(delivery.message.text)

    @column("what the network answered")
    def shown_answer(self, delivery: Delivery) -> SafeString | str:
        """Return the network's answer as JSON."""
        return show_json(delivery.answer) if delivery.answer else "nothing"

    @admin.action(description="Send the selected deliveries again", permissions=["resend"])
    def resend_deliveries(self, request: HttpRequest, rows: QuerySet[Delivery]) -> None:
        """Send them again."""
        self.decide_each(request, rows, deliveries.resend, "sent again")

    @admin.action(description="Mark the selected deliveries as arrived", permissions=["resend"])
    def mark_deliveries_sent(self, request: HttpRequest, rows: QuerySet[Delivery]) -> None:
        """Mark them as arrived."""
        self.decide_each(request, rows, deliveries.mark_sent, "marked as arrived")

    @admin.action(description="Drop the selected deliveries", permissions=["resend"])
    def drop_deliveries(self, request: HttpRequest, rows: QuerySet[Delivery]) -> None:
        """Leave them unsent."""
        self.decide_each(request, rows, deliveries.drop, "dropped")

    @button(
        "Send again",
        permissions=["resend"],
        icon="send",
        dialog=dialog(
            "Send this message again?",
            "Where its network takes a key, it is not shown twice while the network remembers it.",
            "Send again",
        ),
    )
    def resend_delivery(self, request: HttpRequest, form: forms.Form, object_id: str) -> HttpResponse:
        """Send it again."""
        return self.decide_one(request, form, object_id, deliveries.resend, "sent again")

    @button(
        "It arrived",
        permissions=["resend"],
        icon="done_all",
        dialog=dialog("Did this message arrive?", "It is marked as sent, and not sent again.", "It arrived"),
    )
    def mark_delivery_sent(self, request: HttpRequest, form: forms.Form, object_id: str) -> HttpResponse:
        """Mark it as arrived."""
        return self.decide_one(request, form, object_id, deliveries.mark_sent, "marked as arrived")

    @button(
        "Drop",
        permissions=["resend"],
        icon="block",
        dialog=dialog("Leave this message unsent?", "It is marked as failed for good.", "Drop"),
    )
    def drop_delivery(self, request: HttpRequest, form: forms.Form, object_id: str) -> HttpResponse:
        """Leave it unsent."""
        return self.decide_one(request, form, object_id, deliveries.drop, "dropped")
