"""The pages of plugins: which there are and what they may do, what they keep, their calendar, events."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Count, Model, OuterRef, Q, QuerySet, Subquery
from django.http import HttpRequest
from django.utils.safestring import SafeString

from plugins.admin_pages import (
    BigTable,
    HistoryRows,
    Page,
    ReadOnly,
    WhenFilter,
    column,
    shorten,
    show_json,
    show_text,
)
from plugins.models import Event, Plugin, PluginState, ScheduledTask, TaskRun

_RUN_COLOURS = {
    TaskRun.State.RUNNING: "info",
    TaskRun.State.DONE: "success",
    TaskRun.State.FAILED: "danger",
}


class Found(Page):
    """Rows that the software makes itself: a person may only switch them off and on."""

    def has_add_permission(self, _request: HttpRequest) -> bool:
        """Allow nobody."""
        return False

    def has_delete_permission(self, _request: HttpRequest, _obj: Model | None = None) -> bool:
        """Allow nobody."""
        return False


@admin.register(Plugin)
class PluginAdmin(ReadOnly, Page):
    """The plugins that were found."""

    list_display = ("name", "version", "asked_permissions", "loaded_at", "first_error")
    search_fields = ("name", "description")
    ordering = ("name",)
    fields = (("name", "version"), "description", "path", "asked_permissions", "whole_error", "loaded_at")
    readonly_fields = ("asked_permissions", "whole_error")

    @column("asks for")
    def asked_permissions(self, plugin: Plugin) -> str:
        """Return the permissions that it asks for."""
        return ", ".join(plugin.permissions) or "nothing"

    @column("why it was refused")
    def first_error(self, plugin: Plugin) -> str:
        """Return how the error begins."""
        return shorten(plugin.error)

    @column("why it was refused")
    def whole_error(self, plugin: Plugin) -> SafeString:
        """Return the error, line by line."""
        return show_text(plugin.error)


@admin.register(PluginState)
class PluginStateAdmin(ReadOnly, BigTable):
    """What plugins keep."""

    list_display = ("plugin", "agent", "room", "person", "updated_at")
    list_filter = ("agent", WhenFilter)
    list_select_related = ("agent", "room", "person")
    list_defer = ("state", "agent__settings")
    search_fields = ("plugin",)
    id_search_fields = ("pk", "room", "person")
    fields = (("plugin", "agent"), ("room", "person"), "shown_state", "updated_at")
    readonly_fields = ("shown_state",)

    @column("state")
    def shown_state(self, kept: PluginState) -> SafeString:
        """Return the state as JSON."""
        return show_json(kept.state)


class TaskRunRows(HistoryRows):
    """The runs of a scheduled task, newest first."""

    model = TaskRun
    fields = ("slot", "coloured_state", "attempts", "started_at", "ended_at", "shown_error")
    readonly_fields = fields
    verbose_name_plural = "runs"

    @column("state", label=_RUN_COLOURS)
    def coloured_state(self, run: TaskRun) -> str:
        """Return the state, coloured."""
        return run.state

    @column("error")
    def shown_error(self, run: TaskRun) -> SafeString:
        """Return the error, line by line."""
        return show_text(run.error)


@admin.register(ScheduledTask)
class ScheduledTaskAdmin(Found):
    """What is on agents' calendars; a person may only switch a task off and on."""

    list_display = (
        "__str__",
        "agent",
        "room",
        "schedule",
        "is_enabled",
        "next_run_at",
        "last_state",
        "failed_runs",
    )
    list_filter = ("is_enabled", "agent", WhenFilter)
    list_select_related = ("agent", "room")
    list_defer = ("arguments", "agent__settings")
    search_fields = ("plugin", "task")
    id_search_fields = ("pk", "agent", "room")
    ordering = ("-id",)
    fields = (
        ("plugin", "task"),
        ("agent", "room"),
        ("schedule", "next_run_at"),
        "is_enabled",
        "shown_arguments",
        "created_at",
    )
    readonly_fields = (
        "plugin",
        "task",
        "agent",
        "room",
        "schedule",
        "next_run_at",
        "shown_arguments",
        "created_at",
    )
    inlines = (TaskRunRows,)

    def get_queryset(self, request: HttpRequest) -> QuerySet[ScheduledTask]:
        """Find how the last run ended, and count those that failed."""
        last = TaskRun.objects.filter(task=OuterRef("pk")).order_by("-slot").values("state")[:1]
        tasks: QuerySet[ScheduledTask] = super().get_queryset(request)
        return tasks.annotate(
            last_run_state=Subquery(last),
            failed_total=Count("runs", filter=Q(runs__state=TaskRun.State.FAILED)),
        )

    @column("last run", label=_RUN_COLOURS)
    def last_state(self, task: Any) -> Any:
        """Return how the last run stands."""
        return task.last_run_state or None

    @column("failed runs", ordering="failed_total")
    def failed_runs(self, task: Any) -> int:
        """Return how many runs failed."""
        return int(task.failed_total)

    @column("arguments")
    def shown_arguments(self, task: ScheduledTask) -> SafeString | str:
        """Return the arguments as JSON."""
        return show_json(task.arguments) if task.arguments else "none"


class HandledFilter(admin.SimpleListFilter):
    """Filters events by whether they were handled."""

    title = "handled"
    parameter_name = "handled"

    def lookups(self, _request: HttpRequest, _model_admin: Any) -> list[tuple[str, str]]:
        """Return the two answers."""
        return [("no", "waiting"), ("yes", "handled")]

    def queryset(self, _request: HttpRequest, queryset: QuerySet[Any]) -> QuerySet[Any]:
        """Keep those that were handled, or those that were not."""
        if self.value() not in ("yes", "no"):
            return queryset
        return queryset.filter(handled_at__isnull=self.value() == "no")


@admin.register(Event)
class EventAdmin(ReadOnly, BigTable):
    """Durable events, and how their handling went."""

    list_display = ("name", "created_at", "handled_at", "attempts", "first_error")
    list_filter = (HandledFilter, WhenFilter)
    list_defer = ("payload",)
    search_fields = ("name",)
    fields = (
        ("name", "created_at"),
        ("handled_at", "attempts"),
        "lease_until",
        "whole_error",
        "shown_payload",
    )
    readonly_fields = ("whole_error", "shown_payload")

    @column("error")
    def first_error(self, event: Event) -> str:
        """Return how the error begins."""
        return shorten(event.error)

    @column("error")
    def whole_error(self, event: Event) -> SafeString:
        """Return the error, line by line."""
        return show_text(event.error)

    @column("payload")
    def shown_payload(self, event: Event) -> SafeString:
        """Return the payload as JSON."""
        return show_json(event.payload)
