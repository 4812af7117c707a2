"""Writes what was loaded and refused into the plugins' table; `manage.py list_plugins --record` calls it.

Loading itself makes no SQL: a process must start where the database is away.
"""

from __future__ import annotations

from django.db import transaction
from django.db.models.functions import Now

from plugins.models import Plugin
from plugins.registry import get_registry


@transaction.atomic
def record_plugins() -> int:
    """Note each plugin that this process loaded or refused, and return how many there are.

    A plugin noted earlier that is there no more stays, and says so.
    """
    registry = get_registry()
    names = [
        *(loaded.plugin.name for loaded in registry.plugins),
        *(refusal.name[:100] for refusal in registry.refused),
    ]
    Plugin.objects.exclude(name__in=names).update(error="It was not found when plugins were last recorded.")
    for refusal in registry.refused:
        Plugin.objects.update_or_create(
            name=refusal.name[:100],
            defaults={"path": refusal.path[:200], "error": refusal.reason},
        )
    for loaded in registry.plugins:
        plugin = loaded.plugin
        Plugin.objects.update_or_create(
            name=plugin.name,
            defaults={
                "path": loaded.path[:200],
                "version": plugin.version[:50],
                "description": plugin.description[:500],
                "permissions": sorted(plugin.permissions),
                "error": "",
                "loaded_at": Now(),
            },
        )
    return len(names)
