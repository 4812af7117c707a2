"""The last step: ends the turn. What is said, remembered and traced is written in one transaction with it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from uuid import UUID

from django.db import transaction

from agents import lanes, outbox, turns
from agents.crashpoints import reach
from agents.models import Turn
from agents.outbox import Reply
from agents.scene import Scene, destination_of, message_draft
from agents.trace import Trace
from agents.wakeups import wake_after_commit
from memory.conversations import hear
from memory.memories import MemoryDraft
from memory.writes import wake_embedding


def end_turn(
    scene: Scene,
    replies: Sequence[Reply],
    trace: Trace,
    *,
    embedding: Sequence[float] | None,
    embedding_model: str,
) -> bool:
    """End the turn with these replies, release its lane, and tell whether the lane is done.

    Raises: Fenced where the lease was lost; nothing is written then.
    """
    turn = scene.turn
    with trace.step("reply", replies=len(replies)) as step:
        step.output = {"characters": [len(reply.text) for reply in replies]}
    with trace.saving():
        turns.end(
            turn,
            state=Turn.State.DONE,
            outcome=Turn.Outcome.REPLIED if replies else Turn.Outcome.SILENT,
            evaluation=(
                Turn.Evaluation.DUE if scene.agent.components.turn_evaluators else Turn.Evaluation.NONE
            ),
            character_version_id=scene.agent.character_version_id,
        )
        message_ids = outbox.put(destination_of(turn), replies)
        hear(_drafts(scene, replies, message_ids, embedding, embedding_model), from_people=[turn.message_id])
        if scene.agent.components.turn_evaluators:
            wake_after_commit("agents.evaluate_turn", lane_id=str(turn.lease.lane_id))
        is_released = lanes.release_if_empty(turn.lease)
        transaction.on_commit(wake_embedding)
        reach("turn.before_commit")
    reach("turn.after_commit")
    return is_released


def _drafts(
    scene: Scene,
    replies: Sequence[Reply],
    message_ids: Sequence[UUID],
    embedding: Sequence[float] | None,
    embedding_model: str,
) -> list[MemoryDraft]:
    """Make a memory of the message, with the vector that recall made, and of each reply, which gets its own.

    Where messages were collected, recall's vector is of all of them, and this one gets its own too.
    """
    heard = message_draft(scene.turn)
    if embedding is not None and not scene.collected_ids:
        heard = replace(heard, embedding=embedding, embedding_model=embedding_model)
    said = [
        replace(
            heard,
            text=reply.text,
            speaker=scene.agent.view.name,
            said_at=scene.now,
            source_key=f"message:{message_id}",
            source_messages=(message_id,),
            embedding=None,
            embedding_model="",
        )
        for message_id, reply in zip(message_ids, replies, strict=True)
        if reply.text.strip()
    ]
    return [heard, *said] if heard.text.strip() else said
