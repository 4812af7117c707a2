"""Where in a document a memory stands. Part of the contract with plugins: `plugins.api` has it too."""

from __future__ import annotations

from dataclasses import dataclass
from uuid import UUID


@dataclass(frozen=True, kw_only=True)
class Citation:
    """Where a memory stands in a document, which has a title, and the name that it was added by.

    `headings` go from the outermost to the innermost; pages count from 1, and are None in formats without pages.
    """

    document_id: UUID
    document: str
    name: str = ""
    headings: tuple[str, ...] = ()
    page: int | None = None
    last_page: int | None = None

    @property
    def heading(self) -> str:
        """Return the headings in one line, as they stand above the memory's text."""
        return " › ".join(self.headings)

    @property
    def pages(self) -> str:
        """Return the page or pages in words; nothing where there are none."""
        if self.page is None:
            return ""
        if self.last_page is None or self.last_page == self.page:
            return f"page {self.page}"
        return f"pages {self.page} to {self.last_page}"
