"""The way of one turn, from a stored message to a reply in the outbox.

`take_turn` is the whole order; each step is a module here, and its name is the name in the trace, in metrics
and in logs. `agents.work` calls it.
"""

from __future__ import annotations

from dataclasses import replace

from agents.approvals import Parked
from agents.lanes import ClaimedTurn
from agents.outbox import Reply
from agents.pipeline import act, generate, providers, recall, reply, respond, store
from agents.processes.keeper import Stopped, Watch
from agents.streams import StreamEvent, TurnStream
from agents.trace import Trace

__all__ = ["Parked", "Stopped", "take_turn"]


def take_turn(turn: ClaimedTurn, trace: Trace, stream: TurnStream, watch: Watch) -> bool:
    """Work the turn to its end and tell whether its lane has nothing more.

    Between steps it looks whether the turn is still wanted.
    Raises: ModelError, Parked, Stopped, Fenced; the turn is then still open.
    """
    watch.go_on()
    scene = store.open_scene(turn, trace)
    watch.go_on()
    known = recall.recall_memories(scene, trace)
    scene = replace(scene, state=replace(scene.state, known=known.memories))
    watch.go_on()
    gathered = providers.gather(scene, trace)
    replies: tuple[Reply, ...] = ()
    watch.go_on()
    if respond.should_respond(scene, trace, watch.is_cancelled):
        answer = generate.answer_message(scene, gathered.texts, trace, stream, watch.is_cancelled)
        replies = act.take_actions(scene, answer, trace, stream, watch)
    watch.go_on()
    is_released = reply.end_turn(
        scene, replies, trace, embedding=known.embedding, embedding_model=known.embedding_model
    )
    if not replies:
        stream.put(StreamEvent.DONE, {"state": "silent"})
    return is_released
