"""Reflection: how often, by whom, and that whatever dies, what was said is learnt from once."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from django.db import connection as database
from django.test.utils import CaptureQueriesContext

from agents import dispatcher, work
from agents.inbox import receive
from agents.learning import reflection
from agents.llm.base import ModelError, ModelFailure
from agents.llm.router import answering_with
from agents.llm.scripted import ScriptedModel
from agents.models import Message, ModelCall, Participant, Person, Room, Step, Turn
from agents.people.merging import merge
from agents.processes import keeper, shutdown
from memory.goals import set_goal
from memory.models import Conversation, Episode, Fact, Goal, Memory, Relationship
from plugins.api import Context
from plugins.models import Event
from tests.doubles.acting import Died
from tests.doubles.learning import (
    GOALS,
    REFLECTION,
    SUMMARY,
    LearningModel,
    Rule,
    let_pause,
    lines_of,
    reflect_due,
)

pytestmark = pytest.mark.django_db

TEA = Rule(says="tea", text="{speaker} likes tea.", fields={"confidence": 0.6})
FRIENDS = Rule(says="friend", relates={"from": "Ann", "to": "Eliza", "type": "friend"})
POINTS = (
    "reflection.claimed",
    "evaluator.answered",
    "evaluator.recorded",
    "reflection.before_commit",
    "reflection.after_commit",
)


@pytest.fixture
def in_line(monkeypatch: Any) -> None:
    """Let evaluators run in the test's own thread, which sees what its transaction wrote."""
    for module in ("agents.pipeline.evaluate", "agents.learning.applying"):
        monkeypatch.setattr(f"{module}.call_within", lambda _seconds, function, *given: function(*given))


@pytest.fixture
def learner(in_line: None) -> Iterator[LearningModel]:
    """A small model that knows one fact when it sees it."""
    model = LearningModel((TEA, FRIENDS))
    with answering_with(ScriptedModel(model)):
        yield model


@pytest.fixture
def say(incoming: Any, learner: LearningModel) -> Any:
    """Say something, and have it answered."""

    def say(text: str = "hello", **more: Any) -> Any:
        receipt = receive(incoming(text, **more))
        work.drain_lane(receipt.lane_id)
        return receipt

    return say


def say_all(say: Any, count: int, text: str = "hello", **more: Any) -> None:
    for number in range(count):
        say(f"{text} {number}", **more)


def let_lease_end() -> None:
    due = Conversation.objects.exclude(look_at=None)
    due.update(lease_until=None, look_at="2020-01-01T00:00:00Z", not_before=None)


def looks() -> list[tuple[int, int, int]]:
    """Return how many looks ended, what waits, and how often the one that is due was begun."""
    return [
        (row.look_count, len(row.unseen), row.attempts) for row in Conversation.objects.order_by("heard_at")
    ]


# The cadence ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_late", [False, True], ids=["at-once", "all-at-the-end"])
def test_forty_messages_are_five_reflections_whenever_workers_come(
    say: Any, learner: LearningModel, is_late: bool
) -> None:
    for number in range(40):
        say(f"hello {number}")
        if not is_late:
            reflect_due()
    reflect_due()
    assert learner.asked[REFLECTION] == 5
    assert looks() == [(5, 0, 0)]


def test_what_is_left_is_reflected_on_when_the_conversation_pauses_and_the_dispatcher_finds_it(
    say: Any, learner: LearningModel, monkeypatch: Any
) -> None:
    handed_out: list[Any] = []
    monkeypatch.setattr(
        dispatcher, "wake", lambda name, **arguments: bool(handed_out.append((name, arguments)) or True)
    )
    say_all(say, 11)
    reflect_due()
    assert (learner.asked[REFLECTION], looks()) == (1, [(1, 3, 0)])
    dispatcher.dispatch_once()
    assert "agents.reflect_conversation" not in [name for name, _arguments in handed_out]
    let_pause()
    dispatcher.dispatch_once()
    found = Conversation.objects.get()
    assert ("agents.reflect_conversation", {"conversation_id": str(found.pk)}) in handed_out
    reflect_due()
    assert (learner.asked[REFLECTION], looks()) == (2, [(2, 0, 0)])
    reflect_due()
    assert learner.asked[REFLECTION] == 2


