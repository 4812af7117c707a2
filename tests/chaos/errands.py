"""A plugin for fault tests: its actions and its evaluator leave marks that show what was done twice.

NOTE works by an effect, POST outward (a line in a file), PAY outward and never twice. Each mark carries the
key of its message.
"""

from __future__ import annotations

import datetime as dt
import os
from pathlib import Path

from plugins.api import (
    Action,
    ActionResult,
    Context,
    EvaluationResult,
    Evaluator,
    Permission,
    Plugin,
    Question,
    Schedule,
    Task,
    TaskContext,
)

DONE_VARIABLE = "CHAOS_ERRANDS_FILE"
NEVER = dt.datetime(2999, 1, 1, tzinfo=dt.UTC)
NOTE, POST, PAY = "NOTE", "POST", "PAY"


def _mark(kind: str, key: str) -> Schedule:
    """Make a row that nothing keeps unique: an effect that is applied twice leaves two."""
    return Schedule(task="mark", at=NEVER, arguments={"kind": kind, "key": key})


def note(context: Context) -> ActionResult:
    return ActionResult(effects=(_mark(NOTE, str(context.arguments["key"])),))


def work_outward(context: Context) -> ActionResult:
    line = f"{context.arguments['key']}\n".encode()
    descriptor = os.open(Path(os.environ[DONE_VARIABLE]), os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
    try:
        os.write(descriptor, line)
    finally:
        os.close(descriptor)
    return ActionResult()


def learn(context: Context) -> EvaluationResult:
    return EvaluationResult(effects=(_mark("learnt", context.message.text),))


def look_back(context: Context) -> EvaluationResult:
    conversation = context.conversation
    assert conversation is not None
    question = Question(
        purpose="errands",
        instruction="Sum it up.",
        text=f"Look: {conversation.lines()}",
        schema={"type": "object"},
    )
    context.services.get_service("model").ask(question)
    heard = [message for message in conversation.messages if not message.is_from_agent]
    return EvaluationResult(effects=tuple(_mark("reflected", message.text) for message in heard))


def do_nothing(_context: TaskContext) -> None:
    return None


plugin = Plugin(
    name="errands",
    description="Marks what was done.",
    permissions=frozenset({Permission.SCHEDULE, Permission.NETWORK, Permission.CALL_MODEL}),
    actions=(
        Action(name=NOTE, description="Note it.", execute=note),
        Action(name=POST, description="Post it.", execute=work_outward, works_outward=True, idempotent=True),
        Action(name=PAY, description="Pay it.", execute=work_outward, works_outward=True),
    ),
    evaluators=(
        Evaluator(name="ERRANDS", evaluate=learn),
        Evaluator(name="LOOKING_BACK", evaluate=look_back, looks_at="conversation"),
    ),
    tasks=(Task(name="mark", schedule="once", execute=do_nothing),),
)
