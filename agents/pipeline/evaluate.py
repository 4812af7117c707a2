"""The step after the reply: evaluators look at an ended turn, or at a conversation.

What they learnt is applied together by `agents.learning.evaluation` and `agents.learning.reflection`, which call it.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import structlog

from agents import effects, metrics
from agents.lanes import ClaimedTurn, Fenced
from agents.llm.base import ModelError
from agents.models import Step, Turn
from agents.processes.keeper import Stopped, Watch
from agents.questions import AskedModel, EvaluatorServices, Guard
from agents.scene import Scene, read_scene
from agents.trace import Trace
from plugins.api import Context, Conversation, Effect, EvaluationResult, Evaluator
from plugins.permissions import check_effects
from plugins.registry import Registered
from plugins.time_limits import call_within, while_wanted

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Learnt:
    """What one evaluator wants changed."""

    plugin: str
    evaluator: str
    effects: tuple[Effect, ...]


def evaluate(turn: ClaimedTurn, trace: Trace, watch: Watch, guard: Guard) -> list[Callable[[], object]]:
    """Ask each evaluator of turns, and return what is to be applied in the transaction that ends the evaluation.

    Raises: Fenced where the evaluation's lease was lost meanwhile; Stopped where the process is to end.
    """
    scene = read_scene(turn)
    is_answered = turn.outcome == Turn.Outcome.REPLIED
    to_apply: list[Callable[[], object]] = []
    for registered in scene.agent.components.turn_evaluators:
        evaluator = registered.component
        if not is_answered and not evaluator.always_run:
            continue
        watch.require_held()
        try:
            result = _ask(registered, scene, trace, watch, guard, key=evaluator.name)
        except ModelError as error:
            # A turn's evaluation waits for no model: what an evaluator could not ask, it has not learnt.
            log.info("evaluator_without_model", evaluator=evaluator.name, error=error)
            continue
        if result is not None and result.effects:
            to_apply.append(
                partial(
                    effects.apply_effects,
                    result.effects,
                    plugin=registered.plugin,
                    agent_id=turn.agent_id,
                    room_id=turn.room_id,
                    person_id=turn.person_id,
                    message_id=turn.message_id,
                    cause_id=f"{turn.id}:{evaluator.name}",
                )
            )
    return to_apply


def evaluate_conversation(
    scene: Scene, conversation: Conversation, trace: Trace, watch: Watch, guard: Guard, *, number: int
) -> Sequence[Learnt]:
    """Ask each evaluator of conversations, and return what they learnt. `number` is the look's own.

    Raises: ModelError where a model could not be asked: the look is to be put off; Fenced; Stopped.
    """
    learnt: list[Learnt] = []
    for registered in scene.agent.components.conversation_evaluators:
        watch.require_held()
        name = registered.component.name
        result = _ask(
            registered, scene, trace, watch, guard, key=f"{name}:{number}", conversation=conversation
        )
        if result is not None and result.effects:
            learnt.append(Learnt(plugin=registered.plugin, evaluator=name, effects=result.effects))
    return learnt


def _ask(
    registered: Registered[Evaluator],
    scene: Scene,
    trace: Trace,
    watch: Watch,
    guard: Guard,
    *,
    key: str,
    conversation: Conversation | None = None,
) -> EvaluationResult | None:
    evaluator = registered.component
    model = AskedModel(
        plugin=registered.plugin,
        key=key,
        scene=scene,
        trace=trace,
        watch=watch,
        guard=guard,
        time_limit_seconds=evaluator.time_limit_seconds,
    )
    services = EvaluatorServices(model)
    context = scene.context(registered.plugin, services=services, conversation=conversation)
    with trace.step(f"evaluate:{key}"[:60]) as step:
        try:
            with metrics.counted(registered.plugin, evaluator.name), while_wanted(watch.go_on):
                result = call_within(evaluator.time_limit_seconds, _evaluated, evaluator, context)
                check_effects(registered.plugin, result.effects)
        except (Stopped, Fenced, ModelError):
            raise
        except Exception as error:  # a plugin may raise anything, and costs its own part only
            log.warning("evaluator_failed", evaluator=evaluator.name, exc_info=True)
            step.state = Step.State.FAILED
            step.error = f"{type(error).__name__}: {error}"
            return None
        finally:
            model.end()
        step.output = {"note": result.note, "effects": [type(effect).__name__ for effect in result.effects]}
        return result


def _evaluated(evaluator: Evaluator, context: Context) -> EvaluationResult:
    return evaluator.evaluate(context) if evaluator.validate(context) else EvaluationResult()
