import datetime as dt
import importlib.metadata
import uuid

import pytest

from plugins import api, loader
from plugins.permissions import PermissionDenied, check_effects, granted_permissions, required_permission

NOW = dt.datetime(2026, 1, 1, tzinfo=dt.UTC)
EFFECTS = {
    api.Say(text="a"): "message.say",
    api.Remember(text="a"): "memory.write",
    api.Relate(other_person_id=uuid.UUID(int=1), relationship_type="friend"): "memory.write",
    api.SetGoal(name="a"): "goals.write",
    api.LearnFact(text="a", message_ids=()): "memory.write",
    api.Summarise(summary="a"): "memory.write",
    api.AdvanceGoal(goal_id=uuid.UUID(int=1), completed_objectives=("a",)): "goals.write",
}


def test_each_effect_needs_its_permission():
    for effect, permission in EFFECTS.items():
        assert required_permission(effect) == permission
    assert required_permission(api.Schedule(task="t", at=NOW)) == "task.schedule"
    assert required_permission(api.SetPluginState(state={})) is None


def test_what_is_no_effect_is_refused():
    with pytest.raises(TypeError, match="is no effect"):
        required_permission("say hello")  # type: ignore[arg-type]


def test_a_builtin_may_do_what_it_asks_for_and_no_more(load):
    load()
    check_effects("reply", [api.Say(text="a"), api.SetPluginState(state={})])
    with pytest.raises(PermissionDenied, match=r"'reply' may not Remember.*Permission.WRITE_MEMORY"):
        check_effects("reply", [api.Remember(text="a")])


def test_what_the_operator_named_is_granted(load):
    load("stranger")
    assert granted_permissions("dice") == {"message.say", "memory.write"}
    check_effects("dice", [api.Say(text="a"), api.Remember(text="a")])


def test_what_is_only_installed_is_granted_nothing(load, monkeypatch):
    point = importlib.metadata.EntryPoint(name="dice", value="stranger", group=loader.ENTRY_POINT_GROUP)
    monkeypatch.setattr(loader.importlib.metadata, "entry_points", lambda *, group: [point])
    load()
    check_effects("dice", [api.SetPluginState(state={})])
    with pytest.raises(PermissionDenied, match="name it in ELIZA_PLUGINS"):
        check_effects("dice", [api.Say(text="a")])


def test_a_plugin_that_is_not_loaded_may_nothing(load):
    load()
    with pytest.raises(PermissionDenied, match="No plugin of that name"):
        check_effects("nobody", [api.Say(text="a")])
