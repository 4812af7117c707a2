"""The system checks of agents: each fault of the settings has an id and a cure."""

from __future__ import annotations

from typing import Any

import pytest
from cryptography.fernet import Fernet
from django.core.checks import run_checks

from agents import checks

OWN = "agents."


def ids() -> list[str]:
    found = [check for check in run_checks() if (check.id or "").startswith(OWN)]
    assert all(check.hint for check in found)
    return sorted(check.id or "" for check in found)


@pytest.fixture(autouse=True)
def good(settings: Any) -> None:
    settings.SECRET_KEY = "s" * 50
    settings.FIELD_ENCRYPTION_KEY = [Fernet.generate_key().decode()]


def test_good_settings_have_no_findings() -> None:
    assert ids() == []


@pytest.mark.parametrize(
    ("name", "value", "id_"),
    [
        ("SECRET_KEY", "", "agents.E001"),
        ("SECRET_KEY", "short", "agents.E001"),
        ("FIELD_ENCRYPTION_KEY", ["short"], "agents.E002"),
        ("FIELD_ENCRYPTION_KEY", [], "agents.W002"),
        ("LANE_LEASE_SECONDS", 0.5, "agents.E003"),
        ("DISPATCH_PERIOD_SECONDS", 0.0, "agents.E004"),
        ("DISPATCH_PERIOD_SECONDS", 600.0, "agents.E004"),
        ("TURN_MAX_ATTEMPTS", 0, "agents.E005"),
        ("MODEL_CONCURRENCY", -1, "agents.E005"),
        ("EMBEDDING_TIMEOUT_SECONDS", 0.0, "agents.E005"),
        ("RECENT_MESSAGES", 0, "agents.E005"),
        ("PROMPT_MAX_TOKENS", 599, "agents.E006"),
    ],
)
def test_each_fault_is_named(settings: Any, name: str, value: Any, id_: str) -> None:
    setattr(settings, name, value)
    assert ids() == [id_]


def test_every_limit_is_a_setting(settings: Any) -> None:
    assert all(hasattr(settings, name) for name in checks.AT_LEAST_ONE)
