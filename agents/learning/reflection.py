"""Reflects on conversations: lets evaluators look at what was said in a room since the last look.

A look belongs to whoever holds its token; what it brought is applied with its end, in one transaction, and so
is learnt once. `agents.reflect_conversation` and the dispatcher call it. The cadence is `memory.conversations`.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from uuid import UUID

import structlog
from django.conf import settings
from django.db import transaction

from agents.crashpoints import reach
from agents.databases import release_connection
from agents.facts import agent_facts
from agents.lanes import Claim, ClaimedTurn, Fenced, Kept, kept_of
from agents.learning import applying
from agents.learning.applying import Learning
from agents.learning.heard import Seen, read_seen, read_turn
from agents.llm.base import ModelError, ModelFailure
from agents.pipeline.evaluate import Learnt, evaluate_conversation
from agents.processes import keeper, shutdown
from agents.processes.keeper import Stopped
from agents.scene import Scene, scene_of
from agents.trace import Trace, open_trace
from memory import conversations
from memory.conversations import Look
from memory.episodes import is_closing
from memory.facts import find_known_facts
from memory.goals import find_active_goals
from memory.writes import wake_embedding
from plugins.api import Conversation, GoalView, KnownFact

log = structlog.get_logger(__name__)

MAX_ATTEMPTS = 5
DELAYS_SECONDS = (30.0, 120.0, 600.0, 3600.0)
"""Waits before the second, third, … attempt; the last one for all that follow."""
SHOWN_FACTS = 12
NOT_ITS_FAULT = frozenset({ModelFailure.UNREACHABLE, ModelFailure.RATE_LIMITED})
"""A model that is away, or busy, says nothing about what it was asked: such an attempt is not counted."""


class ReflectionWatch(keeper.Watch):
    """What the keeper knows of a look; nobody stops one."""

    hears_stop = False

    def __init__(self, look: Look, turn: ClaimedTurn) -> None:
        super().__init__(turn)
        self._claim = (look.conversation_id, look.token)
        self.began_at = self.renewed_at = look.taken_at
        # What a person asked of the turn was heard while it was worked.
        self.is_stopped = self.is_interrupted = False

    @property
    def claim(self) -> Claim:
        """What is held: the conversation and the look's token."""
        return self._claim

    @classmethod
    def lease_seconds(cls) -> float:
        """Return how long a look is held unless it is renewed."""
        return float(settings.EVALUATION_LEASE_SECONDS)

    @classmethod
    def keep(cls, claims: Sequence[Claim]) -> Kept:
        """Renew the leases of looks."""
        return kept_of(conversations.keep_looks(claims, lease_seconds=cls.lease_seconds()))


def reflect(conversation_id: UUID) -> int:
    """Look at the conversation until no look is due, and return how many were ended."""
    count = 0
    while not shutdown.is_begun():
        look = conversations.claim_look(
            conversation_id, lease_seconds=float(settings.EVALUATION_LEASE_SECONDS)
        )
        if look is None:
            break
        reach("reflection.claimed")
        with structlog.contextvars.bound_contextvars(conversation=str(conversation_id)):
            is_due = _work(look)
        if is_due is None:
            break
        count += 1
        if not is_due:
            break
    return count


def _work(look: Look) -> bool | None:
    """Work the look, and tell whether another is due at once; None where this one has not ended."""
    turn = read_turn(look)
    if turn is None:
        # What was said was deleted meanwhile.
        return conversations.end_look(look, taken=len(look.messages), episode=look.episode)
    trace = open_trace(turn.id, is_second_attempt=True)
    try:
        with keeper.watch_over(turn, partial(ReflectionWatch, look)) as watch:
            return _look_held(look, turn, trace, watch)
    except Fenced as error:
        log.warning("reflection_fenced", error=error)
    except Stopped:
        log.info("reflection_given_back")
        conversations.postpone_look(look, delay_seconds=0.0, error="", is_counted=False)
    except ModelError as error:
        _postpone(look, turn, trace, error)
    return None


