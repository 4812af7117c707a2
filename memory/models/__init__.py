"""The tables of what is kept, a module each, all of them imported here."""

from memory.models.conversation import Conversation
from memory.models.document import Chunk, Document, DocumentPart
from memory.models.episode import Episode
from memory.models.fact import Fact
from memory.models.goal import Goal, Objective
from memory.models.memory import Memory
from memory.models.relationship import Relationship
from memory.models.vector_space import VectorSpace

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
    "VectorSpace",
]
