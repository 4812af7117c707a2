"""The service `model`: who may ask, how often and how long, and that nothing is asked twice."""

from __future__ import annotations

from typing import Any

import pytest

from agents import lanes, work
from agents.inbox import receive
from agents.llm.base import ModelError
from agents.llm.router import answering_with
from agents.llm.scripted import ScriptedModel, ToolCall
from agents.models import ModelCall, Step, Turn
from agents.processes.keeper import Stopped, Watch
from agents.prompts import count_tokens
from agents.questions import MOST_QUESTIONS, AskedModel, EvaluatorServices, TooManyQuestions, prompt_of
from agents.scene import read_scene
from agents.trace import open_trace
from plugins.api import Question
from plugins.permissions import PermissionDenied
from plugins.registry import UnknownService, get_service

SCHEMA = {"type": "object", "properties": {"mood": {"type": "string"}}, "required": ["mood"]}
MOOD = Question(purpose="mood", instruction="How do they feel?", text='1. Ann: "Fine."', schema=SCHEMA)


@pytest.fixture
def make_model(incoming: Any) -> Any:
    """The model as an evaluator of a turn's asks it; `guard` stands for who holds the evaluation."""
    with answering_with(ScriptedModel("Hello.")):
        receipt = receive(incoming("I am fine."))
        claimed = lanes.claim(receipt.lane_id)
    assert claimed is not None
    turn = claimed[1]
    assert turn is not None

    def make(guard: Any = lambda: None, *, plugin: str = "reflection", seconds: float = 60.0) -> AskedModel:
        return AskedModel(
            plugin=plugin,
            key="MOOD",
            scene=read_scene(turn),
            trace=open_trace(turn.id, is_second_attempt=True),
            watch=Watch(turn),
            guard=guard,
            time_limit_seconds=seconds,
        )

    return make


@pytest.mark.parametrize(
    ("answer", "path"),
    [
        (ToolCall('{"mood": "good"}'), "tool"),
        ('{"mood": "good"}', "json"),
        ("<response><mood>good</mood></response>", "xml"),
    ],
)
def test_an_answer_is_recorded_with_its_path_and_not_asked_for_again(
    make_model: Any, answer: Any, path: str
) -> None:
    with answering_with(ScriptedModel(answer)) as scripted:
        first = make_model().ask(Question(**{**vars(MOOD), "kept": {"messages": ["a"]}}))
        second = make_model().ask(Question(**{**vars(MOOD), "kept": {"messages": ["b"]}}))
    assert len(scripted.requests) == 1  # type: ignore[attr-defined]
    assert (first.value, first.path, first.kept) == ({"mood": "good"}, path, {"messages": ["a"]})
    assert second == first, "and its numbers still mean what they meant"
    call = ModelCall.objects.get()
    assert (call.purpose, call.parse_path) == ("mood", path)
    assert Step.objects.get(name="ask:MOOD:1").state == "done"


def test_the_small_model_is_asked_coolly_for_the_schema(make_model: Any) -> None:
    with answering_with(ScriptedModel("{}")) as scripted:
        make_model().ask(MOOD)
    request = scripted.requests[0]  # type: ignore[attr-defined]
    assert (request.json_schema, request.tool, request.temperature) == (SCHEMA, "answer", 0.1)
    assert request.messages[0].content.endswith('{"mood": "…"}')
    assert request.messages[1].content == MOOD.text


def test_no_more_than_a_few_questions_are_asked(make_model: Any) -> None:
    with answering_with(ScriptedModel('{"mood": "good"}')) as scripted:
        model = make_model()
        for _question in range(MOST_QUESTIONS):
            model.ask(MOOD)
        with pytest.raises(TooManyQuestions, match="more than 4"):
            model.ask(MOOD)
    assert len(scripted.requests) == MOST_QUESTIONS  # type: ignore[attr-defined]


