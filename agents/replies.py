"""Reads a model's answer, by whichever path the model took: JSON, elizaOS' XML, or plain text.

`read_answer` reads a whole answer; `VisibleText` finds the words for the person while it streams.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SILENT_ACTIONS = ("IGNORE", "NONE")
REPLY = "REPLY"

_TEXT_OPENS = "<text>"
_TEXT_CLOSES = "</text>"
_FENCED = re.compile(r"^```(?:json|xml)?\s*\n(.*?)\n?```\s*$", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a model wants said and done. `arguments` has those of each action that was given some."""

    text: str
    actions: tuple[str, ...] = (REPLY,)
    thought: str = ""
    parse_path: str = "text"
    arguments: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)


def read_answer(raw: str) -> Answer:
    """Read an answer; what is neither JSON nor XML is taken as the words for the person."""
    text = raw.strip()
    fenced = _FENCED.match(text)
    inner = fenced.group(1).strip() if fenced else text
    if inner.startswith("{"):
        answer = _read_json(inner)
        if answer is not None:
            return answer
    if "<response>" in text or text.startswith(("<thought>", "<actions>", _TEXT_OPENS)):
        return _read_xml(text)
    if text.strip(" .!").upper() in SILENT_ACTIONS:
        return Answer(text="", actions=(text.strip(" .!").upper(),))
    return Answer(text=text)


def _read_json(text: str) -> Answer | None:
    try:
        found, _end = json.JSONDecoder().raw_decode(text)
    except (json.JSONDecodeError, RecursionError):
        return None
    if not isinstance(found, dict) or not ({"text", "actions", "action"} & found.keys()):
        return None
    words = found.get("text")
    names, arguments = _named_actions(found.get("actions", found.get("action")))
    return Answer(
        text=words.strip() if isinstance(words, str) else "",
        actions=names or (REPLY,),
        thought=str(found.get("thought") or ""),
        parse_path="json",
        arguments=arguments,
    )


def _named_actions(found: Any) -> tuple[tuple[str, ...], dict[str, Mapping[str, Any]]]:
    if isinstance(found, str):
        return tuple(name.strip() for name in found.split(",") if name.strip()), {}
    names: list[str] = []
    arguments: dict[str, Mapping[str, Any]] = {}
    for entry in found if isinstance(found, list) else []:
        name = entry.get("name") if isinstance(entry, dict) else entry
        if not isinstance(name, str) or not name.strip():
            continue
        names.append(name.strip())
        given = entry.get("arguments") or entry.get("params") if isinstance(entry, dict) else None
        if isinstance(given, dict):
            arguments[name.strip()] = given
    return tuple(names), arguments


def _read_xml(text: str) -> Answer:
    names, arguments = _named_actions(_element(text, "actions"))
    if names:
        arguments = _xml_arguments(text)
    return Answer(
        text=_words(text),
        actions=names or (REPLY,),
        thought=_element(text, "thought"),
        parse_path="xml",
        arguments=arguments,
    )


def _element(text: str, name: str) -> str:
    found = re.search(rf"<{name}>(.*?)</{name}>", text, re.DOTALL)
    return found.group(1).strip() if found else ""


def _words(text: str) -> str:
    # To the last closing tag: words that mention a tag must not end the words.
    start = text.find(_TEXT_OPENS)
    if start < 0:
        return ""
    end = text.rfind(_TEXT_CLOSES)
    if end < start:
        end = text.find("</response>", start)
    return text[start + len(_TEXT_OPENS) : end if end >= 0 else None].strip()


def _xml_arguments(text: str) -> dict[str, Mapping[str, Any]]:
    try:
        found = json.loads(_element(text, "arguments") or "{}")
    except (json.JSONDecodeError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {name: given for name, given in found.items() if isinstance(given, dict)}


class VisibleText:
    """Finds, piece by piece, the words for the person in an answer that streams.

    Plain text passes through; of XML only what stands in `<text>` is shown; JSON is shown at its end.
    """

    def __init__(self) -> None:
        self._held = ""
        self._is_plain: bool | None = None
        self._is_inside = False

    def feed(self, piece: str) -> str:
        """Return what of the answer so far can be shown and was not yet."""
        if self._is_plain:
            return piece
        self._held += piece
        if self._is_plain is None:
            start = self._held.lstrip()
            if not start:
                return ""
            self._is_plain = start[0] not in "<{`"
            if self._is_plain:
                shown, self._held = start, ""
                return shown
        return self._feed_xml()

    def _feed_xml(self) -> str:
        if not self._is_inside:
            start = self._held.find(_TEXT_OPENS)
            if start < 0:
                return ""
            self._is_inside = True
            self._held = self._held[start + len(_TEXT_OPENS) :].lstrip()
        shown = ""
        while self._held and not self._held.startswith(_TEXT_CLOSES):
            tag = self._held.find("<")
            if tag < 0:
                shown, self._held = shown + self._held, ""
            elif tag > 0:
                shown, self._held = shown + self._held[:tag], self._held[tag:]
            elif _TEXT_CLOSES.startswith(self._held):
                break  # the rest of the tag is still to come
            else:
                shown, self._held = shown + "<", self._held[1:]
        return shown
