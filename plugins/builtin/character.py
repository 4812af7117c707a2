"""CHARACTER: who the agent is, short enough for a small model.

What is chosen among many lines is chosen by the turn's id: a turn that is taken again gets the same prompt.
"""

import random
import re
from collections.abc import Mapping, Sequence
from typing import TypeVar

from plugins.api import CharacterView, Context, Plugin, Provided, Provider

# About 900 tokens of English. The system text is the operator's own word, and is never cut.
BUDGET_CHARACTERS = 3600
SHOWN_BIO_LINES = 10
SHOWN_LORE_LINES = 6
SHOWN_TOPICS = 8
SHOWN_EXAMPLES = 3
_Entry = TypeVar("_Entry")
_AGENT_NAME = re.compile(r"\{\{\s*agentName\s*\}\}")
_PERSON_NAME = re.compile(r"\{\{\s*(?:user|name)\s*(\d*)\s*\}\}")


def describe_character(context: Context) -> Provided:
    """Describe the character: what it is, knows, likes, how it speaks, and a few examples."""
    character = context.state.agent.character
    choice = random.Random(context.turn_id.int)  # noqa: S311 — a choice of words, not a secret
    bio = _chosen(choice, character.bio, SHOWN_BIO_LINES)
    lore = _chosen(choice, character.lore, SHOWN_LORE_LINES)
    topics = _chosen(choice, character.topics, SHOWN_TOPICS)
    style = [*character.style.get("all", ()), *character.style.get("chat", ())]
    examples = [
        _conversation(character, example)
        for example in _chosen(choice, character.message_examples, SHOWN_EXAMPLES)
    ]
    sections = [
        _listed(f"About {character.name}:", bio),
        _listed("How you speak:", style),
        f"You are {', '.join(character.adjectives)}." if character.adjectives else "",
        f"You like to speak about {', '.join(topics)}." if topics else "",
        _listed("Your story:", lore),
    ]
    values = {
        "agentName": character.name,
        "system": character.system,
        "bio": " ".join(bio),
        "lore": "\n".join(lore),
        "topics": ", ".join(topics),
        "topic": topics[0] if topics else "",
        "adjective": choice.choice(character.adjectives) if character.adjectives else "",
        "messageDirections": "\n".join(style),
        "characterMessageExamples": "\n\n".join(examples),
    }
    opening = "\n\n".join(filter(None, [f"You are {character.name}.", character.system.strip()]))
    rest = _within_budget(sections, examples, BUDGET_CHARACTERS - len(opening))
    text = f"{opening}\n\n{rest}" if rest else opening
    return Provided(text=_name_agent(character, text), values=values)


def _chosen(choice: random.Random, entries: Sequence[_Entry], count: int) -> list[_Entry]:
    places = sorted(choice.sample(range(len(entries)), min(count, len(entries))))
    return [entries[place] for place in places]


def _listed(heading: str, lines: Sequence[str]) -> str:
    return "\n".join([heading, *(f"- {line}" for line in lines)]) if lines else ""


def _conversation(character: CharacterView, example: Sequence[Mapping[str, str]]) -> str:
    lines = (f"{message.get('name', '')}: {message.get('text', '')}" for message in example)
    named = _PERSON_NAME.sub(lambda match: f"Person {match[1]}".strip(), "\n".join(lines))
    return _name_agent(character, named)


def _name_agent(character: CharacterView, text: str) -> str:
    return _AGENT_NAME.sub(lambda _match: character.name, text)


def _within_budget(sections: Sequence[str], examples: Sequence[str], left: int) -> str:
    """Join the sections in their order, cut by whole lines where the budget ends, then examples that fit."""
    kept: list[str] = []
    for section in filter(None, sections):
        lines = section.split("\n")
        is_list = len(lines) > 1
        while len(lines) > 1 and len("\n".join(lines)) > left:
            lines.pop()
        if len("\n".join(lines)) > left or (is_list and len(lines) == 1):
            continue
        kept.append("\n".join(lines))
        left -= len(kept[-1]) + 2
    for example in examples:
        section = f"An example of how you speak:\n{example}"
        if len(section) <= left:
            kept.append(section)
            left -= len(section) + 2
    return "\n\n".join(kept)


plugin = Plugin(
    name="character",
    description="Who the agent is.",
    providers=(
        Provider(
            name="CHARACTER",
            description="The character's system text, bio, lore, topics, style and examples.",
            get=describe_character,
            position=-10,
            cheap=True,
        ),
    ),
)
