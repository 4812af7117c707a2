"""RELATIONSHIPS: lets people and the agent grow nearer by speaking with each other, and tells the prompt how near."""

from collections.abc import Mapping
from typing import Any

from plugins.api import Context, EvaluationResult, Evaluator, Permission, Plugin, Provided, Provider, Relate
from plugins.learning import quote

TALKS_WITH = "talks_with"
SHOWN_RELATIONSHIPS = 5
# From this strength on, in words that a small model understands.
NEARNESS = ((0.6, "very well"), (0.3, "well"), (0.1, "a little"), (0.0, "hardly"))


def grow(context: Context) -> EvaluationResult:
    """Let each person's answered messages bring them and the agent nearer."""
    conversation = context.conversation
    assert conversation is not None, "it looks at conversations"
    said = {
        person_id: tuple(message.id for message in conversation.messages if message.person_id == person_id)
        for person_id in conversation.answered
    }
    effects = tuple(
        Relate(
            person_id=person_id,
            other_person_id=conversation.own_person.id,
            relationship_type=TALKS_WITH,
            strength_change=0.0,
            interactions=count,
            message_ids=said[person_id],
            is_everywhere=True,
        )
        for person_id, count in conversation.answered.items()
    )
    return EvaluationResult(effects=effects)


def tell_relationships(context: Context) -> Provided:
    """Tell how the person stands to the agent and to others here, as far as it was learnt here."""
    person = context.state.person
    known = context.state.user_context.get("relationships") or ()
    if person is None or not known:
        return Provided(values={"relationships": ""})
    lines = [_line(person.name, entry) for entry in known[:SHOWN_RELATIONSHIPS]]
    relationships = "\n".join(lines)
    return Provided(
        text=f"How {person.name} stands to others:\n{relationships}", values={"relationships": relationships}
    )


def _line(name: str, entry: Mapping[str, Any]) -> str:
    strength = float(entry["strength"])
    if entry["type"] == TALKS_WITH:
        nearness = next(words for least, words in NEARNESS if strength >= least)
        return f"- You and {name} know each other {nearness} ({strength:.2f})."
    tags = f", {quote(', '.join(map(str, entry['tags'])), 100)}" if entry["tags"] else ""
    return (
        f"- {quote(str(entry['type']), 50)} of {' '.join(str(entry['with']).split())} ({strength:.2f}{tags})"
    )


plugin = Plugin(
    name="relationships",
    description="How people stand to the agent and to each other.",
    permissions=frozenset({Permission.READ_MEMORY, Permission.WRITE_MEMORY}),
    providers=(
        Provider(
            name="RELATIONSHIPS",
            description="How near the person is to the agent, and to whom else.",
            get=tell_relationships,
            position=35,
            cheap=True,
        ),
    ),
    evaluators=(
        Evaluator(
            name="RELATIONSHIPS",
            description="Lets people who speak with the agent grow nearer to it.",
            evaluate=grow,
            validate=lambda context: context.conversation is not None and bool(context.conversation.answered),
            looks_at="conversation",
        ),
    ),
)
