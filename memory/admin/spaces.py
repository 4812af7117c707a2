"""The page of vector spaces: which models' vectors there are, and how far they are made. Nothing is changed there."""

from __future__ import annotations

from django.contrib import admin

from memory.models import Memory, VectorSpace
from plugins.admin_pages import BigTable, ReadOnly, column

COUNTED_UP_TO = 100_000


@admin.register(VectorSpace)
class VectorSpaceAdmin(ReadOnly, BigTable):
    """Vector spaces; `manage.py reembed_memories` begins, switches and removes them."""

    list_display = ("name", "dimensions", "place", "state", "left", "lately", "started_at", "switched_at")
    fields = (
        ("name", "model", "dimensions"),
        ("kind", "base_url"),
        ("state", "column"),
        ("left", "lately", "filled_count"),
        ("started_at", "filled_at", "switched_at"),
        ("leased_until", "failure_count"),
        "error",
    )
    readonly_fields = ("left", "lately")

    @column("at")
    def place(self, space: VectorSpace) -> str:
        """Return where its model runs."""
        return space.base_url or "this machine"

    @column("left")
    def left(self, space: VectorSpace) -> str:
        """Return how many memories have no vector of it yet; two spaces at most are counted."""
        if space.column is None:
            return "–"
        count = Memory.objects.unembedded(space.column).values("pk")[:COUNTED_UP_TO].count()
        return f"{count} or more" if count == COUNTED_UP_TO else str(count)

    @column("a second")
    def lately(self, space: VectorSpace) -> str:
        """Return how many vectors a second were made lately."""
        return f"{space.rate:.0f}" if space.rate else "–"
