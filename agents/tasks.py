"""The Celery tasks of agents. Wake-ups only: losing one, or having two, changes nothing."""

from __future__ import annotations

from uuid import UUID

from celery import shared_task

from agents import forgetting, work
from agents.learning import evaluation, reflection


@shared_task(name="agents.drain_lane")
def drain_lane(*, lane_id: str) -> None:
    """Work a lane's turns."""
    work.drain_lane(UUID(lane_id))


@shared_task(name="agents.evaluate_turn")
def evaluate_turn(*, lane_id: str) -> None:
    """Let evaluators learn from the lane's ended turns, in their order."""
    evaluation.evaluate_lane(UUID(lane_id))


@shared_task(name="agents.reflect_conversation")
def reflect_conversation(*, conversation_id: str) -> None:
    """Let evaluators look at what was said in a conversation since the last look."""
    reflection.reflect(UUID(conversation_id))


@shared_task(name="agents.forget_person")
def forget_person(*, forgetting_id: str) -> None:
    """Go on with a forgetting that was begun."""
    forgetting.go_on(UUID(forgetting_id))
