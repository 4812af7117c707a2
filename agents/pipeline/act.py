"""The sixth step: takes the actions that the answer names, in their order.

Plain answers (REPLY, IGNORE, NONE) change nothing outside the turn, so their rows ride along with its end.
Before anything else is done the answer is saved; then each action is saved together with its effects, so
that an action that finished is never done twice. One that works outward is marked before it starts: if the
worker dies in it, it is done again only where it is declared idempotent.
"""

from __future__ import annotations

from collections.abc import Sequence

import structlog
from django.db import transaction

from agents import effects, lanes, metrics
from agents.crashpoints import reach
from agents.models import Step
from agents.offers import PLAIN_ACTIONS, is_allowed
from agents.outbox import Reply
from agents.replies import Answer
from agents.scene import Scene
from agents.streams import StreamEvent, TurnStream
from agents.trace import StepRecord, Trace
from plugins.api import Action, ActionResult, Attachment, Say
from plugins.permissions import check_effects
from plugins.registry import Registered
from plugins.time_limits import call_within

log = structlog.get_logger(__name__)


def take_actions(scene: Scene, answer: Answer, trace: Trace, stream: TurnStream) -> tuple[Reply, ...]:
    """Take each action and return what is to be said, in order."""
    chosen = [scene.agent.components.find_action(name) for name in answer.actions]
    is_plain = all(found is None or found.component.name in PLAIN_ACTIONS for found in chosen)
    if not is_plain:
        _save(scene, trace)
        reach("answer.saved")
    replies: list[Reply] = []
    results: list[ActionResult] = []
    for position, (name, found) in enumerate(zip(answer.actions, chosen, strict=True)):
        result = _take(scene, answer, trace, f"act:{position}:{name}"[:60], found, tuple(results), is_plain)
        results.append(result)
        replies += [
            Reply(text=effect.text, attachments=effect.attachments)
            for effect in result.effects
            if isinstance(effect, Say) and (effect.text.strip() or effect.attachments)
        ]
        if found is not None and found.component.name not in PLAIN_ACTIONS:
            stream.put(
                StreamEvent.ACTION,
                {
                    "name": found.component.name,
                    "success": result.success,
                    "text": result.text or result.error,
                },
            )
    return tuple(replies)


def _take(
    scene: Scene,
    answer: Answer,
    trace: Trace,
    step_name: str,
    found: Registered[Action] | None,
    previous: tuple[ActionResult, ...],
    is_plain: bool,
) -> ActionResult:
    earlier = trace.finished.get(step_name)
    if earlier is not None and earlier.state in {Step.State.DONE, Step.State.UNCERTAIN}:
        return _result_from(earlier)
    with trace.step(step_name) as step:
        if earlier is not None and not (found and found.component.idempotent):
            step.state = Step.State.UNCERTAIN
            step.error = "A worker died while this action ran; it may have been done. A person must decide."
            return _kept(step, ActionResult(success=False, error=step.error))
        if found is None:
            return _kept(step, ActionResult(success=False, error=f"There is no action {step_name!r}."))
        if found.component.name not in PLAIN_ACTIONS and not is_allowed(found, scene):
            return _kept(step, ActionResult(success=False, error="This action is not allowed here."))
        arguments = dict(answer.arguments.get(found.component.name, {}))
        if found.component.name in PLAIN_ACTIONS:
            arguments["text"] = answer.text
        step.input = {"arguments": arguments}
        if found.component.works_outward:
            step.state = Step.State.STARTED
            _save(scene, trace, started=step)
            reach("action.started")
            step.state = Step.State.DONE
        result = _execute(scene, found, arguments, previous, step)
        _kept(step, result)
    if not is_plain:
        reach("action.done")
        with transaction.atomic():
            lanes.guard(scene.turn.lease)
            effects.apply_effects(
                result.effects,
                plugin=found.plugin,
                agent_id=scene.turn.agent_id,
                room_id=scene.turn.room_id,
                person_id=scene.turn.person_id,
                message_id=scene.turn.message_id,
                cause_id=f"{scene.turn.id}:{step_name}",
                is_in_turn=True,
            )
            trace.save()
        reach("action.saved")
    return result


def _execute(
    scene: Scene,
    found: Registered[Action],
    arguments: dict[str, object],
    previous: tuple[ActionResult, ...],
    step: StepRecord,
) -> ActionResult:
    action = found.component
    context = scene.context(found.plugin, arguments=arguments, previous_results=previous)
    try:
        with metrics.counted(found.plugin, action.name):
            if action.name in PLAIN_ACTIONS:
                result = action.execute(context)
            else:
                result = call_within(action.time_limit_seconds, action.execute, context)
            check_effects(found.plugin, result.effects)
    except Exception as error:  # a plugin may raise anything, and costs its own part only
        log.warning("action_failed", action=action.name, turn=str(scene.turn.id), exc_info=True)
        step.state = Step.State.FAILED
        step.error = f"{type(error).__name__}: {error}"
        return ActionResult(success=False, error=step.error)
    return result


def _save(scene: Scene, trace: Trace, *, started: StepRecord | None = None) -> None:
    with transaction.atomic():
        lanes.guard(scene.turn.lease)
        trace.save(also=started)


def _kept(step: StepRecord, result: ActionResult) -> ActionResult:
    step.output = {
        "success": result.success,
        "text": result.text,
        "error": result.error,
        "values": dict(result.values),
        "says": [
            {"text": effect.text, "attachments": [vars(attachment) for attachment in effect.attachments]}
            for effect in result.effects
            if isinstance(effect, Say)
        ],
    }
    return result


def _result_from(step: StepRecord) -> ActionResult:
    output = step.output
    says: Sequence[dict[str, object]] = output.get("says", [])
    return ActionResult(
        success=bool(output.get("success")),
        text=str(output.get("text", "")),
        error=str(output.get("error", "")),
        values=output.get("values", {}),
        effects=tuple(
            Say(
                text=str(said["text"]),
                attachments=tuple(Attachment(**attachment) for attachment in said["attachments"]),  # type: ignore[attr-defined]
            )
            for said in says
        ),
    )
