"""How the admin shows where a memory came from, what took the place of what, and which turns had it in mind.

`memory.admin.memories` and `memory.admin.learnt` put these into their pages.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import pairwise
from uuid import UUID

from django.db.models import Model
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from memory.models import Memory
from memory.provenance import Source, Version, chain_of, looked_through, prompted_by
from plugins.admin_pages import fold, link_to, shorten

_WHEN = "%Y-%m-%d %H:%M"


def message_link(key: UUID | str | None) -> SafeString | str:
    """Return a link to a message's page, or a dash where there is none."""
    return _row_link("message", key, f"message {key}")


def turn_link(key: UUID | None, text: str) -> SafeString | str:
    """Return a link to a turn's page, or a dash where there is none."""
    return _row_link("turn", key, text)


def show_sources(keys: Iterable[str], found: dict[UUID, Source]) -> SafeString | str:
    """Show each message that something was made from: who said it where and when, and the turn that it was of."""
    by_key = {str(key): source for key, source in found.items()}
    lines = [_source_line(key, by_key.get(str(key))) for key in keys]
    return format_html_join("", "<div>{}</div>", ((line,) for line in lines)) or "–"


def _source_line(key: str, source: Source | None) -> SafeString | str:
    if source is None:
        return format_html("message {} (deleted since)", key)
    return format_html(
        "{} by {} in {} on {}{}",
        message_link(source.id),
        source.speaker or "somebody",
        _row_link("room", source.room_id, source.room),
        f"{source.said_at:{_WHEN}}",
        format_html(" ({})", turn_link(source.turn_id, "its turn")) if source.turn_id else "",
    )


def show_history(key: UUID, pages: type[Model]) -> SafeString | str:
    """Show the whole chain: what this took the place of, and what took its place; links go to pages of that table."""
    chain = chain_of(key)
    lines: list[SafeString | str] = []
    for version in chain:
        if version.place < 0:
            lines.append(
                format_html(
                    "{} held until {}.", link_to(pages, version.id, shorten(version.text)), _ended(version)
                )
            )
    newer = [version for version in chain if version.place >= 0]
    for version, after in pairwise(newer):
        name = "It" if version.id == key else link_to(pages, version.id, shorten(version.text))
        text = shorten(after.text) if after.replaced_by else "what holds now"
        lines.append(
            format_html("{} held until {}: {}.", name, _ended(version), link_to(pages, after.id, text))
        )
    return format_html_join("", "<div>{}</div>", ((line,) for line in lines)) or "–"


def _ended(version: Version) -> SafeString | str:
    if version.held_until is None:
        return "it was replaced"
    return format_html("{} ({})", f"{version.held_until:{_WHEN}}", message_link(version.ended_by))


def show_prompts(memory: Memory) -> SafeString | str:
    """Show the turns that had the memory in mind lately, and which turns were looked through."""
    found = prompted_by(memory)
    lines = format_html_join(
        "",
        "<div>{} with a score of {}</div>",
        ((turn_link(one.turn_id, f"turn of {one.at:{_WHEN}}"), f"{one.score:.2f}") for one in found),
    )
    return fold(f"{len(found) or 'None'} of {looked_through(memory)}", lines or "–")


def _row_link(table: str, key: UUID | str | None, text: str) -> SafeString | str:
    """Return a link to a page of the floor above, which is known here by its address alone."""
    if key is None:
        return "–"
    return format_html(
        '<a class="eliza-link" href="{}">{}</a>', reverse(f"admin:agents_{table}_change", args=[key]), text
    )
