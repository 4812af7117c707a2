"""A small model that learns by rules: it reads the numbers of a look's prompt, and answers by them."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from agents.learning import reflection
from agents.llm.base import CompletionRequest
from agents.llm.scripted import Answer
from memory.models import Conversation

LINE = re.compile(r'^(\d+)\. ([^:"]+): (".*")$', re.MULTILINE)
PERSON = re.compile(r"^(\d+)\. ([^\n\"]+?)(?: \(you\))?$", re.MULTILINE)
KNOWN = re.compile(r'^(\d+)\. (".*")$', re.MULTILINE)
REFLECTION, SUMMARY, GOALS, ANSWER = "reflection", "summary", "goals", "answer"


def purpose_of(request: CompletionRequest) -> str:
    """Tell what a request is for, by the shape of the answer that it wants."""
    keys = set((request.json_schema or {}).get("properties", {}))
    return (
        REFLECTION
        if "facts" in keys
        else SUMMARY
        if "summary" in keys
        else GOALS
        if "done" in keys
        else ANSWER
    )


@dataclass(frozen=True, kw_only=True)
class Rule:
    """What is learnt where somebody says `says`: a fact about `about`, who is the speaker unless named.

    `replaces` and `same_as` are the beginnings of known facts.
    """

    says: str
    text: str = ""
    about: str | None = ""
    replaces: str = ""
    same_as: str = ""
    fields: Mapping[str, Any] = field(default_factory=dict)
    relates: Mapping[str, Any] | None = None


class LearningModel:
    """Answers looks by rules, goals by what shows that one is reached, and everybody with `reply`."""

    def __init__(
        self, rules: Sequence[Rule] = (), *, reached: Mapping[str, str] | None = None, reply: str = "I see."
    ) -> None:
        self.rules = rules
        self.reached = dict(reached or {})
        self.reply = reply
        self.asked: Counter[str] = Counter()
        self.prompts: list[tuple[str, str]] = []
        self.before: dict[str, Answer] = {}

    def __call__(self, request: CompletionRequest) -> Answer:
        """Answer a request; `before` has other answers, by their purpose."""
        purpose = purpose_of(request)
        self.asked[purpose] += 1
        self.prompts.append((purpose, request.messages[-1].content))
        if purpose in self.before:
            return self.before[purpose]
        answers = {REFLECTION: self._reflect, SUMMARY: self._sum_up, GOALS: self._notice}
        return (
            json.dumps(answers[purpose](request.messages[-1].content)) if purpose in answers else self.reply
        )

    def _reflect(self, prompt: str) -> dict[str, Any]:
        people_part, rest = prompt.split("\n\n", 1)
        people = {name: int(number) for number, name in PERSON.findall(people_part)}
        known_part = rest.split("Messages:")[0]
        known = {json.loads(text): int(number) for number, text in KNOWN.findall(known_part)}
        facts, relationships = [], []
        for number, speaker, words in lines_of(prompt):
            for rule in self.rules:
                if rule.says not in words or speaker not in people:
                    continue
                if rule.text:
                    facts.append(_fact(rule, number, speaker, people, known))
                if rule.relates:
                    ends = {key: people[name] for key, name in rule.relates.items() if key in ("from", "to")}
                    relationships.append({"tags": [], **rule.relates, **ends, "messages": [number]})
        return {"facts": facts, "relationships": relationships}

    def _sum_up(self, prompt: str) -> dict[str, Any]:
        said = lines_of(prompt)
        before = re.search(r"^The summary so far: (\".*\")$", prompt, re.MULTILINE)
        words = f"{json.loads(before.group(1))} " if before else ""
        return {"summary": f"{words}{len(said)} messages.", "outcome": f"It ended with {said[-1][2]!r}."}

    def _notice(self, prompt: str) -> dict[str, Any]:
        objectives, messages = prompt.split("Messages:")
        numbers = {
            json.loads(text): int(number)
            for number, text in re.findall(r'^(\d+)\. (".*?") \(of the goal', objectives, re.MULTILINE)
        }
        done = [
            {"objective": numbers[objective], "message": number}
            for number, _speaker, words in lines_of(messages)
            for phrase, objective in self.reached.items()
            if phrase in words and objective in numbers
        ]
        return {"done": done}


def lines_of(prompt: str) -> list[tuple[int, str, str]]:
    """Return the numbered messages of a prompt: number, speaker, words."""
    return [(int(number), name, json.loads(words)) for number, name, words in LINE.findall(prompt)]


def _fact(
    rule: Rule, number: int, speaker: str, people: Mapping[str, int], known: Mapping[str, int]
) -> dict[str, Any]:
    def find(beginning: str) -> int | None:
        return next(
            (place for text, place in known.items() if beginning and text.startswith(beginning)), None
        )

    return {
        "text": rule.text.format(speaker=speaker),
        "type": "fact",
        "about": None if rule.about is None else people[rule.about or speaker],
        "attribute": "",
        "value": "",
        "confidence": 0.6,
        "messages": [number],
        "same_as": find(rule.same_as),
        "replaces": find(rule.replaces),
        **rule.fields,
    }


def reflect_due() -> int:
    """Look at every conversation in which a look is due, as the dispatcher's workers do; return how many ended."""
    return sum(reflection.reflect(id) for id in Conversation.objects.values_list("pk", flat=True))


def let_pause() -> None:
    """Let all conversations have been silent for longer than a pause takes."""
    for conversation in Conversation.objects.exclude(heard_at=None):
        conversation.heard_at = "2020-01-01T00:00:00Z"
        if conversation.look_at is not None:
            conversation.look_at = "2020-01-01T00:10:00Z"
        conversation.save()
