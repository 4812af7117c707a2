"""Applies what was learnt, checked against where it was said: whom a fact is about, and by which messages.

Text grants nothing: a fact is about somebody of the conversation or about nobody, its messages are messages of
it, and a goal is one that may be spoken of there; what refers to anything else is dropped. `agents.learning.reflection`
calls it. What an action or an evaluator of turns brought, `agents.effects` applies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

import structlog
from django.db import connection, transaction

from agents import effects as others
from agents.claims import Fenced
from agents.learning.heard import Seen
from memory.conversations import Episode, Look, end_look
from memory.embeddings import get_embedder
from memory.embeddings.base import EmbeddingError
from memory.embeddings.batching import patience_seconds
from memory.episodes import closed, go_on, keep_episode
from memory.facts import NewFact, Place, learn_facts
from memory.goals import advance, find_active_goals
from memory.relationships import relate
from plugins.api import AdvanceGoal, Effect, LearnFact, MessageView, Relate, Summarise
from plugins.registry import UnknownService
from plugins.time_limits import TimeLimitExceeded, call_within

log = structlog.get_logger(__name__)

Vectors = Mapping[str, tuple[Sequence[float], str]]
"""The vectors of texts, each with its model's name."""

LOCK = """
WITH said AS (
    SELECT id FROM agents_message WHERE id = ANY(%(messages)s::uuid[]) ORDER BY id FOR KEY SHARE
), people AS (
    SELECT id, merged_into_id FROM agents_person WHERE id = ANY(%(people)s::uuid[]) ORDER BY id FOR SHARE
)
SELECT (SELECT count(*) FROM said), people.id, people.merged_into_id
FROM (SELECT 1) AS one LEFT JOIN people ON true
"""
"""Counts the messages that are there, and says who the people are by now. Who is merged or forgotten at this moment
is waited for: what is learnt goes to whom they became, or to nobody.
"""


@dataclass(frozen=True, kw_only=True)
class Learning:
    """What a look's effects are applied to, and the vectors of its facts."""

    look: Look
    seen: Seen
    is_closing: bool
    vectors: Vectors = field(default_factory=dict)


def embed_facts(effects: Sequence[Effect]) -> Vectors:
    """Embed the facts, so that those that say the same are found; without an embedder only words are compared.

    To be called while no connection is held.
    """
    texts = list(
        dict.fromkeys(one.text for one in effects if isinstance(one, LearnFact) and one.text.strip())
    )
    if not texts:
        return {}
    try:
        embedder = get_embedder()
        made = call_within(patience_seconds(), embedder.embed, texts)
    except (EmbeddingError, UnknownService, TimeLimitExceeded) as error:
        log.warning("facts_without_vectors", error=error)
        return {}
    return {text: (vector, embedder.name) for text, vector in zip(texts, made, strict=True)}


def apply(learning: Learning, wanted: Sequence[tuple[str, Effect]], *, error: str = "") -> bool:
    """Apply what the look brought, and end it, in the caller's transaction. `wanted` are plugins' effects.

    Returns whether another look is due at once.
    Raises: Fenced where the look is held no longer, or what it saw was deleted meanwhile.
    """
    seen, look = learning.seen, learning.look
    # People before the conversation, as where people are merged.
    people = _lock(seen)
    summed_up = [effect for _plugin, effect in wanted if isinstance(effect, Summarise)]
    summary, outcome = (summed_up[-1].summary, summed_up[-1].outcome) if summed_up else ("", "")
    episode = go_on(look.episode, seen.heard, summary=summary, outcome=outcome)
    episode = replace(episode, people=tuple(dict.fromkeys(people.get(id, id) for id in episode.people)))
    after = closed(episode) if learning.is_closing else episode
    # Whatever follows is undone where the look is held no longer.
    is_due = end_look(look, taken=seen.taken, episode=after, error=error)
    if is_due is None:
        raise Fenced(f"The look at {look.conversation_id} is no longer held by {look.token}.")
    place = _moved(seen.place, people)
    if learning.is_closing:
        _keep_episode(episode, place, seen)
    learn_facts(place, _facts(learning, wanted, people))
    for number, (plugin, effect) in enumerate(wanted):
        match effect:
            case LearnFact() | Summarise():
                pass
            case Relate():
                _relate(effect, seen, people)
            case AdvanceGoal():
                _advance(effect, seen)
            case _:
                _apply_other(effect, plugin, learning, people, place=number)
    return is_due


