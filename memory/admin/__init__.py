"""The admin of what is kept, one module a subject; Django's admin finds it when the site starts."""

from memory.admin import documents, learnt, memories, spaces

__all__ = ["documents", "learnt", "memories", "spaces"]