def test_the_message_that_completes_a_look_wakes_whoever_reflects(
    incoming: Any, learner: LearningModel, django_capture_on_commit_callbacks: Any, monkeypatch: Any
) -> None:
    woken: list[str] = []
    monkeypatch.setattr("agents.wakeups.wake", lambda name, **arguments: bool(woken.append(name) or True))
    for number in range(9):
        with django_capture_on_commit_callbacks(execute=True):
            work.drain_lane(receive(incoming(f"hello {number}")).lane_id)
        assert woken.count("agents.reflect_conversation") == max(0, number - 6)


def test_nothing_is_learnt_and_nothing_kept_where_reflection_is_off(
    say: Any, learner: LearningModel, settings: Any
) -> None:
    settings.REFLECT_AFTER_MESSAGES = 0
    say_all(say, 9)
    assert not Conversation.objects.exists()
    assert Memory.objects.filter(kind="message").count() == 18


def test_a_room_of_several_lanes_is_one_conversation(say: Any, learner: LearningModel) -> None:
    for number in range(8):
        say(f"hi {number}", person=f"p{number % 3}", room="hall", room_type="GROUP", is_addressed=True)
    reflect_due()
    assert (Conversation.objects.count(), learner.asked[REFLECTION]) == (1, 1)


def test_messages_that_were_not_answered_are_reflected_on_too(
    say: Any, learner: LearningModel, agent: Any
) -> None:
    agent.settings = {"groupReplies": "mentioned"}
    agent.save()
    for number in range(8):
        say(f"I like tea {number}", room="hall", room_type="GROUP", is_addressed=False)
    reflect_due()
    assert Fact.objects.get().memory.text == "Ann likes tea."
    assert not Relationship.objects.exists(), "nobody grew nearer by being overheard"


def test_a_look_takes_no_more_than_its_prompt_has_room_for(
    say: Any, learner: LearningModel, settings: Any
) -> None:
    settings.PROMPT_MAX_TOKENS = 1900
    say_all(say, 8, "word " * 60)
    reflect_due()
    assert looks() == [(1, 5, 0)]
    let_pause()
    reflect_due()
    assert looks() == [(3, 0, 0)]
    seen = [prompt for purpose, prompt in learner.prompts if purpose == REFLECTION]
    assert [len(lines_of(prompt)) for prompt in seen] == [6, 6, 4]
    assert list(Episode.objects.values_list("message_count", flat=True)) == [8]


# Deaths --------------------------------------------------------------------------------------------------


@pytest.fixture
def dying(monkeypatch: Any) -> list[str]:
    """Let whoever reflects die at the named points, each as often as it stands here."""
    deaths: list[str] = []

    def reach(name: str) -> None:
        if name in deaths:
            deaths.remove(name)
            raise Died(name)

    for module in ("learning.reflection", "questions"):
        monkeypatch.setattr(f"agents.{module}.reach", reach)
    return deaths


@pytest.mark.parametrize("hits", [1, 2], ids=["first", "second"])
@pytest.mark.parametrize("point", POINTS)
def test_a_worker_that_dies_at_any_point_has_it_learnt_once(
    say: Any,
    agent: Any,
    learner: LearningModel,
    dying: list[str],
    monkeypatch: Any,
    point: str,
    hits: int,
) -> None:
    monkeypatch.setattr("memory.goals.emit", lambda name, payload: Event.objects.create(name=name))
    learner.reached = {"teacher": "find a teacher"}
    set_goal(agent_id=agent.pk, name="learn", objectives=("find a teacher",))
    say_all(say, 2)
    say("I like tea, my friend; I found a teacher.")
    let_pause()
    dying += [point] * hits
    for _attempt in range(hits + 1):
        try:
            reflect_due()
        except Died:
            let_lease_end()
    assert looks()[0][:2] == (1, 0)
    assert [(fact.memory.text, fact.seen_count, fact.confidence) for fact in Fact.objects.all()] == [
        ("Ann likes tea.", 1, 0.6)
    ]
    assert dict(Relationship.objects.values_list("relationship_type", "strength")) == {
        "talks_with": pytest.approx(1 - 0.98**3),
        "friend": pytest.approx(0.1),
    }
    assert Episode.objects.count() == Memory.objects.filter(kind="episode").count() == 1
    assert (Goal.objects.get().status, Event.objects.get().name) == ("completed", "goal:completed")
    # Asked again is only what was heard by a worker that died before it could record it.
    lost = hits if point == "evaluator.answered" else 0
    assert sum(learner.asked[purpose] for purpose in (REFLECTION, SUMMARY, GOALS)) == 3 + lost
    assert ModelCall.objects.filter(purpose="reflection", error="").count() == 1