def test_who_was_not_granted_it_may_not_ask(make_model: Any) -> None:
    services = EvaluatorServices(make_model(plugin="clock"))
    with pytest.raises(PermissionDenied, match=r"'clock' may not ask a model.*model\.call"):
        services.get_service("model")
    granted = EvaluatorServices(make_model(plugin="reflection"))
    assert isinstance(granted.get_service("model"), AskedModel)
    with pytest.raises(UnknownService, match="nothing"):
        granted.get_service("nothing")


def test_outside_of_an_evaluation_there_is_no_model_to_ask() -> None:
    with pytest.raises(UnknownService, match="'model'"):
        get_service("model")


def test_a_model_that_is_slow_ends_before_its_evaluators_time(make_model: Any) -> None:
    with (
        answering_with(ScriptedModel("one two three four five six", token_seconds=0.1)),
        pytest.raises(ModelError, match="did not finish"),
    ):
        make_model(seconds=2.2).ask(MOOD)


def test_who_asks_on_after_its_time_is_not_heard(make_model: Any) -> None:
    with answering_with(ScriptedModel('{"mood": "good"}')):
        model = make_model()
        model.end()
        with pytest.raises(Stopped):
            model.ask(MOOD)
    assert not ModelCall.objects.exists()


def test_an_answer_is_not_recorded_by_who_does_not_hold_the_evaluation(make_model: Any) -> None:
    def lost() -> None:
        raise lanes.Fenced("gone")

    with answering_with(ScriptedModel('{"mood": "good"}')), pytest.raises(lanes.Fenced):
        make_model(lost).ask(MOOD)
    assert not ModelCall.objects.exists()
    assert not Step.objects.filter(name__startswith="ask:").exists()


def test_a_prompt_stays_within_its_budget(settings: Any) -> None:
    settings.PROMPT_MAX_TOKENS = 400
    prompt = prompt_of(Question(**{**vars(MOOD), "text": "word " * 5000}))
    assert sum(count_tokens(line.content) for line in prompt) <= 400
    assert prompt[1].content.startswith("word word")


def test_an_evaluator_of_turns_asks_too_and_a_model_that_is_away_costs_its_part(
    incoming: Any, monkeypatch: Any
) -> None:
    from agents import facts
    from agents.learning import evaluation
    from agents.llm.base import ModelFailure
    from plugins.api import Context, EvaluationResult, Evaluator, Remember
    from plugins.registry import Components, Registered, components_for

    def learn(context: Context) -> EvaluationResult:
        answer = context.services.get_service("model").ask(MOOD)
        assert answer.value is not None
        return EvaluationResult(effects=(Remember(text=f"Ann feels {answer.value['mood']}."),))

    one = Registered(plugin="reflection", component=Evaluator(name="MOOD", evaluate=learn))
    built_in = components_for(())
    components = Components(actions=built_in.actions, providers=built_in.providers, evaluators=(one,))
    monkeypatch.setattr(facts, "components_for", lambda names: components)
    monkeypatch.setattr(
        "agents.pipeline.evaluate.call_within", lambda _seconds, function, *given: function(*given)
    )
    facts.agent_facts.cache_clear()
    away = ModelError("away", failure=ModelFailure.UNREACHABLE)
    script = ScriptedModel(["Hello.", "Hello.", '{"mood": "good"}', away])
    with answering_with(script):
        for text in ("one", "two"):
            receipt = receive(incoming(text))
        work.drain_lane(receipt.lane_id)
        assert evaluation.evaluate_lane(receipt.lane_id) == 2
    facts.agent_facts.cache_clear()
    assert set(Turn.objects.values_list("evaluation", flat=True)) == {"done"}
    assert list(ModelCall.objects.filter(purpose="mood").values_list("error", flat=True).order_by("pk")) == [
        "",
        "unreachable: away",
    ]
    assert sorted(Step.objects.filter(name="evaluate:MOOD").values_list("state", flat=True)) == [
        "done",
        "failed",
    ]
