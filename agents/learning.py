"""Applies what was learnt, checked against where it was said: whom a fact is about, and by which messages.

Text grants nothing: a fact is about somebody of the conversation or about nobody, its messages are messages of
it, and a goal is one that may be spoken of there; what refers to anything else is dropped. `agents.reflection`
calls it. What an action or an evaluator of turns brought, `agents.effects` applies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from uuid import UUID

import structlog
from django.db import connection

from agents import effects as others
from agents.claims import Fenced
from agents.heard import Seen
from memory.conversations import Episode, Look, end_look
from memory.embeddings import get_embedder
from memory.embeddings.base import EmbeddingError
from memory.episodes import close, go_on
from memory.facts import NewFact, Place, learn_facts
from memory.goals import advance, find_active_goals
from memory.relationships import relate
from plugins.api import AdvanceGoal, Effect, LearnFact, MessageView, Relate, Summarise
from plugins.registry import UnknownService
from plugins.time_limits import TimeLimitExceeded, call_within

log = structlog.get_logger(__name__)

EMBEDDING_SECONDS = 150.0
"""As long as recall waits: more than an embedder takes by its own limits."""

Vectors = Mapping[str, tuple[Sequence[float], str]]
"""The vectors of texts, each with its model's name."""

LOCK_PEOPLE = """
SELECT id, merged_into_id FROM agents_person WHERE id = ANY(%(people)s::uuid[]) ORDER BY id FOR SHARE
"""
"""Who is merged or forgotten at this moment is waited for: what is learnt goes to whom they became, or to nobody."""

LOCK_MESSAGES = """
SELECT count(*) FROM (
    SELECT 1 FROM agents_message WHERE id = ANY(%(messages)s::uuid[]) ORDER BY id FOR KEY SHARE
) AS there
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
        made = call_within(EMBEDDING_SECONDS, embedder.embed, texts)
    except (EmbeddingError, UnknownService, TimeLimitExceeded) as error:
        log.warning("facts_without_vectors", error=str(error))
        return {}
    return {text: (vector, embedder.name) for text, vector in zip(texts, made, strict=True)}


def apply(learning: Learning, wanted: Sequence[tuple[str, Effect]], *, error: str = "") -> None:
    """Apply what the look brought, and end it, in the caller's transaction. `wanted` are plugins' effects.

    Raises: Fenced where the look is held no longer, or what it saw was deleted meanwhile.
    """
    seen, look = learning.seen, learning.look
    _require_messages(seen)
    people = _people(seen)
    place, episode = _moved(seen.place, people), look.episode
    learn_facts(place, _facts(learning, wanted, people))
    summary = outcome = ""
    for plugin, effect in wanted:
        match effect:
            case LearnFact():
                pass
            case Relate():
                _relate(effect, seen, people)
            case AdvanceGoal():
                _advance(effect, seen)
            case Summarise():
                summary, outcome = effect.summary, effect.outcome
            case _:
                _apply_other(effect, plugin, learning, people)
    episode = go_on(episode, seen.heard, summary=summary, outcome=outcome)
    if learning.is_closing:
        episode = _closed(episode, place, seen)
    if not end_look(look, taken=seen.taken, episode=episode, error=error):
        raise Fenced(f"The look at {look.conversation_id} is no longer held by {look.token}.")


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


def _apply_other(effect: Effect, plugin: str, learning: Learning, people: Mapping[UUID, UUID]) -> None:
    turn = learning.seen.turn
    others.apply_effects(
        [effect],
        plugin=plugin,
        agent_id=turn.agent_id,
        room_id=turn.room_id,
        person_id=people.get(turn.person_id) if turn.person_id else None,
        message_id=turn.message_id,
        cause_id=f"{learning.look.conversation_id}:{learning.look.number}:{plugin}",
    )


def _closed(episode: Episode, place: Place, seen: Seen) -> Episode:
    last, ended_at = seen.heard.last, seen.heard.ended_at
    if last is None or ended_at is None:
        return episode
    return close(place, episode, last=last, ended_at=ended_at, speaker=seen.own_person.name)


def _require_messages(seen: Seen) -> None:
    ids = [message.id for message in seen.messages]
    if not ids:
        return
    with connection.cursor() as cursor:
        cursor.execute(LOCK_MESSAGES, {"messages": ids})
        if cursor.fetchall()[0][0] != len(ids):
            raise Fenced("Messages of the look were deleted meanwhile; it is begun again without them.")


def _people(seen: Seen) -> dict[UUID, UUID]:
    """Return whom each person of the conversation stands for by now; who was forgotten is not among them."""
    asked = {*seen.person_ids, *([seen.turn.person_id] if seen.turn.person_id else [])}
    with connection.cursor() as cursor:
        cursor.execute(LOCK_PEOPLE, {"people": list(asked)})
        return {id: merged_into or id for id, merged_into in cursor.fetchall()}


def _moved(place: Place, people: Mapping[UUID, UUID]) -> Place:
    """Return the place as it is by now: its person may stand for another, or be gone."""
    if place.person_id is None:
        return place
    if place.person_id not in people:
        raise Fenced(f"The person {place.person_id} was forgotten meanwhile.")
    return replace(place, person_id=people[place.person_id])
