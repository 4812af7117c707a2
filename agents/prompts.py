"""Builds the prompts, within a budget of tokens. The pipeline's steps `respond` and `generate` call it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from django.conf import settings

from agents.llm.base import ChatMessage
from agents.scene import Scene
from plugins.api import Action, MessageView
from plugins.quotations import name_of

CHARACTERS_A_TOKEN = 3.5
"""What is reckoned for English text: fewer than tokenisers show, so that a budget is kept rather than met."""

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


def count_tokens(text: str) -> int:
    """Estimate how many tokens the text has.

    Unit: tokens, from the number of characters.
    """
    return int(len(text) / CHARACTERS_A_TOKEN) + 1


def answer_prompt(
    scene: Scene, texts: Iterable[tuple[str, str]], actions: Sequence[Action]
) -> tuple[ChatMessage, ...]:
    """Build the prompt of an answer: what providers said, the instruction, and the conversation.

    Unit: at most PROMPT_MAX_TOKENS by estimate; older messages are left out first, then the end of what
    providers said. The person's message is always whole up to the budget.
    """
    name = scene.agent.view.name
    speaker = name_of(scene.message.speaker) or "them"
    instruction = CHAT_INSTRUCTION.format(name=name, speaker=speaker)
    if unanswered := scene.turn.interrupt_count:
        count = "a message" if unanswered == 1 else f"{unanswered} messages"
        instruction += UNANSWERED_INSTRUCTION.format(speaker=speaker, count=count)
    if actions:
        instruction += "\n\n" + ACTION_INSTRUCTION.format(
            name=name, actions="\n".join(map(_described, actions))
        )
    budget = settings.PROMPT_MAX_TOKENS
    last = _fitted(_said(scene, scene.message), int(budget * 0.5))
    known = _fitted(
        "\n\n".join(text for _name, text in texts), int(budget * 0.75) - count_tokens(instruction + last)
    )
    system = ChatMessage(role="system", content=f"{known}\n\n{instruction}".strip())
    left = budget - count_tokens(system.content) - count_tokens(last)
    return (system, *_conversation(scene, left), ChatMessage(role="user", content=last))


def decision_prompt(scene: Scene) -> tuple[ChatMessage, ...]:
    """Build the question of whether the agent should answer at all."""
    name = scene.agent.view.name
    said = [*scene.state.recent_messages[-6:], scene.message]
    # A line each, so that no message can bring another's line along.
    lines = "\n".join(
        f"{name_of(message.speaker)}: {' '.join(message.text[:500].split())}" for message in said
    )
    return (
        ChatMessage(role="system", content=DECISION_INSTRUCTION.format(name=name)),
        ChatMessage(role="user", content=lines),
    )


def _conversation(scene: Scene, budget: int) -> list[ChatMessage]:
    chosen: list[ChatMessage] = []
    for message in reversed(scene.state.recent_messages):
        line = ChatMessage(
            role="assistant" if message.is_from_agent else "user", content=_said(scene, message)
        )
        budget -= count_tokens(line.content) + 4
        if budget < 0:
            break
        chosen.append(line)
    return chosen[::-1]


def _said(scene: Scene, message: MessageView) -> str:
    if message.is_from_agent or scene.is_private:
        return message.text
    return f"{name_of(message.speaker)}: {message.text}"


def _fitted(text: str, budget: int) -> str:
    most = max(0, int((budget - 1) * CHARACTERS_A_TOKEN))
    return text if len(text) <= most else text[:most].rstrip() + " …"


def _described(action: Action) -> str:
    parameters = action.parameters.get("properties") if action.parameters else None
    known = f" Arguments: {', '.join(parameters)}." if parameters else ""
    asks = " It is done only after a person in charge has approved it." if action.dangerous else ""
    return f"- {action.name}: {action.description}{known}{asks}"
