"""The doctor's looks at what agents bring: plugins, characters and connections."""

from __future__ import annotations

from agents.models import Agent
from eliza_site.doctor.findings import Finding, note, ok, wrong
from plugins.registry import get_registry, unknown_plugins
from transports.fake.transport import FAKE_NAMES
from transports.models import Connection
from transports.registry import TRANSPORTS


def look_at_plugins() -> list[Finding]:
    """Load the plugins, and say which were refused."""
    registry = get_registry()
    refused = [
        wrong(f"{refusal.name} is refused: {refusal.reason}", f"Mend it, or take {refusal.path} out.")
        for refusal in registry.refused
    ]
    return refused or [ok(f"{len(registry.plugins)} are loaded, and none is refused.")]


def look_at_agents() -> list[Finding]:
    """Look whether any agent is at work, and for plugins that its character names and nobody has."""
    agents = list(Agent.objects.select_related("character"))
    if not agents:
        return [wrong("There is none.", "Run: python manage.py load_character characters/eliza.json")]
    running = [agent for agent in agents if agent.status == Agent.Status.RUNNING]
    found = []
    if not running:
        found.append(wrong("None is running.", "Start one in the admin, under Agents."))
    for agent in agents:
        if unknown := unknown_plugins(agent.character.document.get("plugins") or ()):
            cure = "Install them, or take them out of the character's plugins."
            found.append(note(f"{agent.name} names plugins that are not here: {', '.join(unknown)}.", cure))
    return found or [ok(f"{len(running)} of {len(agents)} are running.")]


def look_at_connections() -> list[Finding]:
    """Look for connections that reach no network."""
    found = []
    names = (
        Connection.objects.filter(is_enabled=True).select_related("agent").order_by("agent__name", "platform")
    )
    for connection in names:
        where = f"{connection.agent.name}'s connection to {connection.platform}"
        if connection.transport not in TRANSPORTS:
            cure = f"Choose one of {', '.join(sorted(TRANSPORTS))} in the admin."
            found.append(wrong(f"{where} has the transport {connection.transport!r}, which is none.", cure))
        elif connection.transport in FAKE_NAMES:
            found.append(note(f"{where} is of a fake transport: replies are kept, and sent nowhere."))
    return found or [ok(f"{len(names)} are open.")]
