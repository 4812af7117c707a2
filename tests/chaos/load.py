"""A load under random kills: people speak over both networks while workers and senders die. Chosen by a seed."""

from __future__ import annotations

import random
import signal
import time
from dataclasses import dataclass, field

from agents.crashpoints import POINTS, Fault
from tests.chaos.errands import NOTE, POST
from tests.chaos.harness import CONVERGE_SECONDS, KEYED, KEYLESS, Fleet, Spoken
from transports.verdicts import Verdict

KINDS = ("", "", "", NOTE, POST)
RARE_POINTS = {"dispatcher.found", "lane.before_release"} | {
    point for point in POINTS if point.startswith(("reflection.", "evaluator."))
}
COMMON_POINTS = sorted(set(POINTS) - RARE_POINTS)
PROBE_MESSAGES = 30
LOOK_EVERY = 5


@dataclass(frozen=True, kw_only=True)
class Load:
    """What a run is made of; the same seed makes the same one, as far as processes allow."""

    seed: int
    messages: int
    kills: int
    people: int = 20
    networks: tuple[str, ...] = (KEYED, KEYLESS)


@dataclass(kw_only=True)
class Outcome:
    """What came of a run. `allowed_seconds` is how long it may take from the last fault to the last final state."""

    load: Load
    verdict: Verdict
    kills: int
    asked_again: list[str]
    doubled_effects: list[str]
    strange_uncertain: list[str]
    allowed_seconds: float
    breaches: list[str] = field(default_factory=list)

    def judge(self) -> Outcome:
        """Name every promise that was broken."""
        named = {
            "lost": self.verdict.lost,
            "doubled": self.verdict.doubled,
            "out of order": self.verdict.out_of_order,
            "undelivered": self.verdict.undelivered,
            "an answer asked for again": self.asked_again,
            "an effect applied twice or never": self.doubled_effects,
            "uncertain on a network with a key": self.strange_uncertain,
        }
        self.breaches = [f"{name}: {finding}" for name, found in named.items() for finding in found]
        return self


def run(fleet: Fleet, load: Load, *, seconds_a_message: float = 0.0) -> Outcome:
    """Let people speak and processes die as the seed has it, and judge what came of it."""
    chance = random.Random(load.seed)
    people = [(fleet.new_person(), chance.choice(load.networks)) for _person in range(load.people)]
    events = ["say"] * load.messages + ["kill"] * load.kills
    chance.shuffle(events)
    spoken: list[Spoken] = []
    killer = _Killer(fleet, chance)
    for event in events:
        if event == "kill":
            killer.kill()
        else:
            if len(spoken) % LOOK_EVERY == 0:
                _let_catch_up(fleet, spoken, load.people)
            person, network = chance.choice(people)
            spoken.append(fleet.say(chance.choice(KINDS), person, network=network))
        fleet.crew.tend()
    killer.finish(load.kills)
    ended_at, ended = fleet.now(), time.monotonic()
    open_count = fleet.open_count(spoken)
    fleet.await_workers()
    start_seconds = time.monotonic() - ended
    fleet.wait_until_over(spoken, seconds=240.0)
    verdict = fleet.verdict(spoken, faults_ended_at=ended_at)
    return Outcome(
        load=load,
        verdict=verdict,
        kills=killer.count,
        asked_again=fleet.asked_again(spoken),
        doubled_effects=_faulty_effects(fleet, spoken),
        strange_uncertain=_uncertain_with_key(spoken, verdict),
        allowed_seconds=CONVERGE_SECONDS + start_seconds + open_count * seconds_a_message,
    ).judge()


def measure(fleet: Fleet, *, messages: int = PROBE_MESSAGES) -> float:
    """Return how many seconds a message costs this fleet when nothing fails."""
    people = [fleet.new_person() for _person in range(5)]
    started = time.monotonic()
    spoken = [fleet.say("", people[number % len(people)]) for number in range(messages)]
    fleet.wait_until_over(spoken)
    return (time.monotonic() - started) / messages


def _let_catch_up(fleet: Fleet, spoken: list[Spoken], most_open: int) -> None:
    """Speak on when no more is open than there are people: who is killed has work, and little is left behind."""
    fleet.wait(lambda: fleet.open_count(spoken) <= most_open, "a fleet that keeps up")


class _Killer:
    """Kills now this worker, now whoever comes to a point that was chosen."""

    def __init__(self, fleet: Fleet, chance: random.Random) -> None:
        self._fleet = fleet
        self._chance = chance
        self._by_hand = 0
        self._by_plan = 0

    @property
    def count(self) -> int:
        """How many were killed."""
        return self._by_hand + self._by_plan

    def kill(self) -> None:
        """Kill a worker that is at work, or plan that somebody dies soon."""
        if self._chance.random() < 0.5:
            self._kill_worker()
            return
        self._end_plan()
        point, hit = self._chance.choice(COMMON_POINTS), self._chance.randint(1, 4)
        self._fleet.plan(Fault(point=point, hits=(hit,)))

    def finish(self, wanted: int) -> None:
        """Kill until as many died as were wanted, and end the faults."""
        self._end_plan()
        while self.count < wanted:
            self._kill_worker()

    def _kill_worker(self) -> None:
        self._fleet.wait(self._fleet.crew.ready_workers, "a worker that can be killed")
        ready = self._fleet.crew.ready_workers()
        if ready:
            self._chance.choice(ready).signal(signal.SIGKILL)
            self._by_hand += 1

    def _end_plan(self) -> None:
        # What is reached between the two is counted by neither plan, and kills nobody.
        self._by_plan += self._fleet.happened()
        self._fleet.plan()


def _faulty_effects(fleet: Fleet, spoken: list[Spoken]) -> list[str]:
    notes = [one for one in spoken if f"<actions>{NOTE}" in one.text]
    return [
        f"{one.said.external_id} left {times} notes"
        for one, times in zip(notes, fleet.noted(notes), strict=True)
        if times != 1
    ]


def _uncertain_with_key(spoken: list[Spoken], verdict: Verdict) -> list[str]:
    keyed = {one.said.external_id for one in spoken if one.said.conversation.startswith(f"{KEYED} ")}
    return [finding for finding in verdict.uncertain if finding.split()[0] in keyed]
