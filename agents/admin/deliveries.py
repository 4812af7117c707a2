"""The pages of deliveries: what was sent, what waits, what nobody knows."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import admin, messages
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.safestring import SafeString

from agents import deliveries
from agents.admin.conversations import DELIVERY_COLOURS
from agents.admin.reasons import WhyActionForm, WhyDialog
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

_DIALOG = {"form_class": WhyDialog}
Verb = Callable[..., list[int]]


class WhenPutFilter(WhenFilter):
    """Filters by when the message was put; a delivery's own key carries no time."""

    key = "message_id"


@admin.register(Delivery)
class DeliveryAdmin(ReadOnly, BigTable):
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
    list_defer = (
        "answer",
        "decisions",
        "message__platform_data",
        "message__attachments",
        "connection__secrets",
    )
    search_fields = ("message__external_id__exact", "room__name")
    search_help_text = "An id of a message, room or connection, or a part of a room's name."
    id_search_fields = ("message", "room", "connection")
    action_form = WhyActionForm
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
        "shown_decisions",
    )
    readonly_fields = (
        "coloured_state",
        "message_link",
        "message_text",
        "whole_error",
        "shown_answer",
        "shown_decisions",
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

    @column("decisions")
    def shown_decisions(self, delivery: Delivery) -> SafeString | str:
        """Return what people decided, as JSON."""
        return show_json(delivery.decisions) if delivery.decisions else "none"

    @admin.action(description="Send the selected deliveries again", permissions=["resend"])
    def resend_deliveries(self, request: HttpRequest, rows: QuerySet[Delivery]) -> None:
        """Send them again."""
        self._decide(request, rows, deliveries.resend, "sent again", request.POST.get("why", ""))

    @admin.action(description="Mark the selected deliveries as arrived", permissions=["resend"])
    def mark_deliveries_sent(self, request: HttpRequest, rows: QuerySet[Delivery]) -> None:
        """Mark them as arrived."""
        self._decide(request, rows, deliveries.mark_sent, "marked as arrived", request.POST.get("why", ""))

    @admin.action(description="Drop the selected deliveries", permissions=["resend"])
    def drop_deliveries(self, request: HttpRequest, rows: QuerySet[Delivery]) -> None:
        """Leave them unsent."""
        self._decide(request, rows, deliveries.drop, "dropped", request.POST.get("why", ""))

    @button(
        "Send again",
        permissions=["resend"],
        icon="send",
        dialog={
            **_DIALOG,
            "title": "Send this message again?",
            "description": "Where its network takes a key, it is not shown twice while the network remembers it.",
            "form_submit_text": "Send again",
        },
    )
    def resend_delivery(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        """Send it again."""
        return self._decide_one(request, object_id, deliveries.resend, "sent again", form)

    @button(
        "It arrived",
        permissions=["resend"],
        icon="done_all",
        dialog={
            **_DIALOG,
            "title": "Did this message arrive?",
            "description": "It is marked as sent, and not sent again.",
            "form_submit_text": "It arrived",
        },
    )
    def mark_delivery_sent(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        """Mark it as arrived."""
        return self._decide_one(request, object_id, deliveries.mark_sent, "marked as arrived", form)

    @button(
        "Drop",
        permissions=["resend"],
        icon="block",
        dialog={
            **_DIALOG,
            "title": "Leave this message unsent?",
            "description": "It is marked as failed for good.",
            "form_submit_text": "Drop",
        },
    )
    def drop_delivery(self, request: HttpRequest, form: Any, object_id: str) -> HttpResponse:
        """Leave it unsent."""
        return self._decide_one(request, object_id, deliveries.drop, "dropped", form)

    def _decide_one(
        self, request: HttpRequest, object_id: str, verb: Verb, done: str, form: Any
    ) -> HttpResponse:
        delivery = self.get_object(request, object_id)
        if delivery is None:
            raise Http404(f"There is no delivery {object_id}.")
        self._decide(request, [delivery], verb, done, form.cleaned_data["why"])
        address = reverse("admin:agents_delivery_change", args=[delivery.pk])
        return HttpResponse(headers={"HX-Redirect": address})

    def _decide(
        self, request: HttpRequest, rows: QuerySet[Delivery] | list[Delivery], verb: Verb, done: str, why: str
    ) -> None:
        asked = [row.pk for row in rows]
        try:
            decided = verb(asked, by=request.user.get_username(), why=why)
        except deliveries.NoReason as error:
            messages.error(request, str(error))
            return
        if decided:
            messages.success(request, f"{len(decided)} {done}.")
        if len(decided) < len(asked):
            messages.warning(
                request, f"{len(asked) - len(decided)} left as they are: only unsent ones are decided about."
            )
