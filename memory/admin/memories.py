"""The pages of what is kept: memories, relationships, goals. Vectors stay in the database."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from django.contrib import admin
from django.db.models import Count, Model, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.utils import timezone
from django.utils.html import format_html
from django.utils.safestring import SafeString

from memory.admin.provenance import message_link, show_history, show_prompts, show_sources, turn_link
from memory.goals import set_goal
from memory.models import Goal, Memory, Objective, Relationship
from memory.provenance import Source, maker_of, sources_of
from memory.relationships import faded
from plugins.admin_pages import (
    BigTable,
    Page,
    ReadOnly,
    Rows,
    WhenFilter,
    button,
    column,
    once,
    shorten,
    show_json,
    show_text,
)

_GOAL_COLOURS = {
    Goal.Status.ACTIVE: "info",
    Goal.Status.COMPLETED: "success",
    Goal.Status.FAILED: "danger",
}


@admin.register(Memory)
class MemoryAdmin(BigTable):
    """What is kept, with its scope and where it came from. It is read, or deleted."""

    list_defer = ("source_messages", "agent__settings", "agent__apology")
    list_display = (
        "beginning",
        "kind",
        "scope",
        "agent",
        "person",
        "room",
        "importance",
        "is_current",
        "said_at",
    )
    list_filter = ("kind", "scope", "agent", WhenFilter)
    list_select_related = ("agent", "person", "room")
    search_fields = ("speaker", "text__icontains")
    search_help_text = "An id of a memory, person or room, or a part of the speaker's name or the text."
    id_search_fields = ("pk", "person", "room")
    fields = (
        ("kind", "scope"),
        "whole_text",
        ("agent", "importance"),
        ("person", "speaker"),
        ("room", "world"),
        ("said_at", "created_at"),
        ("embedding_model", "second_embedding_model"),
        "source_key",
        "sources",
        "made_by",
        "history",
        "prompts",
    )
    readonly_fields = ("whole_text", "sources", "made_by", "history", "prompts", "source_key", "created_at")
    actions_list = ("recall",)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Memory]:
        """Leave the vectors in the database."""
        return super().get_queryset(request).defer("embedding", "second_embedding")

    def has_add_permission(self, _request: HttpRequest) -> bool:
        """Allow nobody: what was not said is not remembered."""
        return False

    def has_change_permission(self, _request: HttpRequest, _obj: Model | None = None) -> bool:
        """Allow nobody: a memory says what its sources said."""
        return False

    @column("memory", ordering="id")
    def beginning(self, memory: Memory) -> str:
        """Return how the text begins."""
        return shorten(memory.text)

    @column("current", boolean=True)
    def is_current(self, memory: Memory) -> bool:
        """Tell whether no newer memory took its place."""
        return memory.superseded_by_id is None

    @column("text")
    def whole_text(self, memory: Memory) -> SafeString:
        """Return the text, line by line."""
        return show_text(memory.text)

    @column("came from")
    def sources(self, memory: Memory) -> SafeString | str:
        """Return the messages that it was made from, with who said each where and when."""
        return show_sources(memory.source_messages, self._found(memory))

    @column("made by")
    def made_by(self, memory: Memory) -> SafeString | str:
        """Return a link to the turn that made it."""
        return turn_link(maker_of(memory, self._found(memory).values()), "turn")

    @column("history")
    @once
    def history(self, memory: Memory) -> SafeString | str:
        """Return what it took the place of, and what took its place."""
        return show_history(memory.pk, Memory)

    @column("in mind lately")
    @once
    def prompts(self, memory: Memory) -> SafeString | str:
        """Return the turns that recalled it lately."""
        return show_prompts(memory)

    @once
    def _found(self, memory: Memory) -> dict[UUID, Source]:
        return sources_of(memory.source_messages)

    @button("What would a message recall?", icon="neurology")
    def recall(self, _request: HttpRequest) -> HttpResponse:
        """Go to the page that asks, which is the floor above's and guards itself."""
        return redirect("admin:agents_recall")


