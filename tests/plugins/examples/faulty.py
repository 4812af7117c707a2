"""A plugin whose declarations are wrong in as many ways as there are."""

from plugins.api import Action, ActionResult, Plugin, Provider, Task


def takes_nothing() -> ActionResult:
    return ActionResult()


async def waits(_context: object) -> str:
    return ""


plugin = Plugin(
    name="faulty",
    description="Wrong.",
    permissions=frozenset({"money.spend"}),
    actions=(
        Action(name="ONE", description="", execute=takes_nothing, time_limit_seconds=0),  # type: ignore[arg-type]
        Action(
            name="one!", description="", execute=lambda _context: ActionResult(), parameters={"type": "list"}
        ),
    ),
    providers=(Provider(name="SLOW", get=waits),),  # type: ignore[arg-type]
    tasks=(Task(name="never", schedule="0 0 30 2 *", execute=lambda _context: None),),
)
