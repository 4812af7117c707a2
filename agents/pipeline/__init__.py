"""The way of one turn, from a stored message to a reply in the outbox.

`take_turn` is the whole order; each step is a module here, and its name is the name in the trace, in metrics
and in logs. `agents.work` calls it.
"""

from __future__ import annotations

from dataclasses import replace

from agents.approvals import Parked
from agents.keeper import Watch
from agents.lanes import ClaimedTurn
from agents.outbox import Reply
from agents.pipeline import act, generate, providers, recall, reply, respond, store
from agents.pipeline.generate import Stopped
from agents.streams import StreamEvent, TurnStream
from agents.trace import Trace

__all__ = ["Parked", "Stopped", "take_turn"]


def take_turn(turn: ClaimedTurn, trace: Trace, stream: TurnStream, watch: Watch) -> bool:
    """Work the turn to its end and tell whether its lane has nothing more.

    Raises: ModelError, Parked, Stopped, Fenced; the turn is then still open.
    """
    scene = store.open_scene(turn, trace)
    known = recall.recall_memories(scene, trace)
    scene = replace(scene, state=replace(scene.state, known=known.memories))
    gathered = providers.gather(scene, trace)
    replies: tuple[Reply, ...] = ()
    if respond.should_respond(scene, trace):
        answer = generate.answer_message(scene, gathered.texts, trace, stream, watch.is_cancelled)
        replies = act.take_actions(scene, answer, trace, stream)
    is_released = reply.end_turn(
        scene, replies, trace, embedding=known.embedding, embedding_model=known.embedding_model
    )
    if not replies:
        stream.put(StreamEvent.DONE, {"state": "silent"})
    return is_released
