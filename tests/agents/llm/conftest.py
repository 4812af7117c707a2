"""The loopback server that stands for any OpenAI-compatible one."""

from collections.abc import Iterator

import pytest

from tests.doubles.openai_server import OpenAIServer


@pytest.fixture
def server() -> Iterator[OpenAIServer]:
    with OpenAIServer() as running:
        yield running
