"""The admin's looks: its title, colours, and a menu of what the user may see. `settings.UNFOLD` names it."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest
from django.templatetags.static import static
from django.urls import reverse

# (title, icon, table, query)
GROUPS = (
    (
        "Cast",
        (
            ("Characters", "theater_comedy", "agents.character", ""),
            ("Agents", "smart_toy", "agents.agent", ""),
            ("Connections", "cable", "transports.connection", ""),
            ("Goals", "flag", "memory.goal", ""),
        ),
    ),
    (
        "Conversations",
        (
            ("Messages", "chat", "agents.message", ""),
            ("Rooms", "meeting_room", "agents.room", ""),
            ("Worlds", "public", "agents.world", ""),
            ("People", "group", "agents.person", ""),
        ),
    ),
    (
        "Work",
        (
            ("Turns", "sync", "agents.turn", ""),
            ("Dead letters", "report", "agents.turn", "?state__exact=dead"),
            ("Approvals", "approval", "agents.approval", ""),
            ("Deliveries", "outbox", "agents.delivery", ""),
            ("Uncertain deliveries", "help", "agents.delivery", "?state__exact=uncertain"),
        ),
    ),
    (
        "Memory",
        (
            ("Memories", "neurology", "memory.memory", ""),
            ("Documents", "description", "memory.document", ""),
            ("Facts", "fact_check", "memory.fact", ""),
            ("Episodes", "auto_stories", "memory.episode", ""),
            ("Relationships", "handshake", "memory.relationship", ""),
            ("Reflection", "self_improvement", "memory.conversation", ""),
            ("Vector spaces", "hub", "memory.vectorspace", ""),
        ),
    ),
    (
        "Plugins",
        (
            ("Plugins", "extension", "plugins.plugin", ""),
            ("Scheduled tasks", "schedule", "plugins.scheduledtask", ""),
            ("Plugin state", "data_object", "plugins.pluginstate", ""),
            ("Events", "bolt", "plugins.event", ""),
        ),
    ),
    (
        "Access",
        (
            ("API keys", "key", "transports.apikey", ""),
            ("Audit", "policy", "agents.auditentry", ""),
            ("Users", "person", "auth.user", ""),
            ("Groups", "groups", "auth.group", ""),
        ),
    ),
)


def navigation(request: HttpRequest) -> list[dict[str, Any]]:
    """Return the menu's groups, with only what this user may see."""
    groups = []
    for title, entries in GROUPS:
        items = [
            _item(request, name, icon, table, query)
            for name, icon, table, query in entries
            if _may_see(request, table)
        ]
        if items:
            groups.append({"title": title, "items": items})
    return groups


def stylesheet(_request: HttpRequest) -> str:
    """Return the address of the admin's few styles of its own."""
    return static("eliza_site/admin.css")


def _item(request: HttpRequest, name: str, icon: str, table: str, query: str) -> dict[str, Any]:
    path = reverse(f"admin:{table.replace('.', '_')}_changelist")
    wanted = query.removeprefix("?")
    asked = request.GET.urlencode()
    siblings = {q.removeprefix("?") for _t, entries in GROUPS for _n, _i, t, q in entries if t == table and q}
    is_here = request.path.startswith(path)
    is_active = is_here and (wanted == asked if wanted else asked not in siblings)
    return {"title": name, "icon": icon, "link": path + query, "active": lambda _request: is_active}


def _may_see(request: HttpRequest, table: str) -> bool:
    app, model = table.split(".")
    user = request.user
    return user.has_perm(f"{app}.view_{model}") or user.has_perm(f"{app}.change_{model}")
