"""The pages of conversations: worlds, rooms, people and what was said."""

from __future__ import annotations

from functools import partial
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db.models import Model, OuterRef, QuerySet, Subquery
from django.http import HttpRequest, HttpResponse, StreamingHttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminUUIDInputWidget

from agents import exports, forgetting
from agents.admin.reasons import Decisions, WhyDialog, dialog
from agents.models import Account, Delivery, Message, Participant, Person, Room, Turn, World
from agents.people import merging
from agents.people.families import get_family
from agents.people.finding import UnknownPerson
from plugins.admin_pages import (
    BigTable,
    HistoryRows,
    Page,
    ReadOnly,
    Rows,
    WhenFilter,
    button,
    column,
    link_to,
    shorten,
    show_json,
    show_text,
)

DELIVERY_COLOURS = {
    Delivery.State.PENDING: "info",
    Delivery.State.SENDING: "info",
    Delivery.State.SENT: "success",
    Delivery.State.UNCERTAIN: "warning",
    Delivery.State.FAILED: "danger",
    Delivery.State.EXPIRED: "danger",
}


class Kept(Page):
    """Rows that come by messages alone, and stay: nobody adds or deletes them here."""

    def has_add_permission(self, _request: HttpRequest) -> bool:
        """Allow nobody."""
        return False

    def has_delete_permission(self, _request: HttpRequest, _obj: Model | None = None) -> bool:
        """Allow nobody."""
        return False


class ParticipantRows(Rows):
    """Who is in a room, and whether the agent follows or leaves them alone there."""

    model = Participant
    fields = ("person_link", "state", "created_at")
    readonly_fields = ("person_link", "created_at")
    can_delete = False

    def has_add_permission(self, _request: HttpRequest, _obj: Model | None = None) -> bool:
        """Allow nobody: a person takes part by speaking."""
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Participant]:
        """Bring the people along."""
        return super().get_queryset(request).select_related("person", "room").order_by("id")

    @column("person")
    def person_link(self, participant: Participant) -> SafeString | str:
        """Return a link to the person."""
        return link_to(Person, participant.person_id, participant.person)


class AccountRows(HistoryRows):
    """A person's accounts on networks."""

    model = Account
    fields = ("platform", "username", "external_id", "created_at")
    readonly_fields = fields
    ordering = ("id",)


class MergedRows(HistoryRows):
    """The people for whom this one stands too."""

    model = Person
    fk_name = "merged_into"
    fields = ("person_link", "created_at")
    readonly_fields = fields
    verbose_name_plural = "people merged into this one"

    @column("person")
    def person_link(self, person: Person) -> SafeString | str:
        """Return a link to the person."""
        return link_to(Person, person.pk, person)


@admin.register(World)
class WorldAdmin(ReadOnly, Page):
    """What holds rooms together."""

    list_display = ("__str__", "platform", "external_id", "created_at")
    list_filter = ("platform",)
    search_fields = ("name", "external_id")
    ordering = ("-id",)


@admin.register(Room)
class RoomAdmin(Kept):
    """Places, and who is there."""

    list_display = ("__str__", "platform", "type", "world", "created_at")
    list_filter = ("platform", "type", WhenFilter)
    list_select_related = ("world",)
    search_fields = ("name", "external_id")
    id_search_fields = ("pk", "world")
    ordering = ("-id",)
    fields = (("name", "type"), ("platform", "external_id"), ("world", "created_at"))
    readonly_fields = ("type", "platform", "external_id", "world", "created_at")
    inlines = (ParticipantRows,)


class MergeDialog(WhyDialog):
    """Asks into whom a person is merged, and why."""

    into = forms.UUIDField(
        label="Into whom?",
        help_text="The id of the person who is to stand for both: the address of their page has it.",
        widget=UnfoldAdminUUIDInputWidget(),
    )
    field_order = ("into", "why")