def test_a_look_that_kills_its_workers_is_given_up_and_the_next_goes_on(
    say: Any, learner: LearningModel, dying: list[str]
) -> None:
    say_all(say, 8, "I like tea")
    dying += ["reflection.claimed"] * reflection.MAX_ATTEMPTS
    for _attempt in range(reflection.MAX_ATTEMPTS):
        with pytest.raises(Died):
            reflect_due()
        let_lease_end()
    assert reflect_due() == 1
    assert (looks(), Fact.objects.count()) == ([(1, 0, 0)], 0)
    assert "nothing was learnt" in Conversation.objects.get().error
    say_all(say, 8, "I like tea")
    reflect_due()
    assert Fact.objects.count() == 1
    assert Conversation.objects.get().error == ""


def test_the_messages_of_a_look_stay_the_same_while_others_come(
    say: Any, learner: LearningModel, dying: list[str]
) -> None:
    say_all(say, 8)
    dying += ["evaluator.recorded"]
    with pytest.raises(Died):
        reflect_due()
    say("I like tea")
    let_lease_end()
    assert reflect_due() == 1
    assert looks() == [(1, 1, 0)]
    assert not Fact.objects.exists(), "the ninth message was not looked at yet"
    assert learner.asked[REFLECTION] == 1


# Holders -------------------------------------------------------------------------------------------------


def test_a_holder_that_lost_its_lease_writes_nothing(say: Any, learner: LearningModel) -> None:
    say_all(say, 8, "I like tea")

    def taken_by_another(request: Any) -> str:
        Conversation.objects.update(lease_token=9)
        return learner(request)

    with answering_with(ScriptedModel(taken_by_another)):
        assert reflect_due() == 0
    assert not Fact.objects.exists()
    assert not Step.objects.filter(name__startswith=("ask:")).exists(), "nor is its answer recorded"
    assert not ModelCall.objects.filter(purpose="reflection").exists()
    let_lease_end()
    assert reflect_due() == 1
    assert Fact.objects.count() == 1


def test_a_look_in_somebodys_hands_is_not_taken(say: Any, learner: LearningModel) -> None:
    say_all(say, 8)
    Conversation.objects.update(lease_until="2999-01-01T00:00:00Z")
    assert reflect_due() == 0
    Conversation.objects.update(lease_until="2020-01-01T00:00:00Z")
    assert reflect_due() == 1


def test_the_keeper_renews_the_lease_of_a_look_and_finds_a_lost_one(say: Any, learner: LearningModel) -> None:
    from memory import conversations

    say_all(say, 8)
    look = conversations.claim_look(Conversation.objects.get().pk, lease_seconds=1.0)
    assert look is not None
    turn = reflection.read_turn(look)
    assert turn is not None
    watch = reflection.ReflectionWatch(look, turn)
    assert watch.keep([watch.claim]).renewed == {watch.claim}
    Conversation.objects.update(lease_token=9)
    kept = watch.keep([watch.claim])
    assert (kept.renewed, kept.lost) == (frozenset(), {watch.claim})


def test_a_worker_that_is_to_end_gives_the_look_back_uncounted(
    say: Any, learner: LearningModel, monkeypatch: Any
) -> None:
    say_all(say, 8, "I like tea")
    monkeypatch.setattr(shutdown, "is_grace_over", lambda: True)
    assert reflect_due() == 0
    assert looks() == [(0, 8, 0)]
    monkeypatch.setattr(shutdown, "is_grace_over", lambda: False)
    assert reflect_due() == 1
    assert Fact.objects.count() == 1


