"""A plugin as a stranger writes it: every kind of component, loaded by its dotted path."""

from plugins.api import (
    Action,
    ActionResult,
    Context,
    EvaluationResult,
    Evaluator,
    EventHandler,
    JSONObject,
    Permission,
    Plugin,
    Provider,
    Remember,
    Say,
    Service,
    Services,
    Task,
    TaskContext,
)

calls: list[object] = []


def roll(context: Context) -> ActionResult:
    return ActionResult(effects=(Say(text=f"You rolled a {context.turn_id.int % 6 + 1}."),))


def tell(_context: Context) -> str:
    return "There is a die on the table."


def learn(_context: Context) -> EvaluationResult:
    return EvaluationResult(effects=(Remember(text="Dice were rolled."),))


def remind(context: TaskContext) -> tuple[Say, ...]:
    calls.append(("task", context.slot, dict(context.arguments)))
    if context.arguments.get("fails"):
        raise ValueError("the die fell off the table")
    return (Say(text=context.arguments["say"]),) if "say" in context.arguments else ()


def hear(payload: JSONObject) -> None:
    calls.append(("event", dict(payload)))
    if payload.get("fails"):
        raise ValueError("the dice were too loud")


def set_up(services: Services) -> None:
    calls.append(("initialised", services.get_service("dice_box")))


plugin = Plugin(
    name="dice",
    description="A die.",
    permissions=frozenset({Permission.SAY, Permission.WRITE_MEMORY}),
    actions=(Action(name="ROLL_DICE", description="Roll a die.", execute=roll, similes=("THROW_DICE",)),),
    providers=(Provider(name="DICE", get=tell, position=5),),
    evaluators=(Evaluator(name="DICE_ROLLS", evaluate=learn),),
    tasks=(
        Task(name="remind", schedule="once", execute=remind),
        Task(name="shake", schedule="every 3600", execute=remind),
    ),
    services=(Service(name="dice_box", start=lambda: "a box", stop=calls.append),),
    events=(EventHandler(event="dice:rolled", handle=hear),),
    initialise=set_up,
)
