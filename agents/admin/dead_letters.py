"""What the pages of turns offer for dead letters: to have them worked again, or to discard them, with a reason."""

from __future__ import annotations

from functools import partial

from django import forms
from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest, HttpResponse

from agents.admin.reasons import Decisions, dialog
from agents.dead_letters import discard, retry
from agents.models import Turn
from plugins.admin_pages import button

AT_FRONT = partial(retry, place="front")
AT_END = partial(retry, place="end")


class DeadLetterActions(Decisions):
    """The actions on the list of turns, and the buttons on a turn's page."""

    left_because = "only dead letters are decided about."

    def has_retry_permission(self, request: HttpRequest, _obj: Model | str | None = None) -> bool:
        """Allow those who were given it."""
        return bool(request.user.has_perm("agents.retry_turn"))

    def has_discard_permission(self, request: HttpRequest, _obj: Model | str | None = None) -> bool:
        """Allow those who were given it."""
        return bool(request.user.has_perm("agents.discard_turn"))

    @admin.action(description="Retry at the front of the lane", permissions=["retry"])
    def retry_many_at_front(self, request: HttpRequest, turns: QuerySet[Turn]) -> None:
        """Have them worked before all that waits."""
        self.decide_each(request, turns, AT_FRONT, "retried")

    @admin.action(description="Retry at the end of the lane", permissions=["retry"])
    def retry_many_at_end(self, request: HttpRequest, turns: QuerySet[Turn]) -> None:
        """Have them worked after all that waits."""
        self.decide_each(request, turns, AT_END, "retried")

    @admin.action(description="Discard", permissions=["discard"])
    def discard_many(self, request: HttpRequest, turns: QuerySet[Turn]) -> None:
        """Settle that they are never answered."""
        self.decide_each(request, turns, discard, "discarded")

    @button(
        "Retry at the front",
        permissions=["retry"],
        icon="vertical_align_top",
        dialog=dialog("Retry this dead letter?", "It is worked before all that waits in its lane.", "Retry"),
    )
    def retry_at_front(self, request: HttpRequest, form: forms.Form, object_id: str) -> HttpResponse:
        """Have it worked before all that waits."""
        return self.decide_one(request, form, object_id, AT_FRONT, "retried")

    @button(
        "Retry at the end",
        permissions=["retry"],
        icon="vertical_align_bottom",
        dialog=dialog("Retry this dead letter?", "It is worked after all that waits in its lane.", "Retry"),
    )
    def retry_at_end(self, request: HttpRequest, form: forms.Form, object_id: str) -> HttpResponse:
        """Have it worked after all that waits."""
        return self.decide_one(request, form, object_id, AT_END, "retried")

    @button(
        "Discard",
        permissions=["discard"],
        icon="delete",
        dialog=dialog(
            "Discard this dead letter?", "It is never answered. It can't be retried then.", "Discard"
        ),
    )
    def discard_one(self, request: HttpRequest, form: forms.Form, object_id: str) -> HttpResponse:
        """Settle that it is never answered."""
        return self.decide_one(request, form, object_id, discard, "discarded")
