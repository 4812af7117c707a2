"""Control messages: what a person, or a network's own button, says to the machinery and not to the character.

`agents.inbox` asks. There is one: stop.
"""

from __future__ import annotations

from agents.envelopes import Incoming

STOP_WORDS = frozenset({"stop", "/stop", "cancel", "/cancel"})
_AROUND = " \t\r\n.,;:!?…\"'*_()"


def is_stop(incoming: Incoming, *, hears_words: bool) -> bool:
    """Tell whether the message asks to stop: by the network's own control or, if words are heard, by a word.

    A word counts only where it is all that is said. A command may name whom it is for, as in `/stop@eliza`.
    """
    if incoming.control == "stop":
        return True
    if not hears_words or incoming.attachments:
        return False
    words = incoming.text.strip(_AROUND).casefold()
    if words.startswith("/"):
        words = words.partition("@")[0]
    return words in STOP_WORDS
