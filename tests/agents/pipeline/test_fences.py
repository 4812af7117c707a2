"""Actions of a holder that lost its lane, or dies at a commit: nothing is written, begun or kept by halves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from agents.inbox import receive
from agents.llm.router import answering_with
from agents.llm.scripted import ScriptedModel
from agents.models import Lane, Step, Turn
from agents.pipeline import act
from agents.processes import keeper
from agents.processes.keeper import Watch
from agents.trace import Trace
from memory.models import Goal
from plugins.api import Action, ActionResult, Context, Plugin, SetGoal
from tests.doubles.acting import Died, acting_with, answer, drain, let_actions_kill

ran: list[str] = []
meanwhile: list[Callable[[], object]] = []


def note(_context: Context) -> ActionResult:
    ran.append("NOTE")
    if meanwhile:
        meanwhile.pop()()
    return ActionResult(text="noted", effects=(SetGoal(name="learn French"),))


def send(_context: Context) -> ActionResult:
    ran.append("SEND")
    return ActionResult(text="sent")


PLUGIN = Plugin(
    name="fenced",
    description="For tests.",
    actions=(
        Action(name="NOTE", description="Note something.", execute=note),
        Action(name="SEND", description="Send something.", execute=send, works_outward=True),
    ),
)


@pytest.fixture(autouse=True)
def acting(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The built-ins and the plugin of this test, whose actions run in the worker's own thread."""
    ran.clear()
    meanwhile.clear()
    let_actions_kill(monkeypatch)
    with acting_with(monkeypatch, PLUGIN):
        yield


def lose_the_lane() -> None:
    Lane.objects.update(lease_token=99)


def die() -> None:
    raise Died


def steps() -> list[str]:
    return list(Step.objects.filter(name__startswith="act:").values_list("name", flat=True))


def test_effects_are_undone_where_their_step_could_not_be_saved(
    incoming: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    receipt = receive(incoming())
    save, saves = Trace.save, []

    def save_or_die(self: Trace, **named: Any) -> None:
        saves.append(named)
        if len(saves) == 2:  # the first is the answer's
            raise Died
        save(self, **named)

    monkeypatch.setattr(Trace, "save", save_or_die)
    with answering_with(answer("NOTE")):
        with pytest.raises(Died):
            drain(receipt)
        assert (ran, steps(), Goal.objects.count()) == (["NOTE"], [], 0)
        drain(receipt)
    assert (ran, steps(), Goal.objects.count()) == (["NOTE", "NOTE"], ["act:0:NOTE"], 1)


def test_an_answer_is_recorded_before_its_first_action(incoming: Any) -> None:
    receipt = receive(incoming())
    meanwhile.append(die)
    with answering_with(answer("NOTE")) as model:
        with pytest.raises(Died):
            drain(receipt)
        drain(receipt)
        assert len(model.requests) == 1  # type: ignore[attr-defined]
    assert Goal.objects.count() == 1


def test_a_holder_that_lost_its_lease_saves_no_answer(incoming: Any) -> None:
    def reply(_request: Any) -> str:
        lose_the_lane()
        return "<response><actions>NOTE</actions><text>Well.</text></response>"

    with answering_with(ScriptedModel(reply)):
        drain(receive(incoming()))
    assert (ran, Step.objects.count(), Turn.objects.get().state) == ([], 0, "running")


def test_a_holder_that_lost_its_lease_applies_no_effects(incoming: Any) -> None:
    meanwhile.append(lose_the_lane)
    with answering_with(answer("NOTE")):
        drain(receive(incoming()))
    assert (ran, steps(), Goal.objects.count()) == (["NOTE"], [], 0)
    assert Turn.objects.get().state == "running"


def test_a_holder_that_lost_its_lease_begins_no_outward_action(
    incoming: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    may_go_outward = Watch.may_go_outward

    def lose_and_ask(watch: Watch) -> bool:
        lose_the_lane()
        return may_go_outward(watch)

    monkeypatch.setattr(Watch, "may_go_outward", lose_and_ask)
    with answering_with(answer("SEND")):
        drain(receive(incoming()))
    assert (ran, steps(), Turn.objects.get().state) == ([], [], "running")


def test_a_worker_that_was_paused_past_its_lease_runs_no_action(
    incoming: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_allowed = act.is_allowed

    def pause_and_ask(*given: Any) -> bool:
        for watch in keeper.watched():
            watch.renewed_at -= 1_000_000
        return is_allowed(*given)

    monkeypatch.setattr(act, "is_allowed", pause_and_ask)
    receipt = receive(incoming())
    with answering_with(answer("NOTE")):
        drain(receipt)
        assert (ran, Turn.objects.get().state) == ([], "waiting"), "nobody has claimed it: it is put back"
        monkeypatch.setattr(act, "is_allowed", is_allowed)
        drain(receipt)
    assert (ran, Turn.objects.get().state) == (["NOTE"], "done")