def test_no_look_is_begun_once_the_worker_was_told_to_end(
    say: Any, learner: LearningModel, monkeypatch: Any
) -> None:
    say_all(say, 8)
    monkeypatch.setattr(shutdown, "is_begun", lambda: True)
    assert reflect_due() == 0
    assert looks() == [(0, 8, 0)]


# Models that fail ----------------------------------------------------------------------------------------


def test_while_the_model_is_away_the_messages_wait_uncounted(say: Any, learner: LearningModel) -> None:
    say_all(say, 8, "I like tea")
    learner.before[SUMMARY] = ModelError("away", failure=ModelFailure.UNREACHABLE)
    for _attempt in range(reflection.MAX_ATTEMPTS + 2):
        assert reflect_due() == 0
        waiting = Conversation.objects.get()
        assert (waiting.attempts, len(waiting.unseen), waiting.error) == (0, 8, "away")
        assert waiting.look_at == waiting.not_before
        let_lease_end()
    assert not Fact.objects.exists(), "what one look brings is applied together"
    assert ModelCall.objects.filter(purpose="summary").exclude(error="").count() == 7
    del learner.before[SUMMARY]
    assert reflect_due() == 1
    assert learner.asked[REFLECTION] == 1, "what was answered is not asked again"
    assert Fact.objects.count() == 1


def test_a_new_message_does_not_shorten_the_wait_for_a_model(say: Any, learner: LearningModel) -> None:
    say_all(say, 8)
    learner.before[REFLECTION] = ModelError(
        "busy", failure=ModelFailure.RATE_LIMITED, retry_after_seconds=900
    )
    assert reflect_due() == 0
    put_off = Conversation.objects.get().look_at
    say("and another")
    assert Conversation.objects.get().look_at == put_off
    assert reflect_due() == 0
    assert learner.asked[REFLECTION] == 1


def test_a_model_that_fails_at_these_messages_is_asked_five_times(say: Any, learner: LearningModel) -> None:
    say_all(say, 8)
    learner.before[REFLECTION] = ModelError("too long", failure=ModelFailure.REFUSED, permanent=True)
    for attempt in range(1, reflection.MAX_ATTEMPTS + 1):
        assert reflect_due() == 0
        assert looks() == [(0, 8, attempt)]
        let_lease_end()
    assert reflect_due() == 1
    assert looks() == [(1, 0, 0)]
    assert learner.asked[REFLECTION] == reflection.MAX_ATTEMPTS


@pytest.mark.parametrize(
    "garbage",
    [
        "I am only a small model.",
        "{",
        "[[[[",
        '{"facts": "none", "relationships": 7}',
        '{"facts": [{"text": "x", "about": 99, "messages": [1]}, {"text": "y", "messages": [77]}, 5, null]}',
        '{"facts": [{"text": {"a": 1}, "messages": "first", "confidence": "NaN", "about": "everybody"}]}',
        '{"relationships": [{"from": 1, "to": 1, "type": "self", "messages": [1]}, {"from": -1, "to": 0}]}',
        "<response><facts><fact><claim>x</claim></fact></facts></response>",
        "[" * 5000,
        '{"facts": [{"text": "' + "x" * 100_000 + '"}]}',
        '\ud800\x00 {"facts": [{"text": "a\x00", "about": 1e999, "messages": [1e999]}]}',
    ],
)
def test_what_is_no_answer_learns_nothing_is_recorded_and_breaks_nothing(
    say: Any, learner: LearningModel, garbage: str
) -> None:
    learner.before[REFLECTION] = learner.before[SUMMARY] = garbage
    say_all(say, 8, "I like tea")
    assert reflect_due() == 1
    assert not Fact.objects.exists()
    assert set(Relationship.objects.values_list("relationship_type", flat=True)) == {"talks_with"}
    call = ModelCall.objects.get(purpose="reflection")
    assert call.error == ""
    assert Step.objects.get(name__startswith="evaluate:REFLECTION").state == "done"
    assert set(Turn.objects.values_list("state", flat=True)) == {"done"}
    say("and on it goes")


