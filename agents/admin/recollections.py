"""The page "What would this message recall?": asks the recall that a turn uses, and shows why each hit came.

The page of an agent and the list of memories lead there. It reads, and notes in the audit that somebody looked.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from django import forms
from django.conf import settings
from django.contrib.admin import AdminSite
from django.core.exceptions import PermissionDenied
from django.http import HttpRequest, HttpResponse
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString
from unfold.widgets import (
    UnfoldAdminIntegerFieldWidget,
    UnfoldAdminSelectWidget,
    UnfoldAdminTextareaWidget,
    UnfoldAdminTextInputWidget,
)

from agents.agents import UnknownAgent
from agents.cleaning import clean_words
from agents.memories.recollections import Answer, Place, find_place, recollect_noted
from agents.models import Agent, Message, Turn
from agents.people.finding import NotFound
from agents.reports.turns import report_recalled
from plugins.admin_pages import fold, link_to, show_milliseconds, show_text
from plugins.api import Citation, RecalledMemory

MOST_HITS = 50
NAME_CHARACTERS = 230
LEAST_SHOWN = 0.005
_TITLE = "What would this message recall?"
_HEADINGS = ("score", "because of", "memory", "said", "kept", "came from")


class RecallForm(forms.Form):
    """Asks which agent hears what, where and from whom. `place` is what the answers mean."""

    agent = forms.ModelChoiceField(
        queryset=Agent.objects.only("name", "slug").order_by("name"),
        to_field_name="slug",
        widget=UnfoldAdminSelectWidget(),
    )
    room = forms.CharField(
        required=False,
        max_length=NAME_CHARACTERS,
        widget=UnfoldAdminTextInputWidget(),
        help_text="Its id, its name, or platform:id. Empty: the person's newest direct chat with the agent.",
    )
    person = forms.CharField(
        required=False,
        max_length=NAME_CHARACTERS,
        widget=UnfoldAdminTextInputWidget(),
        help_text="Who says it: an id, a name, or platform:id. Without room and person, only what may surface"
        " anywhere comes.",
    )
    text = forms.CharField(label="Message", widget=UnfoldAdminTextareaWidget(attrs={"rows": 3}))
    limit = forms.IntegerField(
        label="How many", min_value=1, max_value=MOST_HITS, widget=UnfoldAdminIntegerFieldWidget()
    )
    place: Place

    def clean_text(self) -> str:
        """Refuse what no person could say either."""
        text = clean_words(self.cleaned_data["text"])
        if len(text) > settings.MESSAGE_MAX_CHARACTERS:
            raise forms.ValidationError(
                f"It has {len(text):,} characters; a message has {settings.MESSAGE_MAX_CHARACTERS:,} at most."
            )
        return text

    def clean(self) -> dict[str, Any]:
        """Find the place, or say at its field which there is none of."""
        given = self.cleaned_data
        if not {"agent", "room", "person"} <= given.keys():
            return given
        try:
            self.place = find_place(given["agent"].slug, room_name=given["room"], person_name=given["person"])
        except UnknownAgent as error:
            self.add_error("agent", str(error))
        except NotFound as error:
            self.add_error(error.kind, str(error))
        return given


def may_recall(request: HttpRequest) -> bool:
    """Tell whether the user may see memories."""
    return request.user.has_perm("memory.view_memory") or request.user.has_perm("memory.change_memory")


def recall_page(site: AdminSite, request: HttpRequest) -> HttpResponse:
    """Show the form, and what comes to mind where it was filled in.

    Raises: PermissionDenied for who may not see memories.
    """
    if not may_recall(request):
        raise PermissionDenied
    is_asked = request.method == "POST"
    first = {"agent": request.GET.get("agent", ""), "limit": settings.RECALL_LIMIT}
    form = RecallForm(request.POST) if is_asked else RecallForm(initial=first)
    answer = None
    if form.is_valid():
        given = form.cleaned_data
        by = request.user.get_username()
        answer = recollect_noted(form.place, given["text"], limit=given["limit"], by=by)
    context = {
        **site.each_context(request),
        "title": _TITLE,
        "form": form,
        "media": form.media,
        **(_shown(answer) if answer else {}),
    }
    return TemplateResponse(request, "agents/admin/recall.html", context)


def _shown(answer: Answer) -> dict[str, Any]:
    place, found = answer.place, answer.found
    where = f"in {place.room}" if place.room else "wherever it speaks"
    return {
        "answer": answer,
        "where": f"{place.agent}, {where}{f', with {place.person}' if place.person else ''}",
        "cost": f"{show_milliseconds(answer.search_milliseconds)} to search,"
        f" {show_milliseconds(answer.embedder_milliseconds)} for the embedder",
        "headings": _HEADINGS,
        "rows": [list(zip(_HEADINGS, _row(hit, answer), strict=True)) for hit in found.memories],
    }


def _row(hit: RecalledMemory, answer: Answer) -> list[object]:
    kept = answer.kept.get(hit.id)
    largest = largest_signal(memory.scores for memory in answer.found.memories)
    return [
        f"{hit.score:.2f}",
        show_signals(hit.scores, largest),
        show_text(hit.text),
        format_html("{}<br>{}", hit.speaker or "–", f"{hit.said_at:%Y-%m-%d %H:%M}" if hit.said_at else "–"),
        format_html("{}<br>{}", hit.kind, kept.scope if kept else "deleted since"),
        _lines([memory_link(hit.id), *_cited(hit.citation), *map(_message_link, hit.source_message_ids)]),
    ]


def largest_signal(scores: Iterable[Mapping[str, float]]) -> float:
    """Return the size of the largest signal of a table, which is the length of its bars."""
    return max((abs(value) for one in scores for value in one.values()), default=1.0)


def show_signals(scores: Mapping[str, float], largest: float) -> SafeString:
    """Show what each signal added, with bars that are of one length for one size all over the table."""
    rows = [
        (
            "eliza-less" if value < 0 else "eliza-more",
            name,
            f"{largest:.3f}",
            f"{abs(value):.3f}",
            f"{value:+.2f}",
        )
        for name, value in sorted(scores.items(), key=lambda item: -abs(item[1]))
        if abs(value) >= LEAST_SHOWN
    ]
    row = (
        '<div class="eliza-signal {}"><span>{}</span>'
        '<meter min="0" max="{}" value="{}"></meter><span>{}</span></div>'
    )
    return format_html_join("", row, rows)


def show_recalled(turn: Turn) -> SafeString | str:
    """Show what a turn recalled for its prompt: each memory with its score, what brought it, and its messages."""
    hits = report_recalled(turn.steps.filter(name="recall"))
    largest = largest_signal(hit["scores"] for hit in hits)
    rows = [
        (
            f"{hit['score']:.2f}",
            show_signals(hit["scores"], largest),
            show_text(hit["text"]) if hit["text"] else "(forgotten since)",
            _lines([memory_link(hit["id"]) if hit["text"] else "", *_told(hit)]),
        )
        for hit in hits
    ]
    cells = format_html_join("", "<tr><td>{}</td><td>{}</td><td>{}</td><td>{}</td></tr>", rows)
    return (
        fold(f"{len(hits)} memories", format_html('<table class="eliza-recalled">{}</table>', cells))
        if hits
        else "–"
    )


def _told(hit: dict[str, Any]) -> list[SafeString | str]:
    citation = hit["citation"]
    known = Citation(**{**citation, "headings": tuple(citation["headings"])}) if citation else None
    return [
        *_cited(known),
        *(
            format_html("{} by {}", _message_link(source["id"]), source["speaker"] or "somebody")
            if source["said_at"]
            else f"message {source['id']} (deleted since)"
            for source in hit["source_messages"]
        ),
    ]


def _lines(shown: Iterable[SafeString | str]) -> SafeString:
    return format_html_join("", "<div>{}</div>", ((line,) for line in shown if line))


def memory_link(key: object) -> SafeString:
    """Return a link to a memory's page; the floor below owns the table, so it is known by its address."""
    return format_html(
        '<a class="eliza-link" href="{}">memory</a>', reverse("admin:memory_memory_change", args=[key])
    )


def _message_link(key: object) -> SafeString | str:
    return link_to(Message, key, f"message {str(key)[-6:]}")


def _cited(citation: Citation | None) -> list[SafeString | str]:
    if citation is None:
        return []
    address = reverse("admin:memory_document_change", args=[citation.document_id])
    told = ", ".join(filter(None, [citation.document, citation.heading, citation.pages]))
    return [format_html('<a class="eliza-link" href="{}">{}</a>', address, told)]
