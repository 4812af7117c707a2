"""The admin of the runtime's tables, one module a subject; Django's admin finds it when the site starts."""

from agents.admin import agents, approvals, audit, characters, conversations, deliveries, turns, versions

__all__ = ["agents", "approvals", "audit", "characters", "conversations", "deliveries", "turns", "versions"]
