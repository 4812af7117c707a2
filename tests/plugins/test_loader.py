import importlib.metadata
import threading
import time

import pytest

from plugins import loader, registry
from plugins.api import Action, ActionResult, Evaluator, Plugin, Service
from plugins.loader import BUILTINS, Origin


def entry_points(monkeypatch, **paths):
    points = [
        importlib.metadata.EntryPoint(name=name, value=path, group=loader.ENTRY_POINT_GROUP)
        for name, path in paths.items()
    ]
    monkeypatch.setattr(loader.importlib.metadata, "entry_points", lambda *, group: points)


def test_all_builtins_load(load):
    loaded = load()
    assert loaded.refused == ()
    assert [plugin.path for plugin in loaded.plugins] == list(BUILTINS)


def test_a_stranger_loads_by_dotted_path_with_all_its_components(load):
    components = load("stranger").components_for()
    assert components.find_action("roll dice").plugin == "dice"
    assert components.find_provider("DICE").component.get(None) == "There is a die on the table."
    assert components.find_task("dice", "remind").component.schedule == "once"
    assert "DICE_ROLLS" in [evaluator.component.name for evaluator in components.evaluators]
    assert registry.get_service("dice_box") == "a box"


def test_a_stranger_loads_by_path_and_attribute(load):
    assert load("stranger:plugin").find_plugin("dice").path == "stranger:plugin"


def test_initialise_runs_after_services_are_registered(stranger):
    assert stranger.calls == [("initialised", "a box")]


def test_a_plugin_that_cannot_be_imported_is_refused_by_name_and_others_load(load):
    loaded = load("broken", "no.such.module", "stranger")
    assert [refusal.name for refusal in loaded.refused] == ["broken", "no.such.module"]
    assert "RuntimeError: no dice here" in loaded.refused[0].reason
    assert "Check the path" in loaded.refused[0].reason
    assert loaded.find_plugin("dice")


def test_a_module_without_a_plugin_is_refused_with_the_cure(load):
    (refusal,) = load("plugins.slots:BadSchedule").refused
    assert "plugin = Plugin(...)" in refusal.reason


def test_every_fault_of_a_plugin_is_named(load):
    (refusal,) = load("faulty").refused
    for fault in (
        "'money.spend'",
        "`actions` names 'one' 2 times",
        "`time_limit_seconds` is 0",
        "Action 'ONE': `execute` cannot be called with 1 argument",
        "Provider 'SLOW': `get` cannot be called",
        "names a day that never comes",
        "the type 'list'",
        "Correct it in the plugin 'faulty'",
    ):
        assert fault in refusal.reason


def test_a_name_that_another_plugin_has_is_refused(load, monkeypatch):
    double = Plugin(
        name="double",
        description="",
        actions=(Action(name="reply", description="", execute=lambda _context: ActionResult()),),
    )
    monkeypatch.setattr("stranger.plugin", double)
    (refusal,) = load("stranger").refused
    assert "is brought by the plugin 'reply' already" in refusal.reason


def test_a_service_that_the_runtime_has_is_not_replaced(load, monkeypatch):
    own = Plugin(name="own", description="", services=(Service(name="wakeups", start=object),))
    monkeypatch.setattr("stranger.plugin", own)
    (refusal,) = load("stranger").refused
    assert "'wakeups' is registered by the runtime already" in refusal.reason


def test_a_plugin_whose_initialise_fails_leaves_nothing_behind(load, monkeypatch):
    import stranger

    def fail(services):
        services.get_service("dice_box")
        raise KeyError("sleeves")

    monkeypatch.setattr(
        stranger,
        "plugin",
        Plugin(
            name="sleeves",
            description="",
            services=stranger.plugin.services,
            actions=stranger.plugin.actions,
            initialise=fail,
        ),
    )
    loaded = load("stranger")
    assert "KeyError" in loaded.refused[0].reason
    assert registry.find_service("dice_box") is None
    assert loaded.components_for().find_action("ROLL_DICE") is None


def test_an_evaluator_that_looks_at_nothing_known_is_refused(load, monkeypatch):
    import stranger

    evaluator = Evaluator(name="LOOK", evaluate=lambda context: None, looks_at="the moon")
    monkeypatch.setattr(stranger, "plugin", Plugin(name="moon", description="", evaluators=(evaluator,)))
    (refusal,) = load("stranger").refused
    assert "`looks_at` is 'the moon', not 'turn' or 'conversation'" in refusal.reason


def test_an_installed_plugin_works_only_for_characters_that_name_it(load, monkeypatch):
    entry_points(monkeypatch, dicebox="stranger:plugin")
    loaded = load()
    assert loaded.find_plugin("dice").origin is Origin.INSTALLED
    assert loaded.components_for().find_action("ROLL_DICE") is None
    assert loaded.components_for(("dicebox",)).find_action("ROLL_DICE")
    assert loaded.components_for(("dice", "reply")).find_action("ROLL_DICE")


def test_an_entry_point_may_be_a_module(load, monkeypatch):
    entry_points(monkeypatch, dicebox="stranger")
    assert load().find_plugin("dice")


def test_naming_an_entry_point_in_the_settings_gives_it_to_all(load, monkeypatch):
    entry_points(monkeypatch, dicebox="stranger:plugin")
    loaded = load("dicebox")
    assert loaded.find_plugin("dice").origin is Origin.SITE
    assert loaded.components_for().find_action("ROLL_DICE")


def test_a_character_makes_nothing_be_imported(load):
    loaded = load()
    import sys

    sys.modules.pop("stranger", None)
    names = ("stranger", "stranger:plugin", "@elizaos/plugin-bootstrap", "clock")
    assert loaded.components_for(names).actions == loaded.components_for().actions
    assert "stranger" not in sys.modules
    assert loaded.unknown_plugins(names) == names[:3]


def test_plugins_are_loaded_once_however_many_threads_ask(load, monkeypatch):
    load()
    registry.reload_registry()
    loads = []
    real = registry.load_plugins

    def slow():
        loads.append(1)
        time.sleep(0.05)
        return real()

    monkeypatch.setattr(registry, "load_plugins", slow)
    found = []
    threads = [threading.Thread(target=lambda: found.append(registry.get_registry())) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(loads) == 1
    assert len({id(each) for each in found}) == 1


def test_asking_for_the_registry_while_loading_is_refused(load, monkeypatch):
    import stranger

    monkeypatch.setattr(
        stranger,
        "plugin",
        Plugin(name="early", description="", initialise=lambda _services: registry.components_for()),
    )
    (refusal,) = load("stranger").refused
    assert "while plugins are loaded" in refusal.reason


def test_what_is_brought_is_the_same_object_for_the_same_names(load):
    loaded = load()
    assert loaded.components_for(("x",)) is loaded.components_for(("x",))


@pytest.mark.parametrize("name", ["throw-dice", "THROW_DICE", "roll_dice"])
def test_actions_are_found_by_similes_and_without_punctuation(load, name):
    assert load("stranger").components_for().find_action(name).component.name == "ROLL_DICE"


@pytest.mark.parametrize("name", ["ROLL", "DICE", "ROLL_DICES", ""])
def test_parts_of_names_and_likenesses_find_nothing(load, name):
    assert load("stranger").components_for().find_action(name) is None


def test_providers_stand_by_position(load):
    positions = [provider.component.position for provider in load("stranger").components_for().providers]
    assert positions == sorted(positions)
