"""The tables of what is kept: memories, facts, episodes, documents, relationships, goals. A module each, all of them imported here."""

from memory.models.document import Chunk, Document, DocumentPart
from memory.models.conversation import Conversation
from memory.models.episode import Episode
from memory.models.fact import Fact
from memory.models.goal import Goal, Objective
from memory.models.memory import Memory
from memory.models.relationship import Relationship

__all__ = [
    "Chunk",
    "Conversation",
    "Document",
    "DocumentPart",
    "Episode",
    "Fact",
    "Goal",
    "Memory",
    "Objective",
    "Relationship",
]