def _look_held(look: Look, turn: ClaimedTurn, trace: Trace, watch: keeper.Watch) -> bool:
    """Let evaluators look, write what they learnt under the look's token, and tell whether another look is due.

    Raises: Fenced where the lease was lost; ModelError where the look is to be put off; Stopped.
    """
    scene, seen, conversation = _open(look, turn)
    learnt: Sequence[Learnt] = ()
    error = ""
    if look.attempt > MAX_ATTEMPTS:
        error = f"{MAX_ATTEMPTS} attempts began and none ended; nothing was learnt from these messages."
        log.error("reflection_given_up", attempts=MAX_ATTEMPTS)
    else:
        guard = partial(_guard, look, turn)
        learnt = evaluate_conversation(scene, conversation, trace, watch, guard, number=look.number)
    effects = [(one.plugin, effect) for one in learnt for effect in one.effects]
    release_connection()
    vectors = applying.embed_facts([effect for _plugin, effect in effects])
    watch.require_held()
    whole = Learning(look=look, seen=seen, is_closing=conversation.is_closing, vectors=vectors)
    with trace.saving():
        is_due = applying.apply(whole, effects, error=error)
        transaction.on_commit(wake_embedding)
        reach("reflection.before_commit")
    reach("reflection.after_commit")
    log.info("reflected", messages=seen.taken, effects=len(effects), is_closing=conversation.is_closing)
    return is_due


def _open(look: Look, turn: ClaimedTurn) -> tuple[Scene, Seen, Conversation]:
    """Read what the look sees, and what is known that bears on it."""
    agent = agent_facts(turn.agent_id, turn.agent_revision, turn.character_version)
    seen = read_seen(look, turn, agent.view.name)
    facts = []
    if seen.messages:
        ids = [message.id for message in seen.messages]
        facts = find_known_facts(seen.place, ids, subject_ids=seen.person_ids, limit=SHOWN_FACTS)
    goals = _goals(turn, seen) if seen.messages else []
    conversation = Conversation(
        own_person=seen.own_person,
        messages=seen.messages,
        people=seen.people,
        facts=tuple(
            KnownFact(id=fact.id, text=fact.text, subject_id=fact.subject_id, attribute=fact.attribute)
            for fact in facts
        ),
        answered=seen.answered,
        earlier=look.episode.earlier,
        summary=look.episode.summary,
        outcome=look.episode.outcome,
        is_closing=is_closing(look, seen.heard, is_all=seen.taken == len(look.messages)),
    )
    return scene_of(turn, seen.messages, goals), seen, conversation


def _goals(turn: ClaimedTurn, seen: Seen) -> list[GoalView]:
    if not turn.has_goals:
        return []
    speakers = [id for id in seen.heard.people if id != turn.person_id]
    return find_active_goals(turn.agent_id, turn.room_id, turn.person_id, *speakers)


def _guard(look: Look, turn: ClaimedTurn) -> None:
    if not conversations.is_held(look, turn_id=turn.id):
        raise Fenced(f"The look at {look.conversation_id} is no longer held by {look.token}.")


def _postpone(look: Look, turn: ClaimedTurn, trace: Trace, error: ModelError) -> None:
    """Put the look off until the model can be asked again; its messages wait, with what was answered."""
    is_counted = error.failure not in NOT_ITS_FAULT
    asked = error.retry_after_seconds or 0.0
    delay = max(asked, DELAYS_SECONDS[min(look.attempt, len(DELAYS_SECONDS)) - 1])
    try:
        with trace.saving():
            _guard(look, turn)
            conversations.postpone_look(look, delay_seconds=delay, error=str(error), is_counted=is_counted)
    except Fenced as lost:
        log.warning("reflection_fenced", error=lost)
        return
    log.warning("reflection_waits", error=error, delay_seconds=delay, is_counted=is_counted)
