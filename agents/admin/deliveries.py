"""The pages of deliveries: what was sent, what waits, what nobody knows."""

from __future__ import annotations

from django.contrib import admin
from django.utils.safestring import SafeString

from agents.admin.conversations import DELIVERY_COLOURS
from agents.models import Delivery, Message
from plugins.admin_pages import (
    BigTable,
    ReadOnly,
    WhenFilter,
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
class DeliveryAdmin(ReadOnly, BigTable):
    """The sending of outbound messages."""

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
    fields = (
        ("coloured_state", "attempts"),
        ("connection", "room"),
        "message_link",
        "message_text",
        ("created_at", "sent_at"),
        ("next_run_at", "expires_at"),
        ("lease_until", "lease_token"),
        "whole_error",
        "shown_answer",
    )
    readonly_fields = ("coloured_state", "message_link", "message_text", "whole_error", "shown_answer")

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
