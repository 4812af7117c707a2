import uuid

import pytest

from plugins.api import AdvanceGoal, GoalView, MessageView, ModelAnswer, PersonView
from plugins.builtin.goals import notice_progress, plugin, tell_goals
from plugins.learning import Conversation
from tests.plugins.builtin.conftest import NOW


def goal(name, status="active", objectives=()):
    return GoalView(id=uuid.uuid4(), name=name, status=status, objectives=objectives)


def test_active_goals_stand_with_what_is_reached(make_context):
    goals = (goal("Bake", objectives=(("Buy flour", True), ("Find oven", False))), goal("Old", "completed"))
    assert tell_goals(make_context(goals=goals)).text == (
        "Your goals:\n- Bake\n  [x] Buy flour\n  [ ] Find oven"
    )


def test_no_active_goal_adds_nothing(make_context):
    assert tell_goals(make_context(goals=(goal("Old", "failed"),))).text == ""


class Asked:
    """Stands for the services, and for the model among them."""

    def __init__(self, value):
        self.value, self.questions = value, []

    def get_service(self, _name):
        return self

    def ask(self, question):
        self.questions.append(question)
        return ModelAnswer(value=self.value, path="json", kept=question.kept)


LEARN = GoalView(
    id=uuid.UUID(int=50),
    name="learn",
    status="active",
    objectives=(("a", True), ("find a teacher", False), ("b", False)),
)
DONE = GoalView(id=uuid.UUID(int=51), name="done", status="completed", objectives=(("c", False),))
SAID = tuple(
    MessageView(id=uuid.UUID(int=60 + n), text=text, speaker="Bo", person_id=uuid.UUID(int=3), said_at=NOW)
    for n, text in enumerate(("hello", "I found one."))
)


def looking(make_context, value, goals=(LEARN, DONE), messages=SAID):
    context = make_context(goals=goals)
    own = PersonView(id=uuid.UUID(int=1), name="Ada")
    conversation = Conversation(own_person=own, messages=messages)
    return type(context)(**{**vars(context), "services": Asked(value), "conversation": conversation})


def test_progress_is_noted_with_the_message_that_shows_it(make_context):
    context = looking(make_context, {"done": [{"objective": 1, "message": 2}]})
    result = notice_progress(context)
    assert result.effects == (
        AdvanceGoal(goal_id=LEARN.id, completed_objectives=("find a teacher",), message_id=SAID[1].id),
    )
    (question,) = context.services.questions
    assert question.text.startswith('Objectives:\n1. "find a teacher" (of the goal "learn")\n2. "b"')


@pytest.mark.parametrize(
    "entry",
    [{"objective": 3, "message": 1}, {"objective": 1, "message": 9}, {"objective": 1}, {"message": 1}, {}],
)
def test_progress_that_refers_to_nothing_is_dropped(make_context, entry):
    assert notice_progress(looking(make_context, {"done": [entry]})).effects == ()


def test_nothing_is_asked_where_nothing_is_open_or_said(make_context):
    validate = plugin.evaluators[0].validate
    assert validate(looking(make_context, None))
    assert not validate(looking(make_context, None, goals=(DONE,)))
    assert not validate(looking(make_context, None, messages=()))
    assert notice_progress(looking(make_context, None)).effects == ()
