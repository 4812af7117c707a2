"""A worker without processes: each wake-up is worked at once, on the caller's thread."""

from __future__ import annotations

from typing import Any

import pytest
from celery import current_app

from agents import wakeups
from agents.models import Agent
from agents.people.senders import forget_connection_facts
from tests.conftest import make_agent


@pytest.fixture
def eliza(transactional_db: None, hashed_vectors: None) -> Agent:
    forget_connection_facts()
    agent = make_agent()
    Agent.objects.filter(pk=agent.pk).update(slug="eliza")
    agent.slug = "eliza"
    return agent


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch, model: Any) -> Any:
    def work(name: str, arguments: dict[str, Any]) -> bool:
        if name.partition(".")[0] in {"agents", "transports"}:
            current_app.tasks[name](**arguments)
        return True

    monkeypatch.setattr(wakeups._publisher, "publish", work)
    return model


@pytest.fixture
def no_worker(monkeypatch: pytest.MonkeyPatch, settings: Any) -> None:
    monkeypatch.setattr(wakeups._publisher, "publish", lambda _name, _arguments: True)
    monkeypatch.setattr("agents.processes.workers.find_workers", list)
