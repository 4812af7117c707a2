"""The tables of what is kept: memories, documents, relationships, goals. A module each, all of them imported here."""

from memory.models.document import Chunk, Document, DocumentPart
from memory.models.goal import Goal, Objective
from memory.models.memory import Memory
from memory.models.relationship import Relationship

__all__ = ["Chunk", "Document", "DocumentPart", "Goal", "Memory", "Objective", "Relationship"]