@admin.register(Relationship)
class RelationshipAdmin(ReadOnly, BigTable):
    """How people stand to each other, as one agent sees it."""

    list_display = (
        "user_a",
        "relationship_type",
        "user_b",
        "strength_bar",
        "agent",
        "room",
        "tag_list",
        "updated_at",
    )
    list_display_links = ("user_a", "relationship_type")
    list_filter = ("agent", WhenFilter)
    list_select_related = ("agent", "user_a", "user_b", "room")
    list_defer = ("evidence", "agent__settings")
    search_fields = (
        "relationship_type",
        "user_a__name",
        "user_b__name",
    )
    id_search_fields = ("pk", "user_a", "user_b")
    fields = (
        ("user_a", "user_b"),
        ("relationship_type", "room"),
        ("strength_bar", "unfaded"),
        ("agent", "tag_list"),
        "shown_evidence",
        ("created_at", "updated_at"),
    )
    readonly_fields = ("strength_bar", "unfaded", "tag_list", "shown_evidence")

    @column("strength now", ordering="strength")
    def strength_bar(self, relationship: Relationship) -> SafeString:
        """Return the strength, as it has faded by now, as a bar and a number."""
        strength = faded(relationship.strength, relationship.updated_at, now=timezone.now())
        return format_html(
            '<meter class="eliza-strength" min="0" max="1" value="{}">{}</meter> {}',
            *[f"{strength:.2f}"] * 3,
        )

    @column("strength when it last grew")
    def unfaded(self, relationship: Relationship) -> str:
        """Return the strength that stands in the row."""
        return f"{relationship.strength:.2f}"

    @column("tags")
    def tag_list(self, relationship: Relationship) -> str:
        """Return the tags, side by side."""
        return ", ".join(map(str, relationship.tags)) or "–"

    @column("evidence")
    def shown_evidence(self, relationship: Relationship) -> SafeString | str:
        """Return what it was learnt from."""
        return show_json(relationship.evidence) if relationship.evidence else "none"


class ObjectiveRows(Rows):
    """The parts of a goal."""

    model = Objective
    fields = ("position", "description", "is_done", "done_at", "shown_by")
    readonly_fields = ("done_at", "shown_by")

    @column("shown by")
    def shown_by(self, objective: Objective) -> SafeString | str:
        """Return a link to the message that showed it to be done."""
        return message_link(objective.shown_by_message)


@admin.register(Goal)
class GoalAdmin(Page):
    """Goals and their objectives, for people to set and to follow."""

    list_display = (
        "name",
        "coloured_status",
        "progress",
        "agent",
        "person",
        "room",
        "created_at",
        "completed_at",
    )
    list_filter = ("status", "agent", WhenFilter)
    list_select_related = ("agent", "person", "room")
    list_defer = ("agent__settings",)
    search_fields = ("name",)
    id_search_fields = ("pk", "person", "room")
    ordering = ("-id",)
    autocomplete_fields = ("agent", "person", "room")
    fields = (("name", "status"), ("person", "room"), "agent", ("created_at", "completed_at"))
    readonly_fields = ("created_at", "completed_at")
    inlines = (ObjectiveRows,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[Goal]:
        """Count each goal's objectives, and those that are done."""
        goals: QuerySet[Goal] = super().get_queryset(request)
        return goals.annotate(
            objective_total=Count("objectives"),
            done_total=Count("objectives", filter=Q(objectives__is_done=True)),
        )

    def save_model(self, request: HttpRequest, obj: Goal, form: Any, change: bool) -> None:
        """Save all but the status, which the goals' own verb changes once the objectives stand."""
        form.wanted_status = obj.status
        obj.status = form.initial.get("status", Goal.Status.ACTIVE) if change else Goal.Status.ACTIVE
        super().save_model(request, obj, form, change)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Save the objectives; what was ticked is completed by the verb, so that its event is emitted."""
        done = []
        for row in (row for formset in formsets for row in formset.forms if "is_done" in row.changed_data):
            if row.instance.is_done and not row.cleaned_data.get("DELETE"):
                done.append(row.instance.description)
            row.instance.is_done, row.instance.done_at = False, None
        super().save_related(request, form, formsets, change)
        goal: Goal = form.instance
        set_goal(
            agent_id=goal.agent_id,
            person_id=goal.person_id,
            room_id=goal.room_id,
            name=goal.name,
            status=form.wanted_status,
            completed_objectives=done,
        )

    @column("status", ordering="status", label=_GOAL_COLOURS)
    def coloured_status(self, goal: Goal) -> str:
        """Return the status, coloured."""
        return goal.status

    @column("objectives done")
    def progress(self, goal: Any) -> str:
        """Return how many objectives are done, of how many."""
        return f"{goal.done_total} of {goal.objective_total}"
