"""What every store learns: facts that merge and end, relationships, goals, episodes, documents."""

from __future__ import annotations

import datetime as dt
import io
from typing import Any
from uuid import uuid4

import pytest

from memory import goals
from memory.conversations import Episode
from memory.documents import indexing
from memory.documents.citations import cite
from memory.documents.library import DocumentSource, add_document, remove_document
from memory.episodes import keep_episode
from memory.facts import NewFact, Place, learn_facts, remember_fact
from memory.goals import advance, find_active_goals, set_goal
from memory.models import Episode as EpisodeRow
from memory.models import Fact, Goal, Memory
from memory.people import merge_person
from memory.relationships import relate, relationships_of
from tests.memory.conftest import NOW

HANDBOOK = b"# Handbook\n\n## Absence\n\nWho falls ill tells the team lead before nine.\n"


@pytest.fixture
def learn(scene: Any) -> Any:
    """Learn a fact of Ann in her own chat, from a message of its own."""
    place = Place(agent_id=scene.agent.id, scope="person", room_id=scene.dm_of_ann.id, person_id=scene.ann.id)

    def learn(text: str, minutes: int = 0, **fields: Any) -> Any:
        (vector,) = scene.embedder.embed([text])
        new = {
            "subject_id": scene.ann.id,
            "sources": (uuid4(),),
            "embedding": vector,
            "embedding_model": scene.embedder.name,
        }
        said_at = NOW + dt.timedelta(minutes=minutes)
        return learn_facts(place, [NewFact(text=text, said_at=said_at, **{**new, **fields})])

    return learn


def test_a_fact_that_is_said_again_is_strengthened(scene: Any, learn: Any) -> None:
    message = uuid4()
    assert learn("Ann likes tea.", confidence=0.5).new == 1
    assert learn("ann  likes TEA", 5, confidence=0.5, sources=(message,)).strengthened == 1
    assert learn("ann  likes TEA", 5, confidence=0.5, sources=(message,)).strengthened == 0
    fact = Fact.objects.get()
    assert (fact.confidence, fact.seen_count, fact.last_seen_at) == (0.75, 2, NOW + dt.timedelta(minutes=5))
    assert fact.memory.source_messages[-1] == str(message)
    assert len(fact.memory.source_messages) == 2


def test_facts_of_near_meaning_are_found_by_their_vectors(scene: Any, learn: Any) -> None:
    learn("Ann sold her house.")
    assert learn("Her house, Ann sold.").strengthened == 1
    assert learn("Ann bought her house.").new == 1


def test_a_new_value_ends_the_old_one_and_the_history_stays(scene: Any, learn: Any) -> None:
    for at, city in enumerate(("Paris", "Lyon", "Paris")):
        learn(f"Ann lives in {city}.", at, attribute="lives_in", value=city)
    assert [m.text for m in scene.recall("Where does Ann live?", room_id=scene.dm_of_ann.id)] == [
        "Ann lives in Paris."
    ]
    history = []
    fact: Any = Memory.objects.order_by("id").first()
    while fact is not None:
        history.append((fact.text, fact.fact.ended_at))
        fact = fact.superseded_by
    assert history == [
        ("Ann lives in Paris.", NOW + dt.timedelta(minutes=1)),
        ("Ann lives in Lyon.", NOW + dt.timedelta(minutes=2)),
        ("Ann lives in Paris.", None),
    ]


def test_a_relationship_grows_by_evidence_once_and_is_found_from_either_end(scene: Any) -> None:
    pair = {"agent_id": scene.agent.id, "user_a_id": scene.ann.id, "user_b_id": scene.bob.id}
    shown = uuid4()
    assert relate(**pair, relationship_type="friend", strength_change=0.4, tags=("work",), evidence=(shown,))
    assert not relate(**pair, relationship_type="friend", strength_change=0.4, evidence=(shown,))
    assert relate(
        **pair, relationship_type="friend", strength_change=0.2, tags=("chess",), evidence=(uuid4(),)
    )
    assert relate(**pair, relationship_type="rival", strength_change=-3.0)
    for person in (scene.ann, scene.bob):
        strongest, weakest = relationships_of(person.id, agent_id=scene.agent.id)
        assert (strongest.relationship_type, strongest.tags) == ("friend", ("chess", "work"))
        assert strongest.strength == pytest.approx(0.6)
        assert (weakest.relationship_type, weakest.strength) == ("rival", 0.0)
    assert len(relationships_of(scene.ann.id, agent_id=scene.agent.id, limit=1)) == 1
    assert relationships_of(scene.ann.id, agent_id=scene.make_agent().id) == []


