"""The fourth step: whether to answer at all. Silence is a result.

In a room of two the agent always answers; elsewhere when it is addressed, and otherwise as a small model
judges, unless the agent's setting `groupReplies` is `mentioned`. Bots, other agents among them, are answered
only up to the agent's limits (`agents.talk`), in a room of two as well: so that no two of them talk for ever.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from agents.asking import ask_model
from agents.llm.base import ModelClass
from agents.models import Participant
from agents.prompts import decision_prompt
from agents.scene import Scene
from agents.talk import talk_with_bots
from agents.trace import Trace
from memory.scripts import BEGINS, ENDS

DECISION_TOKENS = 8


def should_respond(scene: Scene, trace: Trace, is_cancelled: Callable[[], bool]) -> bool:
    """Decide whether the agent answers this message.

    Raises: ModelError where a model had to judge and could not be asked; keeper.Stopped where the turn was
    ended meanwhile.
    """
    earlier = trace.find_finished("respond")
    if earlier is not None:
        return bool(earlier.output.get("respond"))
    with trace.step("respond") as step:
        talk = talk_with_bots(scene) if scene.turn.person_is_bot else None
        if talk is not None and talk.reached:
            answer, reason = False, talk.reached
        else:
            found, reason = _by_rule(scene)
            answer, reason = (found, reason) if found is not None else _by_model(scene, trace, is_cancelled)
        step.output = {"respond": answer, "reason": reason}
        if talk is not None:
            step.output = {**step.output, "talk_with_bots": vars(talk)}
        return answer


def _by_rule(scene: Scene) -> tuple[bool | None, str]:
    turn = scene.turn
    is_named = _names(scene.agent.view.name, scene.message.text)
    if turn.participant_state == Participant.State.MUTED and not is_named:
        return False, "muted here"
    if scene.is_private:
        return True, "a private room"
    if scene.is_addressed:
        return True, "addressed"
    if is_named:
        return True, "named"
    if turn.person_is_bot:
        return False, "a bot that did not address the agent"
    if scene.agent.settings.get("groupReplies") == "mentioned":
        return False, "not addressed, and answers only where it is"
    return None, ""


def _by_model(scene: Scene, trace: Trace, is_cancelled: Callable[[], bool]) -> tuple[bool, str]:
    completion = ask_model(
        scene,
        trace,
        decision_prompt(scene),
        purpose="respond",
        model_class=ModelClass.SMALL,
        max_tokens=DECISION_TOKENS,
        is_cancelled=is_cancelled,
    )
    trace.note_parse_path("word")
    answer = re.search(r"\bRESPOND\b", completion.text.upper()) is not None
    return answer, f"the model said {completion.text.strip()[:40]!r}"


def _names(name: str, text: str) -> bool:
    return re.search(rf"{BEGINS}@?{re.escape(name)}{ENDS}", text, re.IGNORECASE) is not None
