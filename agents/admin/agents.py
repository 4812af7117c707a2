"""The pages of agents: how each works, and starting, pausing and stopping it."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

from django.contrib import admin, messages
from django.db.models import Count, F, IntegerField, Model, OuterRef, QuerySet, Subquery
from django.db.models.functions import Coalesce
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import URLPattern, path, reverse
from django.utils.http import urlencode
from django.utils.safestring import SafeString

from agents.admin.recollections import may_recall, recall_page
from agents.agents import pause, start, stop
from agents.models import Agent, Character, Turn
from plugins.admin_pages import Page, Rows, button, column, link_to

# The floor above owns this table; an agent knows it by the key that points here.
_CONNECTION = Agent._meta.get_field("connections").related_model
_STATUS_COLOURS = {
    Agent.Status.RUNNING: "success",
    Agent.Status.PAUSED: "warning",
    Agent.Status.STOPPED: "danger",
}
_DIALOG = {"form_class": None, "description": ""}


class ConnectionRows(Rows):
    """An agent's accounts on networks; each has a page with its secrets and settings."""

    model = _CONNECTION
    fields = ("connection_link", "platform", "transport", "external_id", "is_enabled")
    readonly_fields = ("connection_link", "platform", "transport", "external_id")
    can_delete = False

    def has_add_permission(self, _request: HttpRequest, _obj: Model | None = None) -> bool:
        """Allow nobody: a connection is added on its own page, where its secrets are."""
        return False

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Leave secrets in the database."""
        return super().get_queryset(request).defer("secrets")

    @column("connection")
    def connection_link(self, connection: Any) -> SafeString | str:
        """Return a link to the connection's own page."""
        return link_to(type(connection), connection.pk, connection)


