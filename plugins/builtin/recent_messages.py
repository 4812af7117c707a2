"""RECENT_MESSAGES: the conversation as a value that a character's templates may name.

It adds no text of its own: the model is given the same messages as the turns of the chat, and would read
them twice otherwise.
"""

from plugins.api import Context, Plugin, Provided, Provider
from plugins.quotations import name_of


def list_recent_messages(context: Context) -> Provided:
    """List the room's last messages, one a line, the newest last."""
    messages = context.state.recent_messages
    names = {speaker: name_of(speaker) for speaker in {message.speaker for message in messages}}
    lines = [f"{names[message.speaker]}: {' '.join(message.text.split())}" for message in messages]
    return Provided(values={"recentMessages": "\n".join(lines)})


plugin = Plugin(
    name="recent_messages",
    description="The conversation so far, for templates.",
    providers=(
        Provider(
            name="RECENT_MESSAGES",
            description="The room's last messages, as the template value `recentMessages`.",
            get=list_recent_messages,
            position=100,
            cheap=True,
        ),
    ),
)
