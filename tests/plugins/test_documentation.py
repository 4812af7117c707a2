import dataclasses
from pathlib import Path

import pytest

from plugins import api

PAGE = (Path(__file__).parents[2] / "docs" / "plugins.md").read_text()
DOCUMENTED = (
    api.Plugin, api.Action, api.Provider, api.Evaluator, api.Task, api.Service, api.EventHandler, api.Context,
    api.State, api.SecurityContext, api.TaskContext, api.ActionResult, api.EvaluationResult, api.Provided,
    api.Say, api.Remember, api.SetGoal, api.Relate, api.SetPluginState, api.Schedule, api.LearnFact,
    api.AdvanceGoal, api.Summarise, api.Conversation, api.Question, api.ModelAnswer,
)  # fmt: skip
COMPONENTS = DOCUMENTED[:7]


def names(kind):
    return [field.name for field in dataclasses.fields(kind)]


@pytest.mark.parametrize("kind", DOCUMENTED, ids=lambda kind: kind.__name__)
def test_every_part_of_the_contract_is_documented(kind):
    assert kind.__name__ in PAGE
    section = PAGE
    if kind in COMPONENTS:
        section = PAGE.split(f"### `{kind.__name__}`", 1)[1].split("\n#", 1)[0]
        missing = [name for name in names(kind) if f"`{name}`" not in section]
    else:
        missing = [name for name in names(kind) if name not in section]
    assert missing == []


def test_every_effect_and_permission_is_documented():
    for effect in api.Effect.__args__:
        assert f"| `{effect.__name__}` |" in PAGE
    for permission in api.Permission:
        assert f"`{permission.value}`" in PAGE
        assert f"`{permission.name}`" in PAGE


def test_the_example_of_the_page_is_a_plugin_of_few_lines():
    source = PAGE.split("```python\n", 1)[1].split("```", 1)[0]
    scope = {}
    exec(compile(source, "dice.py", "exec"), scope)
    assert isinstance(scope["plugin"], api.Plugin)
    assert len([line for line in source.splitlines() if line.strip()]) <= 8
