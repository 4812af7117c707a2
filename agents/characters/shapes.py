"""Brings a checked character of elizaOS' 0.25 or 2.x line into the 1.x shape; `parse_character` calls it.

From 0.25: a message's `user` becomes `name`, its `{{user1}}` becomes `{{name1}}`, `action` becomes `actions`,
a plugin's object its name. From 2.x: an example's `{"examples": […]}` becomes the list, `documents` and
`{"item": {"case": …}}` become 1.x knowledge sources. What 1.x has no place for stays under its own key. Of the words,
the name alone is composed (NFC): it is looked for in what people say.
"""

from __future__ import annotations

import copy
import re
from typing import Any

from agents.characters.checks import is_wrapped
from agents.characters.documents import JSONObject
from agents.cleaning import compose

V1_KEYS = (
    "id",
    "name",
    "username",
    "system",
    "bio",
    "messageExamples",
    "postExamples",
    "topics",
    "adjectives",
    "style",
    "knowledge",
    "plugins",
    "templates",
    "settings",
    "secrets",
)
_NULL_MEANS_ABSENT = {*V1_KEYS, "lore", "documents", "advancedPlanning", "advancedMemory"}
_RENAMED = {
    "message_examples": "messageExamples",
    "post_examples": "postExamples",
    "advanced_planning": "advancedPlanning",
    "advanced_memory": "advancedMemory",
}
_USER_PLACEHOLDER = re.compile(r"\{\{\s*user(\d*)\s*\}\}")


def normalise(data: JSONObject) -> JSONObject:
    """Return a checked character in the 1.x shape; what was given is left as it was."""
    given = copy.deepcopy(data["character"] if is_wrapped(data) else data)
    character = {
        key: value for key, value in given.items() if value is not None or key not in _NULL_MEANS_ABSENT
    }
    for old, new in _RENAMED.items():
        if character.get(old) is not None and new not in character:
            character[new] = character.pop(old)
    character["name"] = compose(character["name"].strip())
    for key in ("bio", "lore"):
        if isinstance(character.get(key), str):
            character[key] = [character[key]] if character[key].strip() else []
    character.setdefault("bio", [])
    if "messageExamples" in character:
        character["messageExamples"] = [_conversation(entry) for entry in character["messageExamples"]]
    if "plugins" in character:
        character["plugins"] = [_plugin(entry) for entry in character["plugins"]]
    sources = [*character.get("knowledge", ()), *character.pop("documents", ())]
    if sources or "knowledge" in character:
        character["knowledge"] = [_knowledge(entry) for entry in sources]
    return character


def _conversation(entry: Any) -> list[JSONObject]:
    messages = entry["examples"] if isinstance(entry, dict) else entry
    return [_message(message) for message in messages]


def _message(message: JSONObject) -> JSONObject:
    content = dict(message["content"])
    renamed = {**message, "content": content}
    if "name" not in message:
        renamed = {"name": _rename_users(renamed.pop("user")), **renamed}
        if isinstance(content.get("text"), str):
            content["text"] = _rename_users(content["text"])
    if content.get("action") and content.get("actions") is None:
        content["actions"] = [content.pop("action")]
    return renamed


def _rename_users(text: str) -> str:
    return _USER_PLACEHOLDER.sub(r"{{name\1}}", text)


def _plugin(entry: Any) -> str:
    return str(entry["name"]) if isinstance(entry, dict) else entry


def _knowledge(entry: Any) -> Any:
    if not isinstance(entry, dict):
        return entry
    item = entry.get("item")
    if isinstance(item, dict):
        rest = {key: value for key, value in entry.items() if key != "item"}
        entry = {**rest, item["case"]: item["value"]} if "case" in item else entry
    directory = entry.get("directory")
    if isinstance(directory, dict):
        rest = {key: value for key, value in directory.items() if key != "path"}
        return {**entry, "directory": directory["path"], **rest}
    return entry
