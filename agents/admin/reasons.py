"""How the admin asks why, and what becomes of the answer: one row or many, a verb, who decided, the reason.

A button asks in a dialog, a list in a field beside its actions. The verb itself writes the audit, which the page
of each row shows.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from django import forms
from django.contrib import messages
from django.contrib.admin.utils import model_ngettext
from django.db.models import Model, QuerySet
from django.http import Http404, HttpRequest, HttpResponse
from django.urls import reverse
from django.utils.html import format_html_join
from django.utils.safestring import SafeString
from unfold.widgets import UnfoldAdminTextInputWidget

from agents.audit import NotDecided
from agents.models import AuditEntry
from plugins.admin_pages import column, link_to, once, show_text

if TYPE_CHECKING:
    from django.contrib.admin import ModelAdmin

    _Admin = ModelAdmin[Any]
    _DialogForm = forms.Form
    _ActionForm = forms.Form
else:
    from unfold.forms import ActionForm as _ActionForm
    from unfold.forms import BaseDialogForm as _DialogForm

    _Admin = object

WHY_CHARACTERS = 500
MOST_AT_ONCE = 500
"""Of a list that was chosen whole: a verb locks what it decides about, all of it at once."""
NO_REASON = "Say why: the reason is kept with the decision."
_SHOWN = 20
_SHOWN_REFUSALS = 5

Verb = Callable[..., Any]


class WhyDialog(_DialogForm):
    """Asks why, and takes no silence for an answer."""

    why = forms.CharField(label="Why?", max_length=WHY_CHARACTERS, widget=UnfoldAdminTextInputWidget())


class WhyActionForm(_ActionForm):
    """The choice of an action on many rows, with the reason for it."""

    why = forms.CharField(
        label="",
        required=False,
        max_length=WHY_CHARACTERS,
        widget=UnfoldAdminTextInputWidget(attrs={"placeholder": "Why?", "aria-label": "Why?"}),
    )


def dialog(
    title: str, description: str, submit: str, form_class: type[forms.Form] = WhyDialog
) -> dict[str, Any]:
    """Describe the dialog of a button that asks why."""
    return {
        "form_class": form_class,
        "title": title,
        "description": description,
        "form_submit_text": submit,
    }


class Decisions(_Admin):
    """The pages of a table about whose rows people decide.

    A verb takes many keys and returns those that it decided about. Where `is_row_by_row`, it takes one key and
    raises `NotDecided`. `left_because` tells why the others were left alone.
    """

    action_form = WhyActionForm
    is_row_by_row = False
    left_because = ""

    @column("decisions")
    @once
    def decisions(self, row: Model) -> SafeString | str:
        """Return what the audit has about the row, the latest first."""
        entries = AuditEntry.objects.filter(object_kind=self.opts.model_name, object_id=str(row.pk))
        shown = [
            (link_to(AuditEntry, entry.pk, f"{entry.at:%Y-%m-%d %H:%M:%S}"), entry, show_text(entry.reason))
            for entry in entries[:_SHOWN]
        ]
        return format_html_join("", "<p>{} {}</p>{}", shown) or "none"

    def decide_each(self, request: HttpRequest, rows: QuerySet[Any], verb: Verb, done: str) -> None:
        """Decide about the rows that were chosen in the list, for the reason beside the action."""
        why = request.POST.get("why", "").strip()
        if not why:
            messages.error(request, NO_REASON)
            return
        keys = list(rows.values_list("pk", flat=True)[: MOST_AT_ONCE + 1])
        self._decide(request, keys[:MOST_AT_ONCE], verb, done, why)
        if len(keys) > MOST_AT_ONCE:
            messages.warning(request, f"These were the first {MOST_AT_ONCE}: please choose the rest again.")

    def decide_one(
        self,
        request: HttpRequest,
        form: forms.Form,
        object_id: str,
        verb: Verb,
        done: str,
        *,
        then_show: object = None,
    ) -> HttpResponse:
        """Decide about one row, for the reason in the dialog; its own page follows, or that of `then_show`."""
        row = self.get_object(request, object_id)
        if row is None:
            raise Http404(f"There is no {self.opts.verbose_name} {object_id}.")
        is_decided = self._decide(request, [row.pk], verb, done, form.cleaned_data["why"])
        shown = then_show if is_decided and then_show is not None else row.pk
        address = reverse(f"admin:{self.opts.app_label}_{self.opts.model_name}_change", args=[shown])
        return HttpResponse(headers={"HX-Redirect": address})

    def _decide(self, request: HttpRequest, keys: list[Any], verb: Verb, done: str, why: str) -> bool:
        by = request.user.get_username()
        decided, refusals = 0, []
        for given in keys if self.is_row_by_row else [keys]:
            try:
                changed = verb(given, by=by, why=why)
            except NotDecided as error:
                refusals.append(str(error))
            else:
                decided += 1 if self.is_row_by_row else len(changed)
        left = len(keys) - decided
        if decided:
            messages.success(request, f"{decided} {model_ngettext(self.opts, decided)} {done}.")
        if left:
            because = " ".join(refusals[:_SHOWN_REFUSALS]) or self.left_because
            messages.warning(request, f"{left} {model_ngettext(self.opts, left)} left alone: {because}")
        return decided > 0