def _facts(
    learning: Learning, wanted: Sequence[tuple[str, Effect]], people: Mapping[UUID, UUID]
) -> list[NewFact]:
    said = {message.id: message for message in learning.seen.messages}
    facts = []
    for _plugin, effect in wanted:
        if not isinstance(effect, LearnFact):
            continue
        sources = [id for id in effect.message_ids if id in said]
        is_known = effect.subject_id is None or effect.subject_id in people
        if not sources or not is_known:
            log.info("fact_dropped", has_sources=bool(sources), is_subject_known=is_known)
            continue
        subject_id = people[effect.subject_id] if effect.subject_id else None
        facts.append(
            _new_fact(
                effect,
                subject_id=subject_id,
                sources=sources,
                said=max((said[id] for id in sources), key=lambda message: message.said_at),
                vectors=learning.vectors,
            )
        )
    return facts


def _new_fact(
    effect: LearnFact,
    *,
    subject_id: UUID | None,
    sources: Sequence[UUID],
    said: MessageView,
    vectors: Vectors,
) -> NewFact:
    vector, model = vectors.get(effect.text, (None, ""))
    return NewFact(
        text=effect.text,
        said_at=said.said_at,
        subject_id=subject_id,
        type=effect.type,
        attribute=effect.attribute,
        value=effect.value,
        confidence=effect.confidence,
        speaker=said.speaker,
        sources=sources,
        same_as=effect.same_as,
        replaces=effect.replaces,
        embedding=vector,
        embedding_model=model,
    )


def _relate(effect: Relate, seen: Seen, people: Mapping[UUID, UUID]) -> None:
    said = {message.id for message in seen.messages}
    first = people.get(effect.person_id or seen.turn.person_id or effect.other_person_id)
    second = people.get(effect.other_person_id)
    evidence = [id for id in effect.message_ids if id in said]
    if first is None or second is None or first == second or not evidence:
        log.info("relationship_dropped", has_evidence=bool(evidence))
        return
    relate(
        agent_id=seen.turn.agent_id,
        user_a_id=first,
        user_b_id=second,
        relationship_type=effect.relationship_type,
        strength_change=effect.strength_change,
        interactions=effect.interactions,
        room_id=None if effect.is_everywhere else seen.turn.room_id,
        tags=effect.tags,
        evidence=evidence,
    )


def _advance(effect: AdvanceGoal, seen: Seen) -> None:
    turn = seen.turn
    speakers = [id for id in seen.heard.people if id != turn.person_id]
    visible = find_active_goals(turn.agent_id, turn.room_id, turn.person_id, *speakers)
    if effect.goal_id not in {goal.id for goal in visible}:
        log.info("goal_progress_dropped")
        return
    said = {message.id for message in seen.messages}
    message = effect.message_id if effect.message_id in said else None
    advance(effect.goal_id, completed_objectives=effect.completed_objectives, shown_by_message=message)


def _apply_other(
    effect: Effect, plugin: str, learning: Learning, people: Mapping[UUID, UUID], *, place: int
) -> None:
    """Apply what any evaluator may want; what can't be applied costs that effect, and not the look."""
    turn = learning.seen.turn
    try:
        with transaction.atomic():
            others.apply_effects(
                [effect],
                plugin=plugin,
                agent_id=turn.agent_id,
                room_id=turn.room_id,
                person_id=people.get(turn.person_id) if turn.person_id else None,
                message_id=turn.message_id,
                cause_id=f"{learning.look.conversation_id}:{learning.look.number}:{plugin}:{place}",
            )
    except (others.CannotApply, ValueError, LookupError) as error:
        log.warning("effect_not_applied", plugin=plugin, effect=type(effect).__name__, error=error)


def _keep_episode(episode: Episode, place: Place, seen: Seen) -> None:
    last, ended_at = seen.heard.last, seen.heard.ended_at
    if last is not None and ended_at is not None:
        keep_episode(place, episode, last=last, ended_at=ended_at, speaker=seen.own_person.name)


def _lock(seen: Seen) -> dict[UUID, UUID]:
    """Return whom each person of the conversation stands for by now; who was forgotten is not among them.

    Raises: Fenced where messages of the look are gone.
    """
    messages = {message.id for message in seen.messages} or {seen.turn.message_id}
    people = {*seen.person_ids, *([seen.turn.person_id] if seen.turn.person_id else [])}
    with connection.cursor() as cursor:
        cursor.execute(LOCK, {"messages": list(messages), "people": list(people)})
        rows = cursor.fetchall()
    if rows[0][0] != len(messages):
        raise Fenced("Messages of the look were deleted meanwhile; it is begun again without them.")
    return {id: merged_into or id for _count, id, merged_into in rows if id is not None}


def _moved(place: Place, people: Mapping[UUID, UUID]) -> Place:
    """Return the place as it is by now: its person may stand for another, or be gone."""
    if place.person_id is None:
        return place
    if place.person_id not in people:
        raise Fenced(f"The person {place.person_id} was forgotten meanwhile.")
    return replace(place, person_id=people[place.person_id])
