"""The pages of what was learnt: facts with their history, episodes, and how far each conversation was looked at."""

from __future__ import annotations

from typing import Any

from django.contrib import admin
from django.db.models import Model, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from memory.admin.provenance import message_link, show_history, show_sources
from memory.models import Conversation, Episode, Fact, Memory
from memory.provenance import sources_of
from plugins.admin_pages import BigTable, ReadOnly, WhenFilter, column, link_to, once, shorten, show_text


class WhenMemoryFilter(WhenFilter):
    """Filters by when the memory was made."""

    key = "memory"


class _Learnt(BigTable):
    """What stands beside a memory: it is read, or deleted with it."""

    ordering = ("-memory",)
    joined: tuple[str, ...] = ("memory", "memory__agent")
    list_defer = ("memory__source_messages", "memory__agent__settings")

    def get_queryset(self, request: HttpRequest) -> QuerySet[Any]:
        """Join the memories, and leave their vectors in the database."""
        rows: QuerySet[Any] = super().get_queryset(request)
        return rows.select_related(*self.joined).defer("memory__embedding", "memory__second_embedding")

    def has_add_permission(self, _request: HttpRequest) -> bool:
        """Allow nobody: what was not said is not learnt."""
        return False

    def has_change_permission(self, _request: HttpRequest, _obj: Model | None = None) -> bool:
        """Allow nobody: what was learnt says what its sources said."""
        return False

    def delete_model(self, _request: HttpRequest, obj: Any) -> None:
        """Delete the memory with it."""
        obj.memory.delete()

    def delete_queryset(self, _request: HttpRequest, queryset: QuerySet[Any]) -> None:
        """Delete the memories with them."""
        Memory.objects.filter(pk__in=list(queryset.values_list("pk", flat=True))).delete()


@admin.register(Fact)
class FactAdmin(_Learnt):
    """Facts: whom they are about, how sure they are, what said so, and what took the place of what."""

    list_display = (
        "beginning",
        "type",
        "subject",
        "attribute",
        "sureness",
        "seen_count",
        "last_seen_at",
        "is_current",
        "agent",
    )
    list_filter = ("type", "memory__agent", WhenMemoryFilter)
    joined = ("memory", "memory__agent", "subject")
    search_fields = ("subject__name", "memory__text__icontains")
    search_help_text = "An id of a fact or person, or a part of a name or the text."
    id_search_fields = ("pk", "subject", "memory__person", "memory__room")
    fields = (
        ("type", "attribute", "value"),
        "whole_text",
        ("subject", "scope"),
        ("sureness", "seen_count", "last_seen_at"),
        "sources",
        "history",
        "as_memory",
    )
    readonly_fields = ("sureness", "whole_text", "scope", "sources", "history", "as_memory")

    @column("fact", ordering="memory")
    def beginning(self, fact: Fact) -> str:
        """Return how the text begins."""
        return shorten(fact.memory.text)

    @column("confidence", ordering="confidence")
    def sureness(self, fact: Fact) -> SafeString:
        """Return the confidence as a bar and a number."""
        return format_html(
            '<meter class="eliza-strength" min="0" max="1" value="{}">{}</meter> {}',
            *[f"{fact.confidence:.2f}"] * 3,
        )

    @column("holds", boolean=True)
    def is_current(self, fact: Fact) -> bool:
        """Tell whether nothing took its place."""
        return fact.memory.superseded_by_id is None

    @column("agent", ordering="memory__agent")
    def agent(self, fact: Fact) -> str:
        """Return the agent's name."""
        return str(fact.memory.agent)

    @column("text")
    def whole_text(self, fact: Fact) -> SafeString:
        """Return the text."""
        return show_text(fact.memory.text)

    @column("scope")
    def scope(self, fact: Fact) -> str:
        """Return where it may surface."""
        return fact.memory.get_scope_display()

    @column("said by")
    @once
    def sources(self, fact: Fact) -> SafeString | str:
        """Return the messages that said it, with who said each where and when."""
        keys = fact.memory.source_messages
        return show_sources(keys, sources_of(keys))

    @column("memory")
    def as_memory(self, fact: Fact) -> SafeString | str:
        """Return a link to the memory."""
        return link_to(Memory, fact.pk, "as it is recalled")

    @column("history")
    @once
    def history(self, fact: Fact) -> SafeString | str:
        """Return the whole chain that this fact is of: what took the place of what, when and by which message."""
        return show_history(fact.pk, Fact)


@admin.register(Episode)
class EpisodeAdmin(_Learnt):
    """Episodes: what conversations were about, and how they ended."""

    list_display = ("beginning", "agent", "room", "message_count", "began_at", "ended_at")
    list_filter = ("memory__agent", WhenMemoryFilter)
    joined = ("memory", "memory__agent", "memory__room")
    search_fields = ("memory__text__icontains",)
    id_search_fields = ("pk", "memory__room", "memory__person")
    fields = (
        "whole_text",
        "outcome",
        ("began_at", "ended_at", "message_count"),
        ("first", "last"),
        "participants",
        "as_memory",
    )
    readonly_fields = ("whole_text", "first", "last", "as_memory")

    @column("episode", ordering="memory")
    def beginning(self, episode: Episode) -> str:
        """Return how the text begins."""
        return shorten(episode.memory.text)

    @column("agent", ordering="memory__agent")
    def agent(self, episode: Episode) -> str:
        """Return the agent's name."""
        return str(episode.memory.agent)

    @column("room", ordering="memory__room")
    def room(self, episode: Episode) -> str:
        """Return the room's name."""
        return str(episode.memory.room or "–")

    @column("text")
    def whole_text(self, episode: Episode) -> SafeString:
        """Return the text."""
        return show_text(episode.memory.text)

    @column("from")
    def first(self, episode: Episode) -> SafeString | str:
        """Return a link to its first message."""
        return message_link(episode.first_message)

    @column("to")
    def last(self, episode: Episode) -> SafeString | str:
        """Return a link to its last message."""
        return message_link(episode.last_message)

    @column("memory")
    def as_memory(self, episode: Episode) -> SafeString | str:
        """Return a link to the memory."""
        return link_to(Memory, episode.pk, "as it is recalled")


@admin.register(Conversation)
class ConversationAdmin(ReadOnly, BigTable):
    """How far an agent has reflected on what is said in each room."""

    list_display = ("room", "agent", "waiting", "look_count", "heard_at", "look_at", "attempts", "why")
    list_filter = ("agent",)
    list_select_related = ("room", "agent")
    list_defer = ("agent__settings", "summary", "earlier", "outcome", "episode_people")
    id_search_fields = ("pk", "room")
    fields = (
        ("room", "agent"),
        ("waiting", "look_count", "heard_at", "look_at"),
        ("attempts", "not_before", "lease_until", "why"),
        ("episode_began_at", "episode_count"),
        "summary",
        "outcome",
        "earlier",
    )
    readonly_fields = ("waiting", "why")

    @column("messages that wait")
    def waiting(self, conversation: Conversation) -> int:
        """Return how many messages nobody has reflected on."""
        return len(conversation.unseen)

    @column("error", ordering="error")
    def why(self, conversation: Conversation) -> str:
        """Return why the last look was put off or given up."""
        return shorten(conversation.error) or "–"
