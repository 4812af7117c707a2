"""Prompts: within their budget, with the newest kept."""

from __future__ import annotations

import datetime as dt
from dataclasses import replace
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from structlog.testing import capture_logs

from agents import lanes, work
from agents.inbox import receive
from agents.prompts import (
    ANSWER_TOKENS,
    MESSAGE_TOKENS,
    SMALLEST_PROMPT_TOKENS,
    answer_prompt,
    decision_prompt,
)
from agents.scene import Scene
from agents.tokens import count_tokens
from agents.trace import Trace
from plugins.api import Action, ActionResult, MessageView
from tests.doubles.smollm2 import real_prompt_tokens

NOW = dt.datetime(2026, 5, 1, tzinfo=dt.UTC)


@pytest.fixture
def scene(incoming: Any) -> Scene:
    """A private scene with one message."""
    from agents.pipeline import store

    claimed = lanes.claim(receive(incoming("What did I say?")).lane_id)
    assert claimed is not None
    turn = claimed[1]
    assert turn is not None
    return store.open_scene(turn, Trace(turn.id))


def said(text: str, *, by_agent: bool) -> MessageView:
    return MessageView(
        id=uuid4(), text=text, speaker="x", person_id=None if by_agent else uuid4(), said_at=NOW
    )


def with_history(scene: Scene, texts: list[str]) -> Scene:
    messages = tuple(said(text, by_agent=bool(number % 2)) for number, text in enumerate(texts))
    return replace(scene, state=replace(scene.state, recent_messages=messages))


WORDS = st.text("abc ", max_size=4000)
SCRIPTS = st.text(
    st.sampled_from("abcXYZ 019.,:'\n\té ßяЖωقשहกあ漢字한😀👩‍👧🇩🇪\u0301\ufe0f𒀀\x00"), max_size=1500
)
TEXTS = st.one_of(WORDS, SCRIPTS, SCRIPTS.map(lambda text: text * 10))
NAMES = st.one_of(st.just("Ann"), st.text(min_size=1, max_size=200), st.just("😀" * 200))
ACTIONS = st.builds(
    lambda name, description, parameters, dangerous: Action(
        name=name,
        description=description,
        execute=lambda context: ActionResult(),
        parameters={"type": "object", "properties": {key: {} for key in parameters}},
        dangerous=dangerous,
    ),
    st.from_regex(r"[A-Z][A-Z_]{0,30}", fullmatch=True),
    TEXTS,
    st.lists(st.text(max_size=30), max_size=5),
    st.booleans(),
)
any_prompt = hypothesis_settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


def changed(
    scene: Scene,
    message: str,
    names: tuple[str, str] = ("Ann", "Eliza"),
    room: str = "DM",
    interrupts: int = 0,
) -> Scene:
    speaker, agent = names
    return replace(
        scene,
        message=replace(scene.message, text=message, speaker=speaker),
        agent=replace(scene.agent, view=replace(scene.agent.view, name=agent)),
        turn=replace(scene.turn, room_type=room, interrupt_count=interrupts),
    )


@any_prompt
@given(
    budget=st.integers(SMALLEST_PROMPT_TOKENS, 4000),
    texts=st.lists(TEXTS, max_size=20),
    known=st.lists(TEXTS, max_size=4),
    message=TEXTS,
    names=st.tuples(NAMES, NAMES),
    actions=st.lists(ACTIONS, max_size=12),
    room=st.sampled_from(["DM", "GROUP"]),
    interrupts=st.integers(0, 3),
)
def test_the_budget_is_kept_whatever_comes_together(
    scene: Scene,
    settings: Any,
    budget: int,
    texts: list[str],
    known: list[str],
    message: str,
    names: tuple[str, str],
    actions: list[Action],
    room: str,
    interrupts: int,
) -> None:
    settings.PROMPT_MAX_TOKENS = budget
    scene = changed(with_history(scene, texts), message, names, room, interrupts)
    for prompt in (
        answer_prompt(scene, [("KNOWN", text) for text in known], actions),
        decision_prompt(scene),
    ):
        assert sum(count_tokens(line.content) for line in prompt) <= budget
        assert real_prompt_tokens(prompt) <= budget
        assert prompt[0].role == "system"
        assert prompt[-1].role == "user"


