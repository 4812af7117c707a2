"""The third step: asks each provider what it knows. One that raises or hangs costs its own part only."""

from __future__ import annotations

from dataclasses import dataclass, field

import structlog

from agents import metrics
from agents.models import Step
from agents.processes.keeper import Stopped
from agents.scene import Scene
from agents.trace import Trace
from plugins.api import Provided, Provider
from plugins.registry import Registered
from plugins.time_limits import call_within

log = structlog.get_logger(__name__)


@dataclass(frozen=True, kw_only=True)
class Gathered:
    """What the providers said, in the order of their positions."""

    texts: tuple[tuple[str, str], ...] = ()
    values: dict[str, str] = field(default_factory=dict)


def gather(scene: Scene, trace: Trace) -> Gathered:
    """Ask every provider that is not dynamic; where the answer is recorded already, none is needed."""
    if trace.has_answer:
        return Gathered()
    texts: list[tuple[str, str]] = []
    values: dict[str, str] = {}
    failures: dict[str, str] = {}
    with trace.step("providers") as step:
        for registered in scene.agent.components.providers:
            provider = registered.component
            if provider.dynamic:
                continue
            try:
                provided = _ask(registered, scene)
            except Stopped:
                raise
            except Exception as error:  # a plugin may raise anything, and costs its own part only
                log.warning("provider_failed", provider=provider.name, turn=str(scene.turn.id), exc_info=True)
                failures[provider.name] = f"{type(error).__name__}: {error}"
                continue
            values.update(provided.values)
            if provided.text.strip():
                texts.append((provider.name, provided.text.strip()))
        step.output = {"characters": {name: len(text) for name, text in texts}}
        if failures:
            step.output = {**step.output, "failures": failures}
            step.state = Step.State.FAILED
            step.error = "; ".join(f"{name}: {reason}" for name, reason in failures.items())
    return Gathered(texts=tuple(texts), values=values)


def _ask(registered: Registered[Provider], scene: Scene) -> Provided:
    provider = registered.component
    context = scene.context(registered.plugin)
    with metrics.counted(registered.plugin, provider.name):
        if provider.cheap:
            provided = provider.get(context)
        else:
            provided = call_within(provider.time_limit_seconds, provider.get, context)
    return Provided(text=provided) if isinstance(provided, str) else provided
