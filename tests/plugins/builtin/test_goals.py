import uuid

from plugins.api import GoalView
from plugins.builtin.goals import tell_goals


def goal(name, status="active", objectives=()):
    return GoalView(id=uuid.uuid4(), name=name, status=status, objectives=objectives)


def test_active_goals_stand_with_what_is_reached(make_context):
    goals = (goal("Bake", objectives=(("Buy flour", True), ("Find oven", False))), goal("Old", "completed"))
    assert tell_goals(make_context(goals=goals)).text == (
        "Your goals:\n- Bake\n  [x] Buy flour\n  [ ] Find oven"
    )


def test_no_active_goal_adds_nothing(make_context):
    assert tell_goals(make_context(goals=(goal("Old", "failed"),))).text == ""
