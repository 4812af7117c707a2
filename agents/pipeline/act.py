"""The sixth step: takes the actions that the answer names, in their order.

Plain answers (REPLY, IGNORE, NONE) change nothing outside the turn, so their rows ride along with its end.
Before anything else is done the answer is saved; then each action is saved together with its effects, so
that an action that finished is never done twice. One that works outward is marked before it starts: if the
worker dies in it, it is done again only where it is declared idempotent, and a person is asked elsewhere.
A dangerous one is never done before a person was asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import structlog
from django.db import DataError, IntegrityError

from agents import approvals, effects, lanes, metrics
from agents.approvals import Decision, Parked, Question
from agents.crashpoints import reach
from agents.models import Approval, Step
from agents.offers import PLAIN_ACTIONS, is_allowed
from agents.outbox import Reply
from agents.processes import keeper
from agents.processes.keeper import Stopped, Watch
from agents.replies import Answer
from agents.scene import Scene
from agents.streams import StreamEvent, TurnStream
from agents.trace import StepRecord, Trace
from plugins.api import Action, ActionResult, Attachment, Say
from plugins.permissions import check_effects
from plugins.registry import Registered
from plugins.time_limits import TimeLimitExceeded, call_within

log = structlog.get_logger(__name__)

FINISHED = frozenset({Step.State.DONE, Step.State.FAILED})
ASKED = frozenset({Step.State.WAITING, Step.State.UNCERTAIN})
MAYBE_DONE = frozenset({Step.State.STARTED, Step.State.UNCERTAIN})
BROKEN_EFFECTS = (effects.CannotApply, ValueError, TypeError, DataError, IntegrityError)
"""What no second attempt would mend."""

REFUSED = "A person did not allow this action."
EXPIRED = "Nobody allowed this action in time."
WAS_DONE = "A person knows that this action was done."
NOTHING_SAID = "I was not allowed to do that."
"""What a person hears whose only wish was refused: they waited for it."""


@dataclass(frozen=True, kw_only=True)
class _Named:
    """An action as the answer names it, in its place."""

    name: str
    step_name: str
    found: Registered[Action] | None
    arguments: Mapping[str, Any]

    @property
    def is_plain(self) -> bool:
        return self.found is None or self.found.component.name in PLAIN_ACTIONS


def take_actions(
    scene: Scene, answer: Answer, trace: Trace, stream: TurnStream, watch: Watch
) -> tuple[Reply, ...]:
    """Take each action and return what is to be said, in order.

    Raises: Parked where one waits for a person, Stopped where the turn was ended meanwhile; those that are left
    are not taken.
    """
    chosen = [_named(scene, answer, position, name) for position, name in enumerate(answer.actions)]
    is_plain = all(named.is_plain for named in chosen)
    if not is_plain:
        with trace.saving():
            lanes.guard(scene.turn.lease)
        reach("answer.saved")
    replies: list[Reply] = []
    results: list[ActionResult] = []
    for named in chosen:
        watch.go_on()
        result = _take(scene, trace, watch, named, tuple(results), is_plain)
        results.append(result)
        replies += [
            Reply(text=effect.text, attachments=effect.attachments)
            for effect in result.effects
            if isinstance(effect, Say) and (effect.text.strip() or effect.attachments)
        ]
        if named.found is not None and not named.is_plain:
            text = result.text or result.error
            stream.put(
                StreamEvent.ACTION,
                {"name": named.found.component.name, "success": result.success, "text": text},
            )
    if not replies and any(result.error in {REFUSED, EXPIRED} for result in results):
        replies.append(Reply(text=NOTHING_SAID))
    return tuple(replies)


def _named(scene: Scene, answer: Answer, position: int, name: str) -> _Named:
    found = scene.agent.components.find_action(name)
    arguments: dict[str, Any] = {}
    if found is not None:
        given = answer.arguments.get(name) or answer.arguments.get(found.component.name) or {}
        arguments = dict(given)
        if found.component.name in PLAIN_ACTIONS:
            arguments["text"] = answer.text
    return _Named(name=name, step_name=f"act:{position}:{name}"[:60], found=found, arguments=arguments)


def _take(
    scene: Scene,
    trace: Trace,
    watch: Watch,
    named: _Named,
    previous: tuple[ActionResult, ...],
    rides_along: bool,
) -> ActionResult:
    earlier = trace.finished.get(named.step_name)
    if earlier is not None and earlier.state in FINISHED:
        return _result_from(earlier)
    if named.found is None:
        return _not_taken(trace, named, f"There is no action {named.name!r}.")
    if rides_along:
        with trace.step(named.step_name, arguments=named.arguments) as step:
            return _kept(step, _execute(scene, named.found, named.arguments, previous, step))
    decision = None
    if earlier is not None and earlier.state in ASKED:
        decision = approvals.find_decision(
            scene.turn.id, earlier.position, named.found.component.name, named.arguments
        )
        if decision is not None and (decision.state != Approval.State.GRANTED or not decision.is_same):
            return _settled(trace, named, decision)
    if decision is None:
        _ask_if_needed(scene, trace, named, named.found, earlier)
    if not named.is_plain and not is_allowed(named.found, scene):
        return _not_taken(trace, named, "This action is not allowed here.")
    return _run(scene, trace, watch, named, named.found, previous, decision)


def _ask_if_needed(
    scene: Scene, trace: Trace, named: _Named, found: Registered[Action], earlier: StepRecord | None
) -> None:
    """Raise Parked where nothing may be done before a person was asked."""
    action = found.component
    if earlier is not None and earlier.state in MAYBE_DONE:
        # An idempotent one that was cut short goes on; a dangerous one had its word before it started.
        if action.idempotent:
            return
        kind, state = Approval.Kind.UNCERTAIN, Step.State.UNCERTAIN
        why = "A worker died while this action ran; it may have been done. A person must decide."
    elif action.dangerous and is_allowed(found, scene):
        kind, state = Approval.Kind.DANGEROUS, Step.State.WAITING
        why = "This action is dangerous. A person must decide."
    else:
        return
    with trace.step(named.step_name, arguments=named.arguments) as step:
        step.state, step.error = state, why
    raise Parked(
        Question(
            position=step.position,
            step=named.step_name,
            plugin=found.plugin,
            action=action.name,
            kind=kind,
            arguments=named.arguments,
        )
    )


def _settled(trace: Trace, named: _Named, decision: Decision) -> ActionResult:
    """Record what was decided of an action that does not run."""
    because = f" {decision.decided_by}: {decision.reason}" if decision.reason else f" {decision.decided_by}"
    if decision.state == Approval.State.DONE:
        with trace.step(named.step_name, arguments=named.arguments) as step:
            step.error = f"{WAS_DONE}{because}".strip()
            return _kept(step, ActionResult(text=WAS_DONE))
    if decision.state == Approval.State.GRANTED:
        return _not_taken(trace, named, "This action was allowed with other arguments.")
    words = EXPIRED if decision.state == Approval.State.EXPIRED else REFUSED
    return _not_taken(trace, named, words, detail=because)


def _run(
    scene: Scene,
    trace: Trace,
    watch: Watch,
    named: _Named,
    found: Registered[Action],
    previous: tuple[ActionResult, ...],
    decision: Decision | None,
) -> ActionResult:
    """Run the action and save it with its effects; the word that it had is used up with its first trace."""

    def use_word() -> None:
        if decision is not None:
            approvals.use(decision, found.component.name, named.arguments)

    is_marked = found.component.works_outward
    try:
        with trace.step(named.step_name, arguments=named.arguments) as step:
            if is_marked:
                if not watch.may_go_outward():
                    raise Stopped("The turn was to end before this action began.")
                step.state = Step.State.STARTED
                with trace.saving(also=step):
                    lanes.guard(scene.turn.lease)
                    use_word()
                reach("action.started")
                step.state = Step.State.DONE
            keeper.require_held(scene.turn.lease)
            result = _kept(step, _execute(scene, found, named.arguments, previous, step))
        reach("action.done")
        try:
            with trace.saving():
                lanes.guard(scene.turn.lease)
                if not is_marked:
                    use_word()
                _apply(scene, found, named, result)
        except BROKEN_EFFECTS as error:
            log.warning("effects_refused", action=named.name, exc_info=True)
            step.state, step.error = Step.State.FAILED, f"{type(error).__name__}: {error}"
            result = _kept(step, ActionResult(success=False, error=step.error))
            with trace.saving():
                lanes.guard(scene.turn.lease)
                if not is_marked:
                    use_word()
    except Stopped:
        raise
    except Exception:
        # Whether the last commit was made is not known: what the database has of this step is the truth.
        trace.forget(named.step_name)
        raise
    reach("action.saved")
    return result


def _apply(scene: Scene, found: Registered[Action], named: _Named, result: ActionResult) -> None:
    effects.apply_effects(
        result.effects,
        plugin=found.plugin,
        agent_id=scene.turn.agent_id,
        room_id=scene.turn.room_id,
        person_id=scene.turn.person_id,
        message_id=scene.turn.message_id,
        cause_id=f"{scene.turn.id}:{named.step_name}",
        is_in_turn=True,
    )


def _execute(
    scene: Scene,
    found: Registered[Action],
    arguments: Mapping[str, Any],
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
    except Stopped:
        if action.works_outward:
            step.state = Step.State.UNCERTAIN
        raise
    except Exception as error:  # a plugin may raise anything, and costs its own part only
        log.warning("action_failed", action=action.name, turn=str(scene.turn.id), exc_info=True)
        step.state = Step.State.FAILED
        step.error = f"{type(error).__name__}: {error}"
        if action.works_outward and isinstance(error, TimeLimitExceeded):
            step.error += " It may have been done all the same."
        return ActionResult(success=False, error=step.error)
    return result


def _not_taken(trace: Trace, named: _Named, error: str, *, detail: str = "") -> ActionResult:
    """Record an action that does not run; `detail` is for the trace alone."""
    with trace.step(named.step_name, arguments=named.arguments) as step:
        step.state = Step.State.FAILED
        step.error = f"{error}{detail}".strip()
        return _kept(step, ActionResult(success=False, error=error))


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
