"""Bots that answer each other come to an end by themselves; a human is always answered."""

from __future__ import annotations

from typing import Any

import pytest

from agents import work
from agents.inbox import receive
from agents.llm.router import answering_with
from agents.llm.scripted import ScriptedModel
from agents.models import Agent, Message, Person, Step, Turn
from agents.people.senders import forget_connection_facts, note_agent_account
from tests.conftest import make_agent
from transports.models import Connection

ROUNDS = 60


@pytest.fixture(autouse=True)
def talkative(db: None) -> Any:
    with answering_with(ScriptedModel("And what do you think?")) as model:
        yield model


def say(incoming: Any, **changes: Any) -> list[str]:
    """Say something, work it, and return what the agent answered."""
    receipt = receive(incoming(**changes), is_limited=False)
    work.drain_lane(receipt.lane_id)
    replies = Message.objects.filter(turn_id=receipt.turn_id).order_by("position")
    return list(replies.values_list("text", flat=True))


def decision() -> dict[str, Any]:
    output: dict[str, Any] = Step.objects.filter(name="respond").latest("turn_id").output
    return output


def test_an_agent_and_a_foreign_bot_in_a_private_room_end_and_a_human_revives_the_talk(
    incoming: Any, agent: Agent
) -> None:
    bot = {"person": "bot", "room": "shared", "is_bot": True}
    answered = [bool(say(incoming, **bot)) for _round in range(12)]
    assert answered == [True] * 5 + [False] * 7
    assert decision()["respond"] is False
    assert decision()["reason"] == "a bot, after 5 turns without a human (limit 5)"
    assert decision()["talk_with_bots"]["turns_without_human"] == 5

    assert say(incoming, person="ann", room="shared") == ["And what do you think?"]
    assert "talk_with_bots" not in decision()
    assert [bool(say(incoming, **bot)) for _round in range(8)] == [True] * 4 + [False] * 4, (
        "the answer to the human was the first of the row"
    )


def test_two_agents_of_this_runtime_in_one_room_end_by_themselves(agent: Agent, incoming: Any) -> None:
    forget_connection_facts()
    ada = make_agent(name="Ada")
    names = {"eliza-account": agent, "ada-account": ada}
    connections = {
        account: Connection.objects.create(
            agent=owner, platform="discord", transport="fake", external_id=account
        )
        for account, owner in names.items()
    }
    others = {"eliza-account": "ada-account", "ada-account": "eliza-account"}

    def talk(speaker: str, texts: list[str]) -> int:
        """Carry each one's words to the other until nobody answers, and return how often they were carried."""
        for carried in range(ROUNDS):
            if not texts:
                return carried
            hearer = others[speaker]
            texts = say(
                incoming,
                text=texts[0],
                person=speaker,
                room="salon",
                room_type="GROUP",
                is_addressed=True,
                connection_id=connections[hearer].pk,
            )
            speaker = hearer
        raise AssertionError("they talk for ever")

    def human_says(text: str) -> list[str]:
        """Let a human speak to Eliza; the room's other agent hears it too."""
        place = {"person": "ann", "room": "salon", "room_type": "GROUP", "text": text}
        assert not say(incoming, connection_id=connections["ada-account"].pk, is_addressed=False, **place)
        return say(incoming, connection_id=connections["eliza-account"].pk, is_addressed=True, **place)

    assert talk("eliza-account", human_says("Say hello to the others")) <= 2 * 5
    assert Person.objects.filter(is_bot=True).count() == 2, "the network did not say so; they are known"
    assert decision()["respond"] is False

    before = Turn.objects.filter(outcome="replied").count()
    words = human_says("Go on")
    assert words, "a human is answered"
    talk("eliza-account", words)
    assert Turn.objects.filter(outcome="replied").count() > before + 2, "and they talk again, for a while"


def test_a_limit_is_the_agents_own_and_may_be_none(incoming: Any, agent: Agent) -> None:
    Agent.objects.update(bot_turn_limit=2, revision=2)
    assert sum(bool(say(incoming, person="bot", is_bot=True)) for _round in range(6)) == 2
    Agent.objects.update(bot_turn_limit=None, revision=3)
    assert all(say(incoming, person="bot", is_bot=True) for _round in range(8))


def test_who_has_most_of_the_talk_answers_no_bot(incoming: Any, agent: Agent, talkative: Any) -> None:
    Agent.objects.update(bot_turn_limit=None, talk_share_limit=40, revision=2)
    answered = [bool(say(incoming, person="bot", is_bot=True)) for _round in range(10)]
    assert answered[:3] == [True] * 3, "of so few messages a share says nothing"
    assert not all(answered)
    silent = next(
        step.output
        for step in Step.objects.filter(name="respond").order_by("turn_id")
        if not step.output["respond"]
    )
    assert silent["reason"] == "a bot, and 42 % of the talk is the agent's (limit 40 %)"
    assert say(incoming, person="ann", room="dm-bot"), "a human is answered"


def test_a_human_alone_meets_no_limit(incoming: Any, agent: Agent) -> None:
    Agent.objects.update(bot_turn_limit=1, talk_share_limit=1, revision=2)
    assert all(say(incoming) for _round in range(8))


def test_an_account_that_an_agent_gets_later_is_a_bots_from_then_on(incoming: Any, agent: Agent) -> None:
    say(incoming, person="ada-account")
    assert not Person.objects.get().is_bot
    note_agent_account("telegram", "")
    note_agent_account("discord", "ada-account")
    assert not Person.objects.get().is_bot
    note_agent_account("telegram", "ada-account")
    assert Person.objects.get().is_bot
