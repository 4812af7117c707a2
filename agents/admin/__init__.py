"""The admin of the runtime's tables, one module a subject; Django's admin finds it when the site starts."""

from agents.admin import agents, audit, characters, conversations, deliveries, turns, versions

__all__ = ["agents", "audit", "characters", "conversations", "deliveries", "turns", "versions"]
