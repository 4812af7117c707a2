"""Loads example plugins as an operator would, and puts the registry back afterwards."""

import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from plugins import registry

EXAMPLES = Path(__file__).parent / "examples"


@pytest.fixture
def load(monkeypatch: pytest.MonkeyPatch, settings) -> Iterator[Callable[..., registry.Registry]]:
    monkeypatch.syspath_prepend(str(EXAMPLES))

    def load_named(*paths: str) -> registry.Registry:
        settings.PLUGINS = list(paths)
        registry.reload_registry()
        return registry.get_registry()

    yield load_named
    registry.reload_registry()
    for name in ("stranger", "broken", "faulty"):
        sys.modules.pop(name, None)


@pytest.fixture
def stranger(load):
    load("stranger")
    return sys.modules["stranger"]
