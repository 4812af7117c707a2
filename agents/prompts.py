"""Builds the prompts, within a budget of tokens. The pipeline's steps `respond` and `generate` call it.

The budget, PROMPT_MAX_TOKENS, is for all that the model reads: what frames each message is reckoned, too. It is given
out in this order: the instruction, the person's message, what providers said, the conversation.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import structlog
from django.conf import settings

from agents.llm.base import ChatMessage
from agents.scene import Scene
from agents.tokens import count_tokens, cut_to_tokens
from plugins.api import Action, MessageView
from plugins.quotations import name_of

log = structlog.get_logger(__name__)

SMALLEST_PROMPT_TOKENS = 600
"""Less has hardly room for the instruction, with long names and many actions; `agents.checks` refuses it."""
MESSAGE_TOKENS = 7
"""What frames a message: its role and marks. The demonstration model's template takes 5 or 6, OpenAI's 3."""
ANSWER_TOKENS = 6
"""What asks for the answer after the last message, and what begins a prompt."""
LONGEST_NAME_TOKENS = 60
DECISION_MESSAGES = 6
DECISION_CHARACTERS = 500
DECISION_ROLES = 2

CHAT_INSTRUCTION = "Answer {speaker} as {name}, in {name}'s own voice. Write only what {name} says."
UNANSWERED_INSTRUCTION = (
    " {speaker} wrote {count} before this one and got no answer yet: answer them together, in one go."
)
ACTION_INSTRUCTION = """You may also act. The actions that you can take:
{actions}

Answer in this form and no other:
<response>
<thought>what you think of it, in one line</thought>
<actions>the names of the actions to take, in their order, separated by commas; REPLY to say something</actions>
<arguments>{{"ACTION_NAME": {{"argument": "value"}}}}</arguments>
<text>what {name} says</text>
</response>"""
DECISION_INSTRUCTION = (
    "{name} is in a room with several people. Here is what was said last. Should {name} answer the last"
    " message? It should where it is spoken to, asked, or has something of use to say; it should not where"
    " others speak with each other, or it was told to be quiet. Answer with one word: RESPOND or IGNORE."
)


def answer_prompt(
    scene: Scene, texts: Iterable[tuple[str, str]], actions: Sequence[Action]
) -> tuple[ChatMessage, ...]:
    """Build the prompt of an answer: what providers said, the instruction, and the conversation.

    The person's message is whole where it leaves a quarter of the budget beside the instruction: so much of what
    providers said first, which is who the agent is, nobody can push out. Then the rest of what providers said has up
    to three quarters, cut at its end, and the newest messages have what is left, each of them whole.
    Unit: at most PROMPT_MAX_TOKENS, of any script; SMALLEST_PROMPT_TOKENS at least are asked for.
    """
    room = settings.PROMPT_MAX_TOKENS - ANSWER_TOKENS - 2 * MESSAGE_TOKENS
    instruction = _instruction(scene, actions, room)
    known = "\n\n".join(text for _name, text in texts).strip()
    # Each text is counted once, as it takes longer than all else here. Two for the blank line between these.
    left = room - count_tokens(instruction) - 2
    known_tokens = count_tokens(known)
    last = cut_to_tokens(_said(scene, scene.message), left - min(known_tokens, room // 4))
    left -= count_tokens(last)
    most = min(left, max(left - room // 4, room // 4))
    if known_tokens > most:
        known = cut_to_tokens(known, most)
        known_tokens = count_tokens(known)
    if not known:
        system, left = instruction, left + 2
    else:
        # Each count has one for a space before its text; before both together there is one.
        system, left = f"{known}\n\n{instruction}", left - known_tokens + 1
    return (
        ChatMessage(role="system", content=system),
        *_conversation(scene, left),
        ChatMessage(role="user", content=last),
    )


def decision_prompt(scene: Scene) -> tuple[ChatMessage, ...]:
    """Build the question of whether the agent should answer at all.

    Unit: at most PROMPT_MAX_TOKENS; of the last messages the beginnings, older ones are left out first.
    """
    room = settings.PROMPT_MAX_TOKENS - ANSWER_TOKENS - DECISION_ROLES * MESSAGE_TOKENS
    question = DECISION_INSTRUCTION.format(name=_name(scene.agent.view.name, room))
    left = room - count_tokens(question)
    lines: list[str] = []
    for message in (scene.message, *reversed(scene.state.recent_messages[-DECISION_MESSAGES:])):
        # A line each, so that no message can bring another's line along.
        line = f"{_name(message.speaker, room)}: {' '.join(message.text[:DECISION_CHARACTERS].split())}"
        # A letter for the line's end; the last message is there in any case.
        line = line if lines else cut_to_tokens(line, left)
        left -= count_tokens(line) + 1
        if left < 0 and lines:
            break
        lines.append(line)
    return (
        ChatMessage(role="system", content=question),
        ChatMessage(role="user", content="\n".join(reversed(lines))),
    )


def _instruction(scene: Scene, actions: Sequence[Action], room: int) -> str:
    name = _name(scene.agent.view.name, room)
    speaker = _name(scene.message.speaker, room) or "them"
    instruction = CHAT_INSTRUCTION.format(name=name, speaker=speaker)
    if unanswered := scene.turn.interrupt_count:
        count = "a message" if unanswered == 1 else f"{unanswered} messages"
        instruction += UNANSWERED_INSTRUCTION.format(speaker=speaker, count=count)
    if actions:
        told = _told(actions, room // 4)
        instruction += "\n\n" + ACTION_INSTRUCTION.format(name=name, actions=told)
    return instruction


def _told(actions: Sequence[Action], most: int) -> str:
    """Describe the actions, a line each; where that is too long, each as long as the others."""
    lines = [_described(action) for action in actions]
    if count_tokens("\n".join(lines)) <= most:
        return "\n".join(lines)
    each = most // len(lines) - 1
    told: list[str] = []
    for action, line in zip(actions, lines, strict=True):
        bare = f"- {action.name}"
        # A name that is cut could not be called; it goes without a description instead.
        short = cut_to_tokens(line, each) if count_tokens(f"{bare}: …") <= each else bare
        most -= count_tokens(short) + 1
        if most < 0:
            log.warning("actions_not_told", count=len(actions) - len(told), told=len(told))
            break
        told.append(short)
    return "\n".join(told)


def _conversation(scene: Scene, left: int) -> list[ChatMessage]:
    chosen: list[ChatMessage] = []
    for message in reversed(scene.state.recent_messages):
        line = ChatMessage(
            role="assistant" if message.is_from_agent else "user", content=_said(scene, message)
        )
        left -= count_tokens(line.content) + MESSAGE_TOKENS
        if left < 0:
            break
        chosen.append(line)
    return chosen[::-1]


def _said(scene: Scene, message: MessageView) -> str:
    if message.is_from_agent or scene.is_private:
        return message.text
    return f"{_name(message.speaker, settings.PROMPT_MAX_TOKENS)}: {message.text}"


def _name(name: str, room: int) -> str:
    """Return a name that leaves room for other things, whoever chose it."""
    most = min(LONGEST_NAME_TOKENS, room // 20)
    # Cut before it is quoted, or its quotation would stay open.
    return name_of(cut_to_tokens(" ".join(name.split()), most, mark="…"))


def _described(action: Action) -> str:
    parameters = action.parameters.get("properties") if action.parameters else None
    known = f" Arguments: {', '.join(parameters)}." if parameters else ""
    asks = " It is done only after a person in charge has approved it." if action.dangerous else ""
    return f"- {action.name}: {' '.join(action.description.split())}{known}{asks}"