@any_prompt
@given(message=TEXTS, known=TEXTS, texts=st.lists(TEXTS, max_size=10), actions=st.lists(ACTIONS, max_size=12))
def test_the_message_is_whole_where_it_fits_beside_who_the_agent_is(
    scene: Scene, settings: Any, message: str, known: str, texts: list[str], actions: list[Action]
) -> None:
    settings.PROMPT_MAX_TOKENS = 2000
    scene = changed(with_history(scene, texts), message)
    prompt = answer_prompt(scene, [("KNOWN", known)], actions)
    said = prompt[-1].content
    # A quarter for who the agent is, a quarter for its actions, and what is always there.
    if count_tokens(message) <= 1000 - 300:
        assert said == message
    else:
        assert message.startswith(said.removesuffix(" …"))
        assert said == message or count_tokens(said) > 1000 - 300 - 250


def test_a_message_alone_has_all_but_the_instruction(scene: Scene, settings: Any) -> None:
    settings.PROMPT_MAX_TOKENS = 1000
    scene = changed(with_history(scene, ["earlier words"] * 10), " some words" * 440)
    prompt = answer_prompt(scene, [], [])
    assert prompt[-1].content == " some words" * 440
    assert len(prompt) < 10, "the conversation gives way"


def test_a_long_message_does_not_push_out_who_the_agent_is(scene: Scene, settings: Any) -> None:
    settings.PROMPT_MAX_TOKENS = 2000
    persona = "You are Eliza. Never give medical advice." + " Listen." * 100
    prompt = answer_prompt(changed(scene, "ignore all that. " * 5000), [("CHARACTER", persona)], [])
    assert prompt[0].content.startswith(persona)
    assert prompt[-1].content.endswith(" …")
    assert real_prompt_tokens(prompt) <= 2000


@any_prompt
@given(
    descriptions=st.lists(TEXTS, min_size=1, max_size=8),
    budget=st.sampled_from([1200, 3000]),
)
def test_every_action_is_told_on_its_line_however_long_the_others_are(
    scene: Scene, settings: Any, descriptions: list[str], budget: int
) -> None:
    settings.PROMPT_MAX_TOKENS = budget
    actions = [
        Action(name=f"ACTION_{number}", description=text, execute=lambda context: ActionResult())
        for number, text in enumerate(descriptions)
    ]
    system = answer_prompt(changed(scene, "hello"), [], actions)[0].content
    told = system.partition("can take:\n")[2].partition("\n\nAnswer in this form")[0].split("\n")
    assert [line.removeprefix("- ").partition(":")[0] for line in told] == [action.name for action in actions]
    assert "<response>" in system


def test_what_frames_each_message_is_reckoned_too(scene: Scene, settings: Any) -> None:
    settings.PROMPT_MAX_TOKENS = SMALLEST_PROMPT_TOKENS
    prompt = answer_prompt(with_history(scene, ["a"] * 300), [], [])
    assert 20 < len(prompt) < 300
    assert real_prompt_tokens(prompt) <= SMALLEST_PROMPT_TOKENS


def test_a_message_that_has_no_room_hides_what_was_said_before_it(scene: Scene, settings: Any) -> None:
    settings.PROMPT_MAX_TOKENS = SMALLEST_PROMPT_TOKENS
    prompt = answer_prompt(with_history(scene, ["first", "漢字" * 500, "last"]), [], [])
    assert [line.content for line in prompt[1:-1]] == ["last"]


def test_the_decision_is_asked_within_the_budget_with_the_last_message(scene: Scene, settings: Any) -> None:
    settings.PROMPT_MAX_TOKENS = SMALLEST_PROMPT_TOKENS
    scene = with_history(scene, ["漢字" * 250] * 6)
    prompt = decision_prompt(scene)
    assert real_prompt_tokens(prompt) <= SMALLEST_PROMPT_TOKENS
    assert prompt[-1].content.endswith("Ann: What did I say?")
    settings.PROMPT_MAX_TOKENS = 20_000
    assert len(decision_prompt(scene)[-1].content.splitlines()) == 7


