import dataclasses

from plugins.api import Provided
from plugins.builtin.recent_messages import plugin


def test_the_conversation_is_a_value_and_never_text_of_its_own(make_context, message):
    answer = dataclasses.replace(message, text="Good\nday", speaker="Ada", person_id=None)
    provided = plugin.providers[0].get(make_context(recent_messages=(message, answer)))
    assert provided == Provided(values={"recentMessages": "Bo: Hello\nAda: Good day"})
