"""REPLY, IGNORE and NONE: to answer, to leave it at silence, to do nothing more."""

from plugins.api import Action, ActionResult, Context, Permission, Plugin, Say


def reply(context: Context) -> ActionResult:
    """Say the text that the answer carries."""
    text = str(context.arguments.get("text") or "").strip()
    if not text:
        return ActionResult(success=False, error="REPLY came without a text. Give it in the argument `text`.")
    return ActionResult(effects=(Say(text=text),))


def stay_silent(_context: Context) -> ActionResult:
    """Say nothing; silence is a result."""
    return ActionResult()


plugin = Plugin(
    name="reply",
    description="Answering, ignoring, and doing nothing more.",
    permissions=frozenset({Permission.SAY}),
    actions=(
        Action(
            name="REPLY",
            description="Answer in words. Use this whenever you want to say something.",
            execute=reply,
            similes=("RESPOND", "ANSWER", "SAY", "SEND_REPLY", "SEND_MESSAGE", "GREET"),
            parameters={
                "type": "object",
                "properties": {"text": {"type": "string", "description": "What you say."}},
                "required": ["text"],
            },
        ),
        Action(
            name="IGNORE",
            description="Stay silent, when the message is not for you, or the person wants to be left alone.",
            execute=stay_silent,
            similes=("STAY_SILENT", "NO_RESPONSE", "DO_NOT_RESPOND"),
        ),
        Action(
            name="NONE",
            description="Do nothing beside what you say.",
            execute=stay_silent,
            similes=("NO_ACTION", "NOTHING"),
        ),
    ),
)
