"""GOALS: what the agent is after, and how far it has come; nothing where it has no goal."""

from plugins.api import Context, GoalView, Permission, Plugin, Provided, Provider
from plugins.quotations import plain_or_quoted

SHOWN_GOALS = 5


def tell_goals(context: Context) -> Provided:
    """List the active goals with their objectives, those that are reached marked so."""
    active = [goal for goal in context.state.goals if goal.status == "active"][:SHOWN_GOALS]
    if not active:
        return Provided(values={"goals": ""})
    goals = "\n".join(_lines(goal) for goal in active)
    return Provided(text=f"Your goals:\n{goals}", values={"goals": goals})


def _lines(goal: GoalView) -> str:
    objectives = [
        f"  [{'x' if is_done else ' '}] {plain_or_quoted(text)}" for text, is_done in goal.objectives
    ]
    return "\n".join([f"- {plain_or_quoted(goal.name)}", *objectives])


plugin = Plugin(
    name="goals",
    description="The agent's goals.",
    permissions=frozenset({Permission.READ_GOALS}),
    providers=(
        Provider(
            name="GOALS",
            description="The agent's active goals with their objectives.",
            get=tell_goals,
            position=30,
            cheap=True,
        ),
    ),
)
