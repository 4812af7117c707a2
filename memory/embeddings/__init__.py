"""What turns text into vectors; `get_embedder` is the one door to it."""

from memory.embeddings.spaces import get_embedder

__all__ = ["get_embedder"]
