"""Control messages: a short list of words, each only where it is all that is said."""

from __future__ import annotations

import datetime as dt
from typing import Any
from uuid import uuid4

import pytest

from agents.controls import is_stop
from agents.envelopes import Incoming, IncomingPerson, IncomingRoom
from plugins.api import Attachment


def message(text: str, **changes: Any) -> Incoming:
    return Incoming(
        connection_id=uuid4(),
        external_id="m",
        room=IncomingRoom(external_id="r"),
        person=IncomingPerson(external_id="p"),
        text=text,
        said_at=dt.datetime.now(dt.UTC),
        **changes,
    )


@pytest.mark.parametrize(
    "text", ["stop", "Stop!", " STOP. ", "/stop", "/stop@eliza_bot", "Cancel", "*cancel*"]
)
def test_a_word_alone_asks_to_stop(text: str) -> None:
    assert is_stop(message(text), hears_words=True)
    assert not is_stop(message(text), hears_words=False)


@pytest.mark.parametrize(
    "text", ["please stop", "stop it", "stopped", "don't stop", "non-stop", "", "stop@home"]
)
def test_words_around_it_make_it_a_message(text: str) -> None:
    assert not is_stop(message(text), hears_words=True)


def test_a_networks_own_control_counts_whatever_is_said() -> None:
    assert is_stop(message("", control="stop"), hears_words=False)


def test_a_picture_named_stop_is_a_message() -> None:
    picture = Attachment(url="https://example.org/sign.png")
    assert not is_stop(message("stop", attachments=(picture,)), hears_words=True)
