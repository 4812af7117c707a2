import json

import pytest
from django.core.management import CommandError, call_command

from plugins.models import Plugin
from plugins.records import record_plugins


@pytest.mark.django_db
def test_loaded_refused_and_vanished_plugins_are_noted(load):
    Plugin.objects.create(name="gone", path="gone")
    load("stranger", "broken")
    record_plugins()
    record_plugins()
    dice, broken, gone = (Plugin.objects.get(name=name) for name in ("dice", "broken", "gone"))
    assert (dice.permissions, dice.error) == (["memory.write", "message.say"], "")
    assert "no dice here" in broken.error
    assert "not found" in gone.error


def test_the_command_lists_plugins_as_json(load, capsys):
    load("stranger")
    call_command("list_plugins", json=True)
    listed = json.loads(capsys.readouterr().out)
    assert {"dice", "reply"} <= {plugin["name"] for plugin in listed["plugins"]}


def test_the_command_fails_where_a_plugin_was_refused_and_says_why(load, capsys):
    load("broken")
    with pytest.raises(CommandError, match="1 refused"):
        call_command("list_plugins")
    shown = capsys.readouterr()
    assert "actions: REPLY, IGNORE, NONE" in shown.out
    assert "no dice here" in shown.err