@admin.register(Person)
class PersonAdmin(Decisions, Kept):
    """People, with their accounts, and the merging of two who are one."""

    list_display = ("name", "is_bot", "merged_into", "created_at", "forgotten_at")
    list_filter = ("is_bot", WhenFilter)
    list_select_related = ("merged_into",)
    search_fields = ("name",)
    id_search_fields = ("pk", "merged_into", "accounts__pk")
    ordering = ("-id",)
    fields = (("name", "is_bot"), ("merged_into", "created_at", "forgotten_at"), "decisions")
    readonly_fields = ("merged_into", "created_at", "forgotten_at", "decisions")
    inlines = (AccountRows, MergedRows)
    is_row_by_row = True
    actions_detail = ("export_person", "merge_person", "forget_person")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Person]:
        """Leave out the nameless people under whom lanes stand while somebody is forgotten."""
        rows: QuerySet[Person] = super().get_queryset(request)
        return rows.exclude(name="", forgotten_at__isnull=False)

    def has_merge_permission(self, request: HttpRequest, _obj: Model | str | None = None) -> bool:
        """Allow those who may merge people."""
        return bool(request.user.has_perm("agents.merge_person"))

    @button(
        "Merge into…",
        permissions=["merge"],
        icon="merge",
        dialog=dialog(
            "Merge this person into another?",
            "Accounts, messages and memories become the other's. It can't be undone.",
            "Merge",
            MergeDialog,
        ),
    )
    def merge_person(self, request: HttpRequest, form: forms.Form, object_id: str) -> HttpResponse:
        """Let another person stand for both."""
        into_id = form.cleaned_data["into"]
        verb = partial(merging.merge, into_id=into_id)
        return self.decide_one(request, form, object_id, verb, "merged into this one", then_show=into_id)

    def has_export_permission(self, request: HttpRequest, _obj: Model | str | None = None) -> bool:
        """Allow those who may export what is known of people."""
        return bool(request.user.has_perm("agents.export_person"))

    @button("Export", permissions=["export"], icon="download")
    def export_person(self, request: HttpRequest, object_id: str) -> HttpResponseBase:
        """Send all that is known of the person, and of those merged into them, as a JSON file."""
        try:
            file = exports.export_to_temporary_file(get_family(object_id), by=request.user.get_username())
        except (exports.TooMuch, UnknownPerson) as error:
            messages.error(request, str(error))
            return redirect("admin:agents_person_changelist")
        headers = {"Content-Disposition": f'attachment; filename="person-{object_id}.json"'}
        return StreamingHttpResponse(
            exports.chunks_of(file), content_type="application/json", headers=headers
        )

    def has_forget_permission(self, request: HttpRequest, _obj: Model | str | None = None) -> bool:
        """Allow those who may forget people."""
        return bool(request.user.has_perm("agents.forget_person"))

    @button(
        "Forget…",
        permissions=["forget"],
        icon="person_remove",
        dialog=dialog(
            "Forget this person, and those merged into them?",
            "Accounts, messages, memories and all else of theirs are deleted; what stays for others is cut free of"
            " their words. It can't be undone. Say why without naming them: the reason is kept.",
            "Forget",
        ),
    )
    def forget_person(self, request: HttpRequest, form: forms.Form, object_id: str) -> HttpResponse:
        """Begin to forget the person; a worker does the rest."""
        answer = self.decide_one(request, form, object_id, forgetting.hand_over, "being forgotten")
        if Person.objects.filter(pk=object_id, forgotten_at=None).exists():
            return answer
        return HttpResponse(headers={"HX-Redirect": reverse("admin:agents_person_changelist")})


@admin.register(Message)
class MessageAdmin(ReadOnly, BigTable):
    """What was said, in and out."""

    list_display = ("beginning", "direction", "agent", "room", "person", "said_at", "turn_link", "delivered")
    list_filter = ("direction", "delivery__state", "agent", WhenFilter)
    list_select_related = ("agent", "room", "person", "delivery")
    list_defer = ("attachments", "platform_data", "agent__settings", "delivery__answer", "delivery__error")
    search_fields = ("external_id__exact", "person__name", "room__name")
    search_help_text = "An id of a message, room, person or turn, or a part of a person's or room's name."
    id_search_fields = ("pk", "room", "person", "turn", "caused_turns")
    fields = (
        ("direction", "person"),
        ("agent", "room"),
        "whole_text",
        ("said_at", "received_at"),
        ("turn_link", "connection"),
        ("delivered", "delivery_link"),
        ("external_id", "reply_to_external_id"),
        ("is_addressed", "is_verified"),
        "shown_attachments",
        "original",
    )
    readonly_fields = (
        "whole_text",
        "turn_link",
        "delivered",
        "delivery_link",
        "shown_attachments",
        "original",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Message]:
        """Find the turn that each message brought about."""
        caused = Turn.objects.filter(message=OuterRef("pk")).order_by().values("pk")[:1]
        said: QuerySet[Message] = super().get_queryset(request)
        return said.annotate(caused_turn=Subquery(caused))

    @column("message", ordering="id")
    def beginning(self, message: Message) -> str:
        """Return how the message begins."""
        return shorten(message.text) or "(no text)"

    @column("text")
    def whole_text(self, message: Message) -> SafeString:
        """Return the text, line by line."""
        return show_text(message.text)

    @column("turn")
    def turn_link(self, message: Any) -> SafeString | str:
        """Return a link to the turn that this message brought about, or that said it."""
        return link_to(Turn, message.turn_id or message.caused_turn, "turn")

    @column("delivery", label=DELIVERY_COLOURS)
    def delivered(self, message: Message) -> str | None:
        """Return how the sending of the message stands."""
        delivery = getattr(message, "delivery", None)
        return delivery.state if delivery else None

    @column("its delivery")
    def delivery_link(self, message: Message) -> SafeString | str:
        """Return a link to the delivery."""
        delivery = getattr(message, "delivery", None)
        return link_to(Delivery, delivery and delivery.pk, "delivery")

    @column("attachments")
    def shown_attachments(self, message: Message) -> SafeString | str:
        """Return the attachments as JSON."""
        return show_json(message.attachments) if message.attachments else "none"

    @column("what the network sent")
    def original(self, message: Message) -> SafeString | str:
        """Return the network's own JSON."""
        return show_json(message.platform_data) if message.platform_data else "nothing"
