"""What evaluators learnt is held against where it was said: what refers to anything else is dropped."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest

from agents import effects, facts, work
from agents.effects import CannotApply, apply_effects
from agents.inbox import receive
from agents.llm.router import answering_with
from agents.llm.scripted import ScriptedModel
from agents.models import Message, Person, Turn
from memory.embeddings.base import EmbeddingError
from memory.goals import set_goal
from memory.models import Conversation, Fact, Goal, Memory, Objective, Relationship
from plugins.api import (
    AdvanceGoal,
    Context,
    EvaluationResult,
    Evaluator,
    LearnFact,
    Relate,
    Remember,
    Say,
    Schedule,
    SetGoal,
    SetPluginState,
    Summarise,
)
from plugins.models import PluginState
from plugins.registry import Components, Registered, components_for
from tests.doubles.learning import reflect_due

pytestmark = pytest.mark.django_db


@pytest.fixture
def learn(incoming: Any, monkeypatch: Any, settings: Any) -> Iterator[Callable[..., None]]:
    """Let an evaluator of a plugin's look at one message of Ann's, and return these effects."""
    settings.REFLECT_AFTER_MESSAGES = 1
    monkeypatch.setattr("agents.pipeline.evaluate.check_effects", lambda plugin, effects: None)
    for module in ("agents.pipeline.evaluate", "agents.learning.applying"):
        monkeypatch.setattr(f"{module}.call_within", lambda _seconds, function, *given: function(*given))
    wanted: list[Callable[[Context], tuple[Any, ...]]] = []

    def evaluate(context: Context) -> EvaluationResult:
        return EvaluationResult(effects=wanted[0](context))

    one = Registered(
        plugin="learning", component=Evaluator(name="LEARN", evaluate=evaluate, looks_at="conversation")
    )
    built_in = components_for(())
    components = Components(actions=built_in.actions, providers=built_in.providers, evaluators=(one,))
    monkeypatch.setattr(facts, "components_for", lambda names: components)
    facts.agent_facts.cache_clear()

    def learn(make: Callable[[Context], tuple[Any, ...]], **more: Any) -> None:
        wanted[:] = [make]
        work.drain_lane(receive(incoming("I like tea.", **more)).lane_id)
        assert reflect_due() == 1

    with answering_with(ScriptedModel("I see.")):
        yield learn
    facts.agent_facts.cache_clear()


def message_of(context: Context) -> Any:
    assert context.conversation is not None
    return context.conversation.messages[0]


def test_whoever_is_not_in_the_conversation_is_not_learnt_of(learn: Any) -> None:
    stranger = Person.objects.create(name="Zoe")
    learn(
        lambda context: (
            LearnFact(text="Zoe is ill.", subject_id=stranger.pk, message_ids=(message_of(context).id,)),
            LearnFact(text="Ann is well.", subject_id=context.state.person.id, message_ids=(message_of(context).id,)),
            Relate(person_id=stranger.pk, other_person_id=context.state.person.id, relationship_type="friend",
                   message_ids=(message_of(context).id,)),
        )
    )  # fmt: skip
    assert [fact.memory.text for fact in Fact.objects.all()] == ["Ann is well."]
    assert not Relationship.objects.exists()


def test_a_message_of_another_room_shows_nothing(learn: Any, incoming: Any) -> None:
    receive(incoming("elsewhere", person="zoe", room="dm-zoe"))
    foreign = Message.objects.get(text="elsewhere").pk
    learn(
        lambda context: (
            LearnFact(text="A.", message_ids=(foreign,)),
            LearnFact(text="B.", message_ids=(foreign, message_of(context).id)),
            LearnFact(text="C.", message_ids=()),
            Relate(
                other_person_id=context.conversation.own_person.id,
                relationship_type="friend",
                message_ids=(foreign,),
            ),
        )
    )
    (fact,) = Fact.objects.all()
    assert (fact.memory.text, fact.memory.source_messages) == (
        "B.",
        [str(Message.objects.get(text="I like tea.").pk)],
    )
    assert not Relationship.objects.exists()


def test_only_a_goal_that_may_be_spoken_of_here_advances(learn: Any, agent: Any) -> None:
    other = Person.objects.create(name="Zoe")
    theirs = set_goal(agent_id=agent.pk, name="theirs", person_id=other.pk, objectives=("a",))
    ours = set_goal(agent_id=agent.pk, name="ours", objectives=("a", "b"))
    learn(
        lambda context: tuple(
            AdvanceGoal(goal_id=id, completed_objectives=("a",), message_id=message_of(context).id)
            for id in (theirs.id, ours.id, uuid4())
        )
    )
    done = Objective.objects.filter(is_done=True)
    assert [(part.goal.name, part.shown_by_message) for part in done] == [
        ("ours", Message.objects.get(text="I like tea.").pk)
    ]


def test_other_effects_are_applied_as_anywhere(learn: Any) -> None:
    learn(
        lambda _context: (
            Say(text="By the way."),
            Remember(text="She was here."),
            SetPluginState(state={"seen": 1}),
            Summarise(summary="Tea.", outcome="It goes on."),
        )
    )
    assert Message.objects.filter(direction="out").order_by("received_at").last().text == "By the way."  # type: ignore[union-attr]
    assert Memory.objects.get(kind="fact").text == "She was here."
    assert PluginState.objects.get().state == {"seen": 1}
    assert Conversation.objects.get().summary == "Tea."


def test_an_effect_that_cannot_be_applied_costs_itself_alone(learn: Any) -> None:
    at = dt.datetime(2030, 1, 1, tzinfo=dt.UTC)
    learn(
        lambda context: (
            Schedule(task="nothing", at=at),
            SetGoal(name=""),
            Remember(text="One.", kind="episode"),
            Remember(text="Two.", kind="episode"),
            LearnFact(text="Ann likes tea.", message_ids=(message_of(context).id,)),
        )
    )
    texts = Memory.objects.exclude(kind="message").values_list("text", flat=True)
    assert sorted(texts) == ["Ann likes tea.", "One.", "Two."]
    assert not Goal.objects.exists()


def test_without_an_embedder_only_the_words_are_compared(learn: Any, monkeypatch: Any) -> None:
    def away(*_given: Any) -> Any:
        raise EmbeddingError("away")

    monkeypatch.setattr("agents.learning.applying.get_embedder", away)
    learn(lambda context: (LearnFact(text="Ann likes tea.", message_ids=(message_of(context).id,)),))
    learn(lambda context: (LearnFact(text="ann likes TEA.", message_ids=(message_of(context).id,)),))
    learn(lambda context: (LearnFact(text="Ann likes tea a lot.", message_ids=(message_of(context).id,)),))
    assert Memory.objects.filter(kind="fact", embedding=None).count() == 2


# Outside of a look ---------------------------------------------------------------------------------------


@pytest.fixture
def apply(incoming: Any) -> Any:
    receipt = receive(incoming("I like tea."))
    turn = Turn.objects.get(pk=receipt.turn_id)

    def apply(*wanted: Any) -> None:
        apply_effects(
            wanted,
            plugin="learning",
            agent_id=turn.agent_id,
            room_id=turn.room_id,
            person_id=turn.person_id,
            message_id=turn.message_id,
            cause_id=turn.pk,
        )

    return apply


def test_an_action_learns_of_the_turns_person_or_nobody(apply: Any) -> None:
    ann = Person.objects.get(name="Ann")
    apply(
        LearnFact(text="Ann likes tea.", subject_id=ann.pk, message_ids=(), confidence=0.7),
        LearnFact(text="The fair is on Friday.", message_ids=(uuid4(),)),
    )
    facts = Fact.objects.order_by("memory__text")
    assert [(fact.subject, fact.memory.scope, fact.memory.person) for fact in facts] == [
        (ann, "person", ann),
        (None, "person", ann),
    ]
    (message,) = Message.objects.values_list("pk", flat=True)
    assert {tuple(fact.memory.source_messages) for fact in facts} == {(str(message),)}


def test_what_an_action_may_not_learn_is_refused_by_name(apply: Any, agent: Any) -> None:
    goal = set_goal(
        agent_id=agent.pk, name="x", person_id=Person.objects.create(name="Zoe").pk, objectives=("a",)
    )
    for effect, words in (
        (LearnFact(text="x", subject_id=uuid4(), message_ids=()), "does not speak here"),
        (AdvanceGoal(goal_id=goal.id, completed_objectives=("a",)), "no goal of here"),
        (Summarise(summary="x"), "without looking at one"),
    ):
        with pytest.raises(CannotApply, match=words):
            apply(effect)
    assert Goal.objects.get().status == "active"
    assert effects.CannotApply is CannotApply


def test_a_relationship_that_an_action_notes_belongs_to_its_room(apply: Any) -> None:
    zoe = Person.objects.create(name="Zoe")
    apply(Relate(other_person_id=zoe.pk, relationship_type="friend", tags=("chess",)))
    apply(Relate(other_person_id=zoe.pk, relationship_type="fan", is_everywhere=True))
    assert dict(Relationship.objects.values_list("relationship_type", "room__external_id")) == {
        "friend": "dm-ann",
        "fan": None,
    }
