"""A conversation of forty messages through the real pipeline, and exactly what is learnt from it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

from agents import work
from agents.inbox import receive
from agents.llm.router import answering_with
from agents.llm.scripted import ScriptedModel
from agents.models import ModelCall, Person
from memory.goals import set_goal
from memory.models import Conversation, Episode, Fact, Goal, Memory
from memory.relationships import relationships_of
from tests.doubles.learning import LearningModel, Rule, let_pause, reflect_due

RULES = (
    Rule(
        says="live in Paris",
        text="Ann lives in Paris.",
        fields={"type": "identity", "attribute": "lives_in", "value": "Paris", "confidence": 0.9},
    ),
    Rule(
        says="moved to Lyon",
        text="Ann lives in Lyon.",
        fields={"type": "identity", "attribute": "lives_in", "value": "Lyon", "confidence": 0.9},
    ),
    Rule(says="love green tea", text="Ann likes green tea.", fields={"type": "preference"}),
    Rule(says="cat", text="Ann has a cat named Momo.", same_as="Ann has a cat"),
    Rule(says="sold the boat", text="Ann has sold her boat.", replaces="Ann has a boat"),
    Rule(says="my boat", text="Ann has a boat."),
    Rule(says="Eliza, you promised", text="Eliza promised Ann a poem.", about="Eliza"),
    Rule(says="play the cello", text="Bob plays the cello.", fields={"type": "preference"}),
    Rule(
        says="Ann is my sister",
        relates={"from": "Bob", "to": "Ann", "type": "family", "tags": ["siblings"]},
    ),
)
REACHED = {"found a teacher": "find a teacher", "bought a book": "buy a book"}

FIRST_TALK = (
    "Hello, I am Ann.",
    "I live in Paris.",
    "I love green tea.",
    "How are you?",
    "I have a cat, Momo.",
    "Tell me about you.",
    "On my boat I am free.",
    "It is raining.",
    # The first look, after eight; then a pause.
    "I am tired.",
    "I still love green tea.",
    "I found a teacher for French!",
    "Good night.",
)
SECOND_TALK = (
    "Good morning.",
    "I have news.",
    "Last week I moved to Lyon.",
    "It is sunny here.",
    "My cat likes it.",
    "Eliza, you promised me a poem.",
    "Thank you.",
    "I sold the boat.",
    # The third look.
    "Yes, really.",
    "I bought a book for the lessons.",
    "I love green tea more than ever.",
    "What shall I read?",
    "Maybe Camus.",
    "Or Colette.",
    "We will see.",
    "Bye for now.",
    # The fourth, which leaves nothing for the pause but the end of the episode.
)
GROUP_TALK = (
    ("ann", "Hi Bob."),
    ("bob", "Hi Ann."),
    ("bob", "I play the cello now."),
    ("ann", "I moved to Lyon."),
    ("bob", "Ann is my sister, Eliza."),
    ("ann", "He is my brother."),
    ("bob", "Listen to this."),
    ("ann", "Lovely."),
    ("bob", "Ann is my sister, did I say so?"),
    ("ann", "You did."),
    ("bob", "Bye."),
    ("ann", "Bye."),
)


@dataclass
class Run:
    """What was asked of the model, how many looks ended after each message or pause, and what was emitted."""

    model: LearningModel
    looks: list[int] = field(default_factory=list)
    emitted: list[tuple[str, str]] = field(default_factory=list)


@pytest.fixture
def run(agent: Any, incoming: Any, monkeypatch: Any) -> Run:
    """The forty messages, each worked when it came, with a look whenever one was due, and the pauses."""
    monkeypatch.setattr(
        "agents.pipeline.evaluate.call_within", lambda _seconds, function, *given: function(*given)
    )
    run = Run(model=LearningModel(RULES, reached=REACHED))
    monkeypatch.setattr(
        "memory.goals.emit", lambda name, payload: run.emitted.append((name, payload["name"]))
    )
    set_goal(agent_id=agent.pk, name="learn French", objectives=("find a teacher", "buy a book"))

    def say(text: str, **more: Any) -> None:
        work.drain_lane(receive(incoming(text, **more)).lane_id)
        run.looks.append(reflect_due())

    def pause() -> None:
        let_pause()
        run.looks.append(reflect_due())

    with answering_with(ScriptedModel(run.model)):
        for text in FIRST_TALK:
            say(text)
        pause()
        for text in SECOND_TALK:
            say(text)
        pause()
        for person, text in GROUP_TALK:
            say(text, person=person, room="garden", room_type="GROUP", is_addressed=True)
        pause()
    return run


def facts() -> list[tuple[Any, ...]]:
    columns = ("memory__text", "type", "subject__name", "memory__scope", "seen_count", "confidence")
    rows = Fact.objects.filter(memory__superseded_by=None).values_list(*columns)
    return sorted((*row[:5], round(row[5], 3)) for row in rows)


def test_forty_messages_leave_exactly_what_is_worth_remembering(run: Run, agent: Any) -> None:
    assert len(FIRST_TALK) + len(SECOND_TALK) + len(GROUP_TALK) == 40
    # Facts: said again, they are surer; what they ended is history. What was said in the group stays there.
    assert facts() == [
        ("Ann has a cat named Momo.", "fact", "Ann", "person", 2, 0.84),
        ("Ann has sold her boat.", "fact", "Ann", "person", 1, 0.6),
        ("Ann likes green tea.", "preference", "Ann", "person", 3, 0.936),
        ("Ann lives in Lyon.", "identity", "Ann", "person", 1, 0.9),
        ("Ann lives in Lyon.", "identity", "Ann", "room", 1, 0.9),
        ("Bob plays the cello.", "preference", "Bob", "room", 1, 0.6),
        ("Eliza promised Ann a poem.", "fact", "Eliza", "person", 1, 0.6),
    ]
    ended = Fact.objects.exclude(memory__superseded_by=None).order_by("memory__text")
    assert [(fact.memory.text, fact.memory.superseded_by.text) for fact in ended] == [
        ("Ann has a boat.", "Ann has sold her boat."),
        ("Ann lives in Paris.", "Ann lives in Lyon."),
    ]
    messages = dict(Memory.objects.filter(kind="message").values_list("source_messages__0", "text"))
    assert [messages[str(fact.ended_by_message)] for fact in ended] == [
        "I sold the boat.",
        "Last week I moved to Lyon.",
    ]
    tea = Memory.objects.get(text="Ann likes green tea.")
    assert [messages[source] for source in tea.source_messages] == [
        "I love green tea.",
        "I still love green tea.",
        "I love green tea more than ever.",
    ]


def test_forty_messages_leave_exactly_these_relationships(run: Run, agent: Any) -> None:
    ann, bob, own = (Person.objects.get(name=name) for name in ("Ann", "Bob", "Eliza"))
    assert own.is_bot
    found = {
        (row.user_a_id, row.user_b_id, row.relationship_type, row.tags): row.strength
        for person in (ann, bob)
        for row in relationships_of(person.pk, agent_id=agent.pk)
    }
    assert found == {
        # 12 + 16 messages in private and 6 in the group, each with its answer; Bob's are 6.
        (ann.pk, own.pk, "talks_with", ()): pytest.approx(1 - 0.98**34),
        (bob.pk, own.pk, "talks_with", ()): pytest.approx(1 - 0.98**6),
        (bob.pk, ann.pk, "family", ("siblings",)): pytest.approx(0.2),
    }


def test_forty_messages_leave_three_episodes_and_a_goal_that_is_reached(run: Run) -> None:
    told = [
        (row.memory.text, row.memory.scope, row.message_count, len(row.participants))
        for row in Episode.objects.order_by("began_at").select_related("memory")
    ]
    assert told == [
        ("16 messages. 8 messages. Outcome: It ended with 'I see.'.", "person", 12, 1),
        ("16 messages. 16 messages. Outcome: It ended with 'I see.'.", "person", 16, 1),
        ("16 messages. 8 messages. Outcome: It ended with 'I see.'.", "room", 12, 2),
    ]
    first = Episode.objects.order_by("began_at")[0]
    words = dict(Memory.objects.filter(kind="message").values_list("source_messages__0", "text"))
    assert (words[str(first.first_message)], words[str(first.last_message)]) == (
        "Hello, I am Ann.",
        "Good night.",
    )
    goal = Goal.objects.get()
    assert (goal.status, run.emitted) == ("completed", [("goal:completed", "learn French")])
    assert [words[str(part.shown_by_message)] for part in goal.objectives.all()] == [
        "I found a teacher for French!",
        "I bought a book for the lessons.",
    ]


def test_forty_messages_take_exactly_six_reflections(run: Run) -> None:
    ends = {7: 1, 12: 1, 20: 1, 28: 1, 29: 1, 37: 1, 42: 1}
    assert {place: count for place, count in enumerate(run.looks) if count} == ends
    assert run.model.asked["reflection"] == run.model.asked["summary"] == 6, (
        "the pause without words asked nothing"
    )
    assert run.model.asked["answer"] == 40
    assert ModelCall.objects.filter(purpose="reflection", parse_path="json", error="").count() == 6
    for conversation in Conversation.objects.all():
        assert (conversation.look_at, conversation.unseen, conversation.episode_first) == (None, [], None)
