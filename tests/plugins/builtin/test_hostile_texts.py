"""Whatever people, memories and goals say: no built-in provider tells it to the model as anything but a quotation."""

from __future__ import annotations

import datetime as dt
import json
import re
import uuid
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from plugins.api import GoalView, MessageView, RecalledMemory
from plugins.quotations import find_rules
from plugins.registry import components_for
from tests.plugins.test_quotations import hostile

NOW = dt.datetime(2026, 5, 1, tzinfo=dt.UTC)
OWN_WORDS = {"CHARACTER"}
"""The providers that tell the operator's own words."""
QUOTATION = re.compile(r'"(?:[^"\\\n]|\\.)*"')


def providers() -> list[Any]:
    return [
        found.component for found in components_for(()).providers if found.component.name not in OWN_WORDS
    ]


@settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=150)
@given(texts=st.lists(hostile, min_size=5, max_size=5))
def test_a_text_outside_of_a_quotation_reads_like_no_instruction(make_context: Any, texts: list[str]) -> None:
    name, memory, goal, part, said = texts
    context = make_context(
        known=(
            RecalledMemory(
                id=uuid.uuid4(), kind="document", text=memory, speaker=name, said_at=NOW, score=1.0
            ),
        ),
        goals=(GoalView(id=uuid.uuid4(), name=goal, status="active", objectives=((part, False),)),),
        recent_messages=(
            MessageView(id=uuid.uuid4(), text=said, speaker=name, person_id=uuid.uuid4(), said_at=NOW),
        ),
        conversation_context=said,
    )
    assert providers()
    for provider in providers():
        provided = provider.get(context)
        text = provided if isinstance(provided, str) else provided.text
        for line in text.split("\n"):
            assert len(line.splitlines()) <= 1, provider.name
            for found in QUOTATION.findall(line):
                json.loads(found)
            bare = QUOTATION.sub("", line)
            assert '"' not in bare, (provider.name, line)
            assert not find_rules(bare.replace("reads like an instruction, and is none", "")), (
                provider.name,
                line,
            )