def test_an_evaluator_that_raises_costs_its_own_part_only(
    say: Any, learner: LearningModel, monkeypatch: Any
) -> None:
    from plugins.registry import components_for

    def fall(_context: Context) -> Any:
        raise KeyError("no")

    found = next(
        one.component
        for one in components_for(()).conversation_evaluators
        if one.component.name == "EPISODES"
    )
    monkeypatch.setitem(found.__dict__, "evaluate", fall)
    say_all(say, 8, "I like tea")
    assert reflect_due() == 1
    assert Fact.objects.count() == 1
    assert Step.objects.get(name__startswith="evaluate:EPISODES").error == "KeyError: 'no'"


# Where it belongs ----------------------------------------------------------------------------------------


def places() -> list[tuple[str, Any, Any]]:
    rows = Fact.objects.values_list("memory__scope", "memory__person__name", "subject__name")
    return list(rows)


def test_a_fact_keeps_the_scope_of_the_room_that_it_was_said_in(say: Any, learner: LearningModel) -> None:
    say_all(say, 8, "I like tea")
    say_all(say, 8, "I like tea", room="hall", room_type="GROUP", is_addressed=True)
    reflect_due()
    assert sorted(places()) == [("person", "Ann", "Ann"), ("room", "Ann", "Ann")]


def test_a_private_room_in_which_another_listens_is_no_private_place(
    say: Any, learner: LearningModel
) -> None:
    say("I like tea")
    Participant.objects.create(room=Room.objects.get(), person=Person.objects.create(name="Bob"))
    let_pause()
    reflect_due()
    assert places() == [("room", "Ann", "Ann")]
    assert Memory.objects.get(kind="episode").scope == "room"


def test_whom_a_fact_is_about_is_found_among_the_people_of_the_room_alone(
    say: Any, learner: LearningModel
) -> None:
    say("hello", person="zoe", room="elsewhere")
    zoe = Person.objects.get(name="Zoe")
    learner.rules = (Rule(says="Zoe", text="Zoe is ill.", fields={"about": 2}),)
    say("Zoe is ill")
    let_pause()
    reflect_due()
    prompt = next(
        text for purpose, text in reversed(learner.prompts) if purpose == REFLECTION and "Zoe" in text
    )
    assert "2. " not in prompt.split("\n\n")[0], "only Eliza and Ann have numbers"
    assert not Fact.objects.filter(subject=zoe).exists()
    assert not Fact.objects.filter(memory__text="Zoe is ill.").exists()


def test_a_message_that_was_deleted_meanwhile_is_not_learnt_from(say: Any, learner: LearningModel) -> None:
    say_all(say, 7)
    say("I like tea")

    def deleting(request: Any) -> Any:
        answer = learner(request)
        Message.objects.filter(text="I like tea").delete()
        return answer

    with answering_with(ScriptedModel(deleting)):
        assert reflect_due() == 0
    assert not Fact.objects.exists()
    let_lease_end()
    assert reflect_due() == 1
    assert (looks(), Fact.objects.count()) == ([(1, 0, 0)], 0)


def test_a_conversation_whose_messages_are_all_gone_is_ended(say: Any, learner: LearningModel) -> None:
    say_all(say, 8)
    Message.objects.all().delete()
    assert reflect_due() == 1
    assert looks() == [(1, 0, 0)]


def test_what_is_learnt_of_somebody_who_was_merged_meanwhile_is_the_others(
    say: Any, learner: LearningModel, monkeypatch: Any
) -> None:
    monkeypatch.setattr("agents.people.merging.LATE_PAUSE_SECONDS", 0.0)
    say_all(say, 8, "I like tea")
    other = Person.objects.create(name="Ann B.")
    ann = Person.objects.get(name="Ann")

    def merging(request: Any) -> Any:
        if ann.pk != Person.objects.get(pk=ann.pk).merged_into_id and not ann.name.endswith("!"):
            ann.name = "Ann!"
            merge(ann.pk, other.pk, by="ada", why="the same")
        return learner(request)

    with answering_with(ScriptedModel(merging)):
        assert reflect_due() == 1
    assert places() == [("person", "Ann B.", "Ann B.")]
    assert not Relationship.objects.filter(user_a=ann).exists()


