"""The step after the reply: each evaluator looks at the ended turn; what it learnt is applied together."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import structlog

from agents import effects, metrics
from agents.keeper import Watch
from agents.lanes import ClaimedTurn
from agents.models import Step, Turn
from agents.scene import Scene, read_scene
from agents.trace import Trace
from plugins.api import Context, EvaluationResult, Evaluator
from plugins.permissions import check_effects
from plugins.registry import Registered
from plugins.time_limits import call_within

log = structlog.get_logger(__name__)


def evaluate(turn: ClaimedTurn, trace: Trace, watch: Watch) -> list[Callable[[], object]]:
    """Ask each evaluator, and return what is to be applied in the transaction that ends the evaluation.

    Raises: Fenced where the evaluation's lease was lost meanwhile.
    """
    scene = read_scene(turn)
    is_answered = turn.outcome == Turn.Outcome.REPLIED
    to_apply: list[Callable[[], object]] = []
    for registered in scene.agent.components.evaluators:
        evaluator = registered.component
        if not is_answered and not evaluator.always_run:
            continue
        watch.require_held()
        result = _ask(registered, scene, trace)
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


def _ask(registered: Registered[Evaluator], scene: Scene, trace: Trace) -> EvaluationResult | None:
    evaluator = registered.component
    context = scene.context(registered.plugin)
    with trace.step(f"evaluate:{evaluator.name}"[:60]) as step:
        try:
            with metrics.counted(registered.plugin, evaluator.name):
                result = call_within(evaluator.time_limit_seconds, _evaluated, evaluator, context)
                check_effects(registered.plugin, result.effects)
        except Exception as error:  # a plugin may raise anything, and costs its own part only
            log.warning("evaluator_failed", evaluator=evaluator.name, exc_info=True)
            step.state = Step.State.FAILED
            step.error = f"{type(error).__name__}: {error}"
            return None
        step.output = {"note": result.note, "effects": [type(effect).__name__ for effect in result.effects]}
        return result


def _evaluated(evaluator: Evaluator, context: Context) -> EvaluationResult:
    return evaluator.evaluate(context) if evaluator.validate(context) else EvaluationResult()
