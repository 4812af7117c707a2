"""The fifth step: asks the model for its answer, and streams the words for the person while they come."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace

from agents.asking import ask_model
from agents.cleaning import clean_text, clean_words
from agents.crashpoints import reach
from agents.llm.base import ModelClass, ModelError, ModelFailure
from agents.offers import offered_actions
from agents.prompts import answer_prompt
from agents.replies import Answer, VisibleText, read_answer
from agents.scene import Scene
from agents.streams import TurnStream
from agents.trace import Trace


def answer_message(
    scene: Scene,
    texts: Iterable[tuple[str, str]],
    trace: Trace,
    stream: TurnStream,
    is_cancelled: Callable[[], bool],
) -> Answer:
    """Ask the model what to say and do; an answer that an earlier attempt recorded is taken as it is.

    Raises: ModelError where no answer came; keeper.Stopped where the turn was ended meanwhile.
    """
    earlier = trace.find_finished("generate")
    if earlier is not None:
        return _answer_from(earlier.output)
    with trace.step("generate") as step:
        actions = [registered.component for registered in offered_actions(scene)]
        visible = VisibleText()

        def hear(piece: str) -> None:
            reach("model.answering")
            stream.token(visible.feed(piece))

        try:
            completion = ask_model(
                scene,
                trace,
                answer_prompt(scene, texts, actions),
                purpose="answer",
                model_class=ModelClass.LARGE,
                on_token=hear,
                is_cancelled=is_cancelled,
            )
        finally:
            stream.flush()
        reach("model.answered")
        read = read_answer(clean_text(completion.text))
        # JSON may have an accent escaped, which is apart from its letter until it is read.
        answer = replace(read, text=clean_words(read.text), thought=clean_words(read.thought))
        trace.note_parse_path(answer.parse_path)
        if not answer.text and not _acts(answer):
            raise ModelError("The model answered nothing that can be said.", failure=ModelFailure.EMPTY)
        step.output = {
            "text": answer.text,
            "actions": list(answer.actions),
            "thought": answer.thought,
            "parse_path": answer.parse_path,
            "arguments": {name: dict(given) for name, given in answer.arguments.items()},
        }
        return answer


def _acts(answer: Answer) -> bool:
    return any(name.upper() != "REPLY" for name in answer.actions)


def _answer_from(output: object) -> Answer:
    assert isinstance(output, dict)
    return Answer(
        text=output["text"],
        actions=tuple(output["actions"]),
        thought=output["thought"],
        parse_path=output["parse_path"],
        arguments=output["arguments"],
    )
