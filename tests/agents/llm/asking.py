"""How the tests of models ask."""

from typing import Any

from agents.llm.base import ChatMessage, CompletionRequest


def ask(text: str = "How are you?", **changes: Any) -> CompletionRequest:
    """Make a request of one message."""
    values: dict[str, Any] = {"model": "stub", "timeout_seconds": 10.0, **changes}
    return CompletionRequest(messages=(ChatMessage(role="user", content=text),), **values)