def test_what_is_known_of_two_people_becomes_one_persons(scene: Any) -> None:
    eve = scene.make_person("Eve")
    common = {"agent_id": scene.agent.id, "scope": "person", "said_at": NOW}
    for person, text in ((scene.ann, "Has a cat."), (scene.bob, "has a CAT."), (scene.ann, "Likes tea.")):
        remember_fact(text=text, person_id=person.id, **common)
    pair = {"agent_id": scene.agent.id, "relationship_type": "friend"}
    relate(**pair, user_a_id=scene.ann.id, user_b_id=eve.id, strength_change=0.7)
    relate(**pair, user_a_id=scene.bob.id, user_b_id=eve.id, strength_change=0.3, tags=("school",))
    relate(**pair, user_a_id=scene.ann.id, user_b_id=scene.bob.id)
    for person, objective in ((scene.ann, "a book"), (scene.bob, "a teacher")):
        set_goal(agent_id=scene.agent.id, name="learn", person_id=person.id, objectives=(objective,))
    merge_person(scene.ann.id, scene.bob.id)
    current = Memory.objects.filter(person=scene.bob, superseded_by=None).values_list("text", flat=True)
    assert sorted(current) == ["Likes tea.", "has a CAT."]
    (friend,) = relationships_of(scene.bob.id, agent_id=scene.agent.id)
    assert (friend.user_b_id, friend.strength, friend.tags) == (eve.id, pytest.approx(0.7), ("school",))
    assert sorted(Goal.objects.get().objectives.values_list("description", flat=True)) == [
        "a book",
        "a teacher",
    ]


def test_a_goal_is_made_once_advances_and_completes_once(scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    monkeypatch.setattr(goals, "emit", lambda name, _payload: events.append(name))
    common = {"agent_id": scene.agent.id, "name": "learn", "room_id": scene.group.id}
    view = set_goal(**common, objectives=("a", "b"))
    assert set_goal(**common, objectives=("b",)).id == view.id
    assert [goal.id for goal in find_active_goals(scene.agent.id, scene.group.id, scene.ann.id)] == [view.id]
    assert find_active_goals(scene.agent.id, scene.dm_of_ann.id, scene.ann.id) == []
    assert advance(view.id, completed_objectives=["a"], shown_by_message=uuid4()).status == "active"
    assert advance(view.id, completed_objectives=["b"]).status == "completed"
    advance(view.id, completed_objectives=["a", "b"])
    assert events == ["goal:completed"]
    assert find_active_goals(scene.agent.id, scene.group.id, scene.ann.id) == []


def test_an_episode_is_kept_once_and_recalled(scene: Any) -> None:
    first, last = uuid4(), uuid4()
    place = Place(agent_id=scene.agent.id, scope="room", room_id=scene.group.id, person_id=None)
    episode = Episode(
        first=first,
        began_at=NOW,
        count=9,
        people=(scene.ann.id,),
        summary="They planned a hike.",
        outcome="Saturday",
    )
    kept = [
        keep_episode(place, episode, last=last, ended_at=NOW + dt.timedelta(hours=1), speaker="Eliza")
        for _time in range(2)
    ]
    assert kept == [True, False]
    row = EpisodeRow.objects.get()
    assert (row.first_message, row.last_message, row.participants) == (first, last, [str(scene.ann.id)])
    assert [hit.kind for hit in scene.recall_by_words("hiking plans")] == ["episode"]


def test_a_document_is_recalled_with_its_place_replaced_and_removed(
    scene: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexing, "wake_embedding", lambda: False)

    def add(content: bytes) -> Any:
        return add_document(scene.agent.id, DocumentSource(name="handbook.md", file=io.BytesIO(content)))

    added = add(HANDBOOK)
    assert (added.outcome, add(HANDBOOK).outcome) == ("added", "unchanged")
    (hit,) = cite(scene.recall_by_words("who is ill"))
    assert hit.citation is not None
    assert hit.text.endswith("tells the team lead before nine.")
    assert add(HANDBOOK.replace(b"nine", b"ten")).outcome == "replaced"
    (hit,) = scene.recall_by_words("who is ill")
    assert hit.text.endswith("before ten.")
    assert remove_document(added.document_id)
    assert scene.recall_by_words("who is ill") == ()
    assert not Memory.objects.exists()