# What the prompt is told ---------------------------------------------------------------------------------


def test_the_summary_and_the_nearness_stand_in_the_next_prompt(
    say: Any, learner: LearningModel, settings: Any
) -> None:
    settings.RECENT_MESSAGES = 4
    say_all(say, 8, "my friend")
    reflect_due()
    answering = ScriptedModel("Yes.")
    with answering_with(answering):
        say("what did we speak of?")
    system = answering.requests[-1].messages[0].content
    assert '- "16 messages."' in system
    assert "- You and Ann know each other a little (0.15)." in system
    assert '- "friend" of Eliza (0.10)' in system
    assert len(answering.requests[-1].messages) == 6, "the last four, the system's and the person's"
    shown = Turn.objects.order_by("-sequence").first()
    assert shown is not None


def test_what_was_learnt_of_people_in_one_room_is_not_told_in_another(
    say: Any, learner: LearningModel
) -> None:
    say_all(say, 8, "my friend", room="hall", room_type="GROUP", is_addressed=True)
    reflect_due()
    answering = ScriptedModel("Yes.")
    with answering_with(answering):
        say("hello", room="dm-ann")
    system = answering.requests[-1].messages[0].content
    assert "You and Ann know each other" in system
    assert "friend" not in system
    assert "What was said here before" not in system


def test_after_a_pause_the_last_episode_is_still_known(say: Any, learner: LearningModel) -> None:
    say_all(say, 3)
    let_pause()
    reflect_due()
    conversation = Conversation.objects.get()
    assert (conversation.earlier, conversation.summary) == ("6 messages.", "")
    answering = ScriptedModel("Yes.")
    with answering_with(answering):
        say("are you there?")
    assert '- "6 messages."' in answering.requests[-1].messages[0].content


def test_an_episode_ends_after_so_many_messages_without_a_pause(
    say: Any, learner: LearningModel, settings: Any
) -> None:
    settings.EPISODE_MESSAGES = 16
    for _look in range(5):
        say_all(say, 8)
        reflect_due()
    assert list(Episode.objects.order_by("began_at").values_list("message_count", flat=True)) == [16, 16]
    assert Conversation.objects.get().episode_count == 8


def test_a_conversation_without_a_summary_leaves_no_episode(say: Any, learner: LearningModel) -> None:
    learner.before[SUMMARY] = "{}"
    say_all(say, 3)
    let_pause()
    reflect_due()
    assert not Episode.objects.exists()
    assert Conversation.objects.get().episode_first is None


# What it costs -------------------------------------------------------------------------------------------


def test_a_look_costs_at_most_twenty_statements(say: Any, learner: LearningModel) -> None:
    say_all(say, 8)
    reflect_due()
    say_all(say, 7)
    say("I like tea, my friend")
    with CaptureQueriesContext(database) as captured:
        reflection.reflect(Conversation.objects.get().pk)
    made = [
        query["sql"]
        for query in captured
        if not query["sql"].startswith(("SAVEPOINT", "RELEASE SAVEPOINT", "SET CONSTRAINTS"))
    ]
    assert Fact.objects.count() == 1
    assert len(made) <= 20, "\n".join(made)


@pytest.mark.django_db(transaction=True)
def test_no_connection_is_held_while_the_model_answers(
    incoming: Any, hashed_vectors: None, monkeypatch: Any
) -> None:
    """Evaluators on their own threads, as in a worker; each question is asked outside of any transaction."""
    model = LearningModel((TEA,))
    held: list[bool] = []

    def answer(request: Any) -> Any:
        held.append(database.connection is not None or database.in_atomic_block)
        return model(request)

    with answering_with(ScriptedModel(answer)):
        for number in range(8):
            work.drain_lane(receive(incoming(f"I like tea {number}")).lane_id)
        held.clear()
        assert reflect_due() == 1
    assert held == [False, False]
    assert Fact.objects.get().memory.text == "Ann likes tea."
    assert keeper._keeper.watched() == []
