"""What the pages of turns offer for dead letters: to have them worked again, or to discard them, with a reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any
from uuid import UUID

from django import forms
from django.contrib import admin, messages
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminTextareaWidget

from agents.dead_letters import discard, retry
from agents.models import Turn
from plugins.admin_pages import button

if TYPE_CHECKING:
    _Admin = admin.ModelAdmin[Turn]
else:
    _Admin = object

MOST_AT_ONCE = 500
"""A form has a field a turn, and Django reads at most 1,000; `retry_dead_letters` takes any number."""

Decide = Callable[..., list[UUID]]

AT_FRONT: Decide = partial(retry, place="front")
AT_END: Decide = partial(retry, place="end")


def _why_field() -> forms.CharField:
    return forms.CharField(
        label="Why",
        max_length=500,
        widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}),
        help_text="It is kept in the audit, with your name.",
    )


class WhyForm(forms.Form):
    """Asks for the reason of what is done to many turns."""

    why = _why_field()


class WhyDialog(BaseDialogForm):  # type: ignore[misc]
    """Asks for the reason of what is done to one turn."""

    why = _why_field()


def _dialog(title: str, description: str, submit: str) -> dict[str, Any]:
    return {"title": title, "description": description, "form_class": WhyDialog, "form_submit_text": submit}


class DeadLetterActions(_Admin):
    """The actions on the list of turns, and the buttons on a turn's page."""

    def has_retry_permission(self, request: HttpRequest, _obj: Model | str | None = None) -> bool:
        """Allow those who were given it."""
        return bool(request.user.has_perm("agents.retry_turn"))

    def has_discard_permission(self, request: HttpRequest, _obj: Model | str | None = None) -> bool:
        """Allow those who were given it."""
        return bool(request.user.has_perm("agents.discard_turn"))

    @admin.action(description="Retry at the front of the lane", permissions=["retry"])
    def retry_many_at_front(self, request: HttpRequest, turns: QuerySet[Turn]) -> HttpResponse | None:
        """Have them worked before all that waits."""
        return self._ask_and_do(request, turns, AT_FRONT, "Retry at the front of the lane", "retried")

    @admin.action(description="Retry at the end of the lane", permissions=["retry"])
    def retry_many_at_end(self, request: HttpRequest, turns: QuerySet[Turn]) -> HttpResponse | None:
        """Have them worked after all that waits."""
        return self._ask_and_do(request, turns, AT_END, "Retry at the end of the lane", "retried")

    @admin.action(description="Discard", permissions=["discard"])
    def discard_many(self, request: HttpRequest, turns: QuerySet[Turn]) -> HttpResponse | None:
        """Settle that they are never answered."""
        return self._ask_and_do(request, turns, discard, "Discard", "discarded")

    @button(
        "Retry at the front",
        permissions=["retry"],
        icon="vertical_align_top",
        dialog=_dialog("Retry this dead letter?", "It is worked before all that waits in its lane.", "Retry"),
    )
    def retry_at_front(self, request: HttpRequest, form: forms.Form, object_id: str) -> HttpResponse:
        """Have it worked before all that waits."""
        return self._do_one(request, form, object_id, AT_FRONT, "retried")

    @button(
        "Retry at the end",
        permissions=["retry"],
        icon="vertical_align_bottom",
        dialog=_dialog("Retry this dead letter?", "It is worked after all that waits in its lane.", "Retry"),
    )
    def retry_at_end(self, request: HttpRequest, form: forms.Form, object_id: str) -> HttpResponse:
        """Have it worked after all that waits."""
        return self._do_one(request, form, object_id, AT_END, "retried")

    @button(
        "Discard",
        permissions=["discard"],
        icon="delete",
        dialog=_dialog(
            "Discard this dead letter?", "It is never answered. It can't be retried then.", "Discard"
        ),
    )
    def discard_one(self, request: HttpRequest, form: forms.Form, object_id: str) -> HttpResponse:
        """Settle that it is never answered."""
        return self._do_one(request, form, object_id, discard, "discarded")

    def _ask_and_do(
        self, request: HttpRequest, turns: QuerySet[Turn], decide: Decide, title: str, done: str
    ) -> HttpResponse | None:
        form = WhyForm(request.POST if "why" in request.POST else None)
        dead = list(turns.filter(state=Turn.State.DEAD).order_by("pk")[:MOST_AT_ONCE])
        if not dead:
            messages.warning(request, "None of these turns is a dead letter.")
            return None
        if form.is_valid():
            ids = [turn.pk for turn in dead]
            self._tell(
                request, decide(ids, by=_name_of(request), why=form.cleaned_data["why"]), len(ids), done
            )
            return None
        context = {
            **self.admin_site.each_context(request),
            "opts": self.opts,
            "title": title,
            "form": form,
            "turns": dead,
            "action": request.POST["action"],
        }
        return TemplateResponse(request, "agents/admin/decide_dead_letters.html", context)

    def _do_one(
        self, request: HttpRequest, form: forms.Form, object_id: str, decide: Decide, done: str
    ) -> HttpResponse:
        turn = self.get_object(request, object_id)
        if turn is None:
            raise Http404(f"There is no turn {object_id}.")
        changed = decide([turn.pk], by=_name_of(request), why=form.cleaned_data["why"])
        self._tell(request, changed, 1, done)
        return HttpResponse(headers={"HX-Redirect": reverse("admin:agents_turn_change", args=[turn.pk])})

    def _tell(self, request: HttpRequest, changed: Sequence[UUID], asked: int, done: str) -> None:
        count = len(changed)
        if count:
            messages.success(request, f"{count} dead letter{'' if count == 1 else 's'} {done}.")
        if count < asked:
            messages.warning(request, f"{asked - count} was no dead letter any more, and is left as it is.")


def _name_of(request: HttpRequest) -> str:
    return request.user.get_username()
