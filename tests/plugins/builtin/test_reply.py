import pytest

from plugins.api import Say
from plugins.builtin.reply import plugin

REPLY, IGNORE, NONE = plugin.actions


def test_reply_says_the_text_of_the_answer(make_context):
    result = REPLY.execute(make_context(arguments={"text": " Hello, Bo. "}))
    assert result.success
    assert result.effects == (Say(text="Hello, Bo."),)


@pytest.mark.parametrize("arguments", [{}, {"text": "  "}, {"text": None}])
def test_reply_without_a_text_fails_and_says_nothing(make_context, arguments):
    result = REPLY.execute(make_context(arguments=arguments))
    assert not result.success
    assert result.effects == ()
    assert "`text`" in result.error


@pytest.mark.parametrize("action", [IGNORE, NONE])
def test_silence_is_a_result(make_context, action):
    result = action.execute(make_context(arguments={"text": "Hello"}))
    assert (result.success, result.text, result.effects) == (True, "", ())
