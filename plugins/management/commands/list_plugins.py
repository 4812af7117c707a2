"""`manage.py list_plugins`: what is loaded, what it brings and may do; what was refused, with the cure."""

from __future__ import annotations

import json
from typing import Any

from django.core.management.base import BaseCommand, CommandError, CommandParser

from plugins.loader import LoadedPlugin
from plugins.permissions import granted_permissions
from plugins.records import record_plugins
from plugins.registry import get_registry
from plugins.validation import COMPONENT_TYPES, name_of


class Command(BaseCommand):
    """Lists plugins; exits with 1 where one was refused."""

    help = "List the loaded plugins with what they bring, and the refused ones with reason and cure."

    def add_arguments(self, parser: CommandParser) -> None:
        """Declare the command's options."""
        parser.add_argument("--json", action="store_true", help="Write JSON.")
        parser.add_argument("--record", action="store_true", help="Also write it into the plugins' table.")

    def handle(self, *_args: Any, **options: Any) -> None:
        """Print the list."""
        registry = get_registry()
        plugins = [_described(loaded) for loaded in registry.plugins]
        refused = [
            {"name": refusal.name, "path": refusal.path, "reason": refusal.reason}
            for refusal in registry.refused
        ]
        if options["record"]:
            record_plugins()
        if options["json"]:
            self.stdout.write(json.dumps({"plugins": plugins, "refused": refused}, indent=2))
        else:
            self._print(plugins, refused)
        if refused:
            raise CommandError(f"{len(refused)} refused.")

    def _print(self, plugins: list[dict[str, Any]], refused: list[dict[str, str]]) -> None:
        for plugin in plugins:
            self.stdout.write(f"{plugin['name']} {plugin['version']} ({plugin['origin']}, {plugin['path']})")
            for kind, names in plugin["brings"].items():
                self.stdout.write(f"  {kind}: {', '.join(names)}")
            if plugin["permissions"]:
                self.stdout.write(f"  asks for: {', '.join(plugin['permissions'])}")
                self.stdout.write(f"  granted: {', '.join(plugin['granted']) or 'nothing'}")
        for refusal in refused:
            self.stderr.write(f"refused: {refusal['name']}: {refusal['reason']}")


def _described(loaded: LoadedPlugin) -> dict[str, Any]:
    plugin = loaded.plugin
    return {
        "name": plugin.name,
        "version": plugin.version,
        "description": plugin.description,
        "origin": loaded.origin.value,
        "path": loaded.path,
        "brings": {
            kind: [name_of(component) for component in getattr(plugin, kind)]
            for kind in COMPONENT_TYPES
            if getattr(plugin, kind)
        },
        "permissions": sorted(plugin.permissions),
        "granted": sorted(granted_permissions(plugin.name)),
    }