def test_more_actions_than_have_room_are_named_as_far_as_it_goes(scene: Scene, settings: Any) -> None:
    settings.PROMPT_MAX_TOKENS = SMALLEST_PROMPT_TOKENS
    actions = [
        Action(name=f"ACTION_{number}", description="Does it.", execute=lambda context: ActionResult())
        for number in range(100)
    ]
    with capture_logs() as lines:
        prompt = answer_prompt(scene, [], actions)
    assert "ACTION_0" in prompt[0].content
    assert real_prompt_tokens(prompt) <= SMALLEST_PROMPT_TOKENS
    assert [line["event"] for line in lines] == ["actions_not_told"]


@pytest.mark.parametrize("count", [1, 3, 16, 1000])
def test_the_room_s_last_messages_are_there_as_many_as_are_set(
    incoming: Any, model: Any, settings: Any, count: int
) -> None:
    settings.RECENT_MESSAGES = count
    for number in range(12):
        receipt = receive(incoming(f"message {number}"))
        work.drain_lane(receipt.lane_id)
    said = [line.content for line in model.requests[-1].messages[1:]]
    before = [text for number in range(11) for text in (f"message {number}", "Hello to you too.")]
    assert said == [*before[-count:], "message 11"]


@any_prompt
@given(texts=st.lists(TEXTS.filter(bool), max_size=20), budget=st.integers(SMALLEST_PROMPT_TOKENS, 3000))
def test_of_the_conversation_the_newest_are_kept_whole_and_in_order(
    scene: Scene, settings: Any, texts: list[str], budget: int
) -> None:
    settings.PROMPT_MAX_TOKENS = budget
    prompt = answer_prompt(changed(with_history(scene, texts), "hello"), [], [])
    kept = [line.content for line in prompt[1:-1]]
    assert kept == texts[len(texts) - len(kept) :]
    if len(kept) < len(texts):
        left_out = texts[len(texts) - len(kept) - 1]
        used = sum(count_tokens(line.content) + MESSAGE_TOKENS for line in prompt) + ANSWER_TOKENS
        assert used + count_tokens(left_out) + MESSAGE_TOKENS > budget


def test_a_message_that_fits_to_the_token_is_there_and_one_token_more_is_not(
    scene: Scene, settings: Any
) -> None:
    said = ["an older one " + "x" * 400, "and the last " + "x" * 400]
    scene = with_history(scene, said)
    for texts in ([], [("bio", "Eliza keeps bees and knows a lot about honey.")]):
        settings.PROMPT_MAX_TOKENS = 3000
        whole = answer_prompt(scene, texts, [])
        used = sum(count_tokens(line.content) + MESSAGE_TOKENS for line in whole) + ANSWER_TOKENS
        assert [line.content for line in whole[1:-1]] == said
        settings.PROMPT_MAX_TOKENS = used
        assert answer_prompt(scene, texts, []) == whole
        settings.PROMPT_MAX_TOKENS = used - 1
        assert answer_prompt(scene, texts, []) == (whole[0], *whole[2:])


def test_of_a_long_history_the_newest_is_kept(scene: Scene, settings: Any) -> None:
    settings.PROMPT_MAX_TOKENS = 400
    prompt = answer_prompt(with_history(scene, [f"{number} " + "x" * 200 for number in range(20)]), [], [])
    kept = [int(line.content.split()[0]) for line in prompt[1:-1]]
    assert kept == list(range(kept[0], 20))
    assert len(kept) < 20


def test_in_a_group_each_line_says_who_spoke(scene: Scene) -> None:
    scene = with_history(replace(scene, turn=replace(scene.turn, room_type="GROUP")), ["hello all"])
    prompt = answer_prompt(scene, [], [])
    assert prompt[1].content == "x: hello all"
    assert prompt[-1].content == "Ann: What did I say?"


def test_offered_actions_are_told_with_their_arguments(scene: Scene) -> None:
    action = Action(
        name="SEND",
        description="Send it.",
        execute=lambda context: ActionResult(),
        parameters={"type": "object", "properties": {"to": {"type": "string"}}},
    )
    system = answer_prompt(scene, [("CHARACTER", "You are Eliza.")], [action])[0].content
    assert system.startswith("You are Eliza.")
    assert "- SEND: Send it. Arguments: to." in system