@admin.register(Agent)
class AgentAdmin(Page):
    """Agents: status, ways of working, connections."""

    list_display = (
        "name",
        "character_link",
        "coloured_status",
        "connection_count",
        "open_count",
        "dead_count",
        "updated_at",
    )
    list_filter = ("status",)
    list_defer = ("settings", "apology", "character__document", "character__secrets")
    search_fields = ("name", "slug", "character__name")
    id_search_fields = ("pk", "character")
    ordering = ("name",)
    autocomplete_fields = ("character",)
    prepopulated_fields = {"slug": ("name",)}
    readonly_fields = ("coloured_status", "character_link", "revision", "created_at", "updated_at")
    inlines = (ConnectionRows,)
    actions = ("start_agents", "pause_agents", "stop_agents")
    actions_detail = ("start_agent", "pause_agent", "stop_agent", "recall")
    fieldsets = (
        (None, {"fields": (("name", "slug"), ("character", "coloured_status"))}),
        (
            "How it works through messages",
            {"fields": (("lane_scope", "on_uncertain"), ("double_texting", "hears_stop"), "apology")},
        ),
        ("Talk with bots", {"fields": (("bot_turn_limit", "talk_share_limit"),)}),
        ("Models", {"fields": (("model_small", "model_large"), ("temperature", "max_tokens"))}),
        ("Settings", {"fields": ("settings", "revision", ("created_at", "updated_at"))}),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet[Agent]:
        """Count what is connected, what waits and what died, by the indexes of open and dead turns."""
        open_turns = Turn.objects.filter(state__in=[Turn.State.WAITING, Turn.State.RUNNING])
        agents: QuerySet[Agent] = super().get_queryset(request)
        return agents.select_related("character").annotate(
            connection_total=_count(_CONNECTION._default_manager.filter(is_enabled=True)),
            open_total=_count(open_turns),
            dead_total=_count(Turn.objects.filter(state=Turn.State.DEAD)),
        )

    def get_urls(self) -> list[URLPattern]:
        """Add the page that asks what a message would recall."""
        page = self.admin_site.admin_view(partial(recall_page, self.admin_site))
        return [path("recall/", page, name="agents_recall"), *super().get_urls()]

    def get_actions(self, request: HttpRequest) -> dict[str, Any]:
        """Offer no deletion of many: an agent's history goes with it."""
        actions: dict[str, Any] = super().get_actions(request)
        actions.pop("delete_selected", None)
        return actions

    def has_delete_permission(self, request: HttpRequest, obj: Agent | None = None) -> bool:
        """Allow it where nothing was said yet; an agent with a history is stopped instead."""
        if not super().has_delete_permission(request, obj):
            return False
        return not isinstance(obj, Agent) or not obj.messages.exists()

    def save_model(self, _request: HttpRequest, obj: Agent, form: Any, change: bool) -> None:
        """Save what was changed, and raise the revision by which workers notice."""
        if not change:
            obj.save()
            return
        changed = [name for name in form.changed_data if name in form.cleaned_data]
        Agent.objects.filter(pk=obj.pk).update(revision=F("revision") + 1)
        obj.save(update_fields=[*changed, "updated_at"])

    @column("character")
    def character_link(self, agent: Agent) -> SafeString | str:
        """Return a link to the character."""
        return link_to(Character, agent.character_id, agent.character)

    @column("status", ordering="status", label=_STATUS_COLOURS)
    def coloured_status(self, agent: Agent) -> str:
        """Return the status, coloured."""
        return agent.status

    @column("connections", ordering="connection_total")
    def connection_count(self, agent: Any) -> int:
        """Return how many connections are enabled."""
        return int(agent.connection_total)

    @column("turns to work", ordering="open_total")
    def open_count(self, agent: Any) -> int:
        """Return how many turns wait or run."""
        return int(agent.open_total)

    @column("dead letters", ordering="dead_total")
    def dead_count(self, agent: Any) -> int:
        """Return how many turns failed for good."""
        return int(agent.dead_total)

    @admin.action(description="Start the selected agents", permissions=["change"])
    def start_agents(self, request: HttpRequest, agents: QuerySet[Agent]) -> None:
        """Start them."""
        self._each(request, agents, start, "started")

    @admin.action(description="Pause the selected agents", permissions=["change"])
    def pause_agents(self, request: HttpRequest, agents: QuerySet[Agent]) -> None:
        """Pause them."""
        self._each(request, agents, pause, "paused")

    @admin.action(description="Stop the selected agents", permissions=["change"])
    def stop_agents(self, request: HttpRequest, agents: QuerySet[Agent]) -> None:
        """Stop them."""
        self._each(request, agents, stop, "stopped")

    @button(
        "Start",
        permissions=["change"],
        icon="play_arrow",
        dialog={**_DIALOG, "title": "Start this agent?", "form_submit_text": "Start"},
    )
    def start_agent(self, request: HttpRequest, _form: Any, object_id: str) -> HttpResponse:
        """Start it."""
        return self._one(request, object_id, start, "started")

    @button(
        "Pause",
        permissions=["change"],
        icon="pause",
        dialog={
            **_DIALOG,
            "title": "Pause this agent?",
            "description": "Its messages wait until it is started again.",
            "form_submit_text": "Pause",
        },
    )
    def pause_agent(self, request: HttpRequest, _form: Any, object_id: str) -> HttpResponse:
        """Pause it."""
        return self._one(request, object_id, pause, "paused")

    @button(
        "Stop",
        permissions=["change"],
        icon="stop",
        dialog={
            **_DIALOG,
            "title": "Stop this agent?",
            "description": "It takes no more messages until it is started again.",
            "form_submit_text": "Stop",
        },
    )
    def stop_agent(self, request: HttpRequest, _form: Any, object_id: str) -> HttpResponse:
        """Stop it."""
        return self._one(request, object_id, stop, "stopped")

    def has_recall_permission(self, request: HttpRequest, _obj: Model | str | None = None) -> bool:
        """Allow those who may see memories."""
        return may_recall(request)

    @button("What would it recall?", permissions=["recall"], icon="neurology")
    def recall(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Go to the page that asks, with this agent chosen."""
        agent = self.get_object(request, object_id)
        if agent is None:
            raise Http404(f"There is no agent {object_id}.")
        return redirect(f"{reverse('admin:agents_recall')}?{urlencode({'agent': agent.slug})}")

    def _each(
        self, request: HttpRequest, agents: QuerySet[Agent], verb: Callable[[Agent], None], done: str
    ) -> None:
        names = []
        for agent in agents:
            verb(agent)
            self.log_change(request, agent, f"{done.capitalize()}.")
            names.append(agent.name)
        messages.success(request, f"{', '.join(names)}: {done}.")

    def _one(
        self, request: HttpRequest, object_id: str, verb: Callable[[Agent], None], done: str
    ) -> HttpResponse:
        agent = self.get_object(request, object_id)
        if agent is None:
            raise Http404(f"There is no agent {object_id}.")
        self._each(request, [agent], verb, done)  # type: ignore[arg-type]
        return HttpResponse(headers={"HX-Redirect": reverse("admin:agents_agent_change", args=[agent.pk])})


def _count(rows: QuerySet[Any]) -> Coalesce:
    counted = rows.filter(agent=OuterRef("pk")).order_by().values("agent").annotate(total=Count("pk"))
    return Coalesce(Subquery(counted.values("total")), 0, output_field=IntegerField())
