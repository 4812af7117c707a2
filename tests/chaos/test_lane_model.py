"""Lanes, turns and deliveries against a short reference: hypothesis drives both, and compares every row.

What is driven is the project's own SQL on PostgreSQL, through `inbox`, `lanes`, `turns` and `outbox`. Time is
not waited for: leases and delays end by a statement. To add a state, add it to `lane_reference` and a rule that
brings it about: `rows_agree` compares all rows after each step.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection as database
from django.db import transaction
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    rule,
    run_state_machine_as_test,
)

from agents import inbox, lanes, outbox, turns
from agents.envelopes import Acknowledgement, Incoming, IncomingPerson, IncomingRoom, Receipt
from agents.lanes import ClaimedTurn, Fenced, Lease
from agents.models import Turn
from agents.outbox import ClaimedDelivery, Reply
from agents.scene import destination_of
from tests.chaos.lane_reference import (
    OPEN,
    DeliveryRow,
    LaneRow,
    TurnRow,
    World,
    claim_delivery,
    first_open,
    record,
)
from transports.models import Connection

PEOPLE, ROOMS = ("ann", "bob"), ("dm", "hall")
TAKEN = Acknowledgement(external_id="1", acknowledged_at=dt.datetime(2026, 1, 1, tzinfo=dt.UTC))
NO_LIMITS = settings(deadline=None, suppress_health_check=list(HealthCheck), print_blob=True, database=None)
# The same examples each time, found in seconds; what fails is worth a look in full length.
QUICK = settings(
    NO_LIMITS, max_examples=40, stateful_step_count=30, derandomize=True, phases=[Phase.generate]
)
LONG = settings(NO_LIMITS, max_examples=300, stateful_step_count=80, phases=[Phase.generate])


@dataclass(eq=False)
class Holder:
    """A worker that claimed a lane, and the turn that it has in hand. It may sleep, and not know what it lost."""

    person: str
    lease: Lease
    turn: ClaimedTurn | None
    row: TurnRow | None


@dataclass(eq=False)
class Sender:
    """A worker that claimed a delivery."""

    room: str
    delivery: ClaimedDelivery
    row: DeliveryRow


Act = Callable[["Lanes", st.DataObject], None]
ACTIONS: dict[str, tuple[Callable[[Lanes], Any], Act]] = {}


def action(when: Callable[[Lanes], Any]) -> Callable[[Act], Act]:
    """Let this be done whenever it is possible.

    Rules of hypothesis' own would be left out at random, half of them in each example, which is what a machine of
    many independent rules needs; here most of what is worth trying takes four or five of them together.
    """

    def add(act: Act) -> Act:
        ACTIONS[act.__name__] = when, act
        return act

    return add


class Lanes(RuleBasedStateMachine):
    """Workers, networks and time, in any order."""

    connection_id: UUID

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.copies: list[tuple[Incoming, Receipt]] = []
        self.holders: list[Holder] = []
        self.senders: list[Sender] = []
        self.lane_ids: dict[str, UUID] = {}
        self.room_ids: dict[str, UUID] = {}
        self.turn_ids: dict[int, UUID] = {}
        self.all_or_nothing = transaction.atomic()
        self.all_or_nothing.__enter__()

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.all_or_nothing.__exit__(None, None, None)

    @initialize(waiting=st.integers(1, 3), parts=st.integers(1, 3))
    def begin_in_the_middle(self, waiting: int, parts: int) -> None:
        """Start where something is going on: people wait, and replies are on their way to the hall."""
        for number in range(1 + waiting):
            self._receive("ann", "hall")
            self._receive("bob", ROOMS[number % 2])
        for person in PEOPLE:
            self._claim(person)
            self._finish(self.holders[-1], parts)

    @rule(data=st.data())
    def act(self, data: st.DataObject) -> None:
        # Hypothesis prefers what stands first: messages are written down first, and come often enough anyway.
        possible = [name for name, (when, _act) in reversed(ACTIONS.items()) if when(self)]
        ACTIONS[data.draw(st.sampled_from(possible))][1](self, data)

    # Messages come in --------------------------------------------------------------------------------------

    @action(lambda self: True)
    def receive(self, data: st.DataObject) -> None:
        person = data.draw(st.sampled_from(PEOPLE))
        room = data.draw(st.sampled_from(ROOMS))
        self._receive(person, room)

    def _receive(self, person: str, room: str) -> None:
        message = Incoming(
            connection_id=self.connection_id,
            external_id=uuid4().hex,
            room=IncomingRoom(external_id=room if room == "hall" else f"dm-{person}"),
            person=IncomingPerson(external_id=person, name=person),
            text="hello",
            said_at=dt.datetime.now(dt.UTC),
        )
        receipt = inbox.receive(message, is_limited=False)
        assert receipt.is_new
        assert receipt.turn_id is not None
        row = TurnRow()
        self.world.lanes[person].turns.append(row)
        self.lane_ids[person] = receipt.lane_id
        self.room_ids[message.room.external_id] = receipt.room_id
        self.turn_ids[id(row)] = receipt.turn_id
        self.copies.append((message, receipt))

    @action(lambda self: self.copies)
    def receive_again(self, data: st.DataObject) -> None:
        message, first = data.draw(st.sampled_from(self.copies))
        again = inbox.receive(message, is_limited=False)
        assert not again.is_new
        assert (again.message_id, again.turn_id) == (first.message_id, first.turn_id)

    # Lanes are worked --------------------------------------------------------------------------------------

    @action(lambda self: self.lane_ids)
    def claim(self, data: st.DataObject) -> None:
        self._claim(data.draw(st.sampled_from(sorted(self.lane_ids))))

    @action(lambda self: any(lane.lease == "held" for lane in self.world.lanes.values()))
    def let_a_lease_end(self, data: st.DataObject) -> None:
        """Let a holder die or oversleep; another worker takes its lane, or it wakes up and goes on."""
        is_claimed_again = data.draw(st.sampled_from([True, True, False]))
        too_late = data.draw(st.sampled_from(["finish", "put back", ""]))
        held = sorted(person for person, lane in self.world.lanes.items() if lane.lease == "held")
        person = data.draw(st.sampled_from(held))
        _execute("UPDATE agents_lane SET lease_until = '2020-01-01' WHERE id = %s", self.lane_ids[person])
        self.world.lanes[person].lease = "over"
        sleepers = [holder for holder in self.busy() if holder.person == person]
        if is_claimed_again:
            self._claim(person)
        if too_late == "finish" and sleepers:
            self._finish(sleepers[-1], parts=1)
        if too_late == "put back" and sleepers:
            self._put_back(sleepers[-1], is_counted=True, is_delayed=False)

    def _claim(self, person: str) -> None:
        lane = self.world.lanes[person]
        claimed, row = lanes.claim(self.lane_ids[person]), lane.claim()
        if claimed is None or row is None:
            assert claimed is None
            assert row is None
            return
        lease, turn = claimed
        assert lease.token == lane.token
        self._is_the_same(turn, row)
        self.holders.append(Holder(person, lease, turn, row))

    @action(lambda self: self.idle())
    def take_next(self, data: st.DataObject) -> None:
        holder = data.draw(st.sampled_from(self.idle()))
        lane = self.world.lanes[holder.person]
        turn = lanes.take_next(holder.lease)
        if not lane.is_held_by(holder.lease.token):
            assert turn is None, "a stale holder took a turn"
            return
        holder.row = lane.take()
        holder.turn = turn
        lane.lease = lane.lease if lane.is_delayed else "held"
        self._is_the_same(turn, holder.row)

    def idle(self) -> list[Holder]:
        """Holders that have no turn in hand, and did not give their lane back."""
        return [
            holder
            for holder in self.holders
            if holder.turn is None and self.world.lanes[holder.person].lease != "free"
        ]

    def busy(self) -> list[Holder]:
        """Holders that have a turn in hand, stale ones too."""
        return [holder for holder in self.holders if holder.turn is not None]

    def _is_the_same(self, turn: ClaimedTurn | None, row: TurnRow | None) -> None:
        if turn is None or row is None:
            assert turn is None
            assert row is None
            return
        assert turn.id == self.turn_ids[id(row)], "the first open turn of the lane, and no other"
        assert (turn.error_count, turn.suspect_count) == (row.errors, row.deaths)

    @action(lambda self: self.holders)
    def renew(self, data: st.DataObject) -> None:
        holder = data.draw(st.sampled_from(self.holders))
        lane = self.world.lanes[holder.person]
        is_held = lane.is_held_by(holder.lease.token)
        assert (holder.lease in lanes.renew([holder.lease])) is is_held
        lane.lease = "held" if is_held else lane.lease

    @action(lambda self: self.busy())
    def finish(self, data: st.DataObject) -> None:
        parts = data.draw(st.sampled_from([1, 2, 0]))
        self._finish(data.draw(st.sampled_from(self.busy())), parts)

    def _finish(self, holder: Holder, parts: int) -> None:
        assert holder.turn is not None
        turn, lane, outcome = holder.turn, self.world.lanes[holder.person], []

        def end() -> None:
            turns.end(turn, state=Turn.State.DONE, outcome=Turn.Outcome.REPLIED)
            outbox.put(destination_of(turn), [Reply(text=f"{number}") for number in range(parts)])
            outcome.append(lanes.release_if_empty(holder.lease))

        row = self._write(holder, end)
        if row is not None:
            self.world.rooms[turn.room_external_id] += [DeliveryRow() for _part in range(parts)]
            assert outcome == [lane.end(row)]

    @action(lambda self: self.busy())
    def put_back(self, data: st.DataObject) -> None:
        """Fail; a wake-up that comes too early finds nothing to do."""
        is_counted = data.draw(st.booleans())
        is_delayed = data.draw(st.booleans())
        self._put_back(data.draw(st.sampled_from(self.busy())), is_counted=is_counted, is_delayed=is_delayed)

    def _put_back(self, holder: Holder, *, is_counted: bool, is_delayed: bool) -> None:
        assert holder.turn is not None
        turn = holder.turn

        def put_back() -> None:
            turns.put_back(turn, error="it failed", is_counted=is_counted)
            lanes.release(holder.lease, delay_seconds=600 if is_delayed else 0)

        row = self._write(holder, put_back)
        if row is not None:
            self.world.lanes[holder.person].put_back(row, is_counted=is_counted, is_delayed=is_delayed)
            self._claim(holder.person)

    def _write(self, holder: Holder, write: Callable[[], None]) -> TurnRow | None:
        """Write as the holder; the turn's row where it could, None where it was fenced, as the reference says."""
        row, lane = holder.row, self.world.lanes[holder.person]
        assert row is not None
        is_allowed = lane.is_held_by(holder.lease.token) and row.state == "running"
        holder.turn = holder.row = None
        try:
            with transaction.atomic():
                write()
        except Fenced:
            assert not is_allowed
            return None
        assert is_allowed, "a stale holder wrote"
        return row

    @action(lambda self: self.holders)
    def let_go(self, data: st.DataObject) -> None:
        """Release after a look, as a worker does that found nothing more to take, or was told so too late."""
        holder = data.draw(st.sampled_from(self.holders))
        lane = self.world.lanes[holder.person]
        with transaction.atomic():
            if lanes.renew([holder.lease]) and not lanes.release_if_empty(holder.lease):
                lanes.release(holder.lease)
        if lane.is_held_by(holder.lease.token) and not lane.release_if_empty():
            lane.lease, lane.is_delayed = "free", False
        self.holders.remove(holder)

    @action(lambda self: any(lane.is_delayed for lane in self.world.lanes.values()))
    def let_the_delays_end(self, data: st.DataObject) -> None:
        _execute("UPDATE agents_lane SET next_run_at = '2020-01-01'")
        for lane in self.world.lanes.values():
            lane.is_delayed = False

    # Replies go out ----------------------------------------------------------------------------------------

    @action(lambda self: any(self.world.rooms.values()))
    def claim_delivery(self, data: st.DataObject) -> None:
        self._claim_delivery(
            data.draw(st.sampled_from(sorted(filter(self.world.rooms.get, self.world.rooms))))
        )

    @action(lambda self: any(row.lease == "held" for row in self.deliveries()))
    def let_a_delivery_lease_end(self, data: st.DataObject) -> None:
        """Lose an acknowledgement: the sender died, or sleeps; another comes upon the delivery, or it wakes up."""
        is_claimed_again = data.draw(st.sampled_from([True, True, False]))
        is_heard_late = data.draw(st.sampled_from([True, False]))
        held = [room for room, sent in self.world.rooms.items() if any(row.lease == "held" for row in sent)]
        room = data.draw(st.sampled_from(sorted(held)))
        _execute(
            "UPDATE agents_delivery SET lease_until = '2020-01-01' WHERE room_id = %s AND state = 'sending'",
            self.room_ids[room],
        )
        for row in self.world.rooms[room]:
            row.lease = "over" if row.lease == "held" else row.lease
        sleeper = next(
            sender for sender in self.senders if sender.row.lease == "over" and sender.room == room
        )
        if is_claimed_again:
            self._claim_delivery(room)
        if is_heard_late:
            self._record(sleeper, "sent")

    def _claim_delivery(self, room: str) -> None:
        head = first_open(self.world.rooms[room])
        was_sending = head is not None and head.state == "sending"
        delivery = outbox.claim(self.connection_id, self.room_ids[room])
        row = claim_delivery(self.world.rooms[room])
        if delivery is None or row is None:
            assert delivery is None
            assert row is None
            return
        assert (delivery.token, delivery.attempts) == (row.token, row.attempts)
        assert delivery.may_have_arrived or not was_sending, "a lost acknowledgement is told"
        self.senders.append(Sender(room, delivery, row))

    @action(lambda self: self.senders)
    def record(self, data: st.DataObject) -> None:
        """Record what the network said, in time or too late."""
        state = data.draw(st.sampled_from(["sent", "pending", "uncertain", "failed"]))
        self._record(data.draw(st.sampled_from(self.senders)), state)

    def _record(self, sender: Sender, state: str) -> None:
        if state == "sent":
            is_more = outbox.record_sent(sender.delivery, TAKEN)
        else:
            delay = 600.0 if state == "pending" else 0.0
            is_more = outbox.record_unsent(sender.delivery, state=state, error="no", delay_seconds=delay)
        room, token = self.world.rooms[sender.room], sender.delivery.token
        assert is_more is record(room, sender.row, token, state, is_delayed=state == "pending")

    @action(lambda self: any(row.is_delayed for row in self.deliveries()))
    def let_the_delivery_delays_end(self, data: st.DataObject) -> None:
        _execute(
            "UPDATE agents_delivery SET next_run_at = '2020-01-01' WHERE next_run_at > clock_timestamp()"
        )
        for row in self.deliveries():
            row.is_delayed = False

    def deliveries(self) -> list[DeliveryRow]:
        return [row for sent in self.world.rooms.values() for row in sent]

    # What must always be so --------------------------------------------------------------------------------

    @invariant()
    def rows_agree(self) -> None:
        """Each message once and in its place, each turn and lane and delivery as the reference has it."""
        in_order = sorted((lane_id, self.world.lanes[person]) for person, lane_id in self.lane_ids.items())
        assert _fetch("SELECT id, lease_token, lease_until IS NULL FROM agents_lane ORDER BY id") == [
            (lane_id, lane.token, lane.lease == "free") for lane_id, lane in in_order
        ]
        assert _fetch(
            "SELECT lane_id, turn.id, state, error_count, suspect_count FROM agents_turn AS turn"
            " JOIN agents_message AS message ON message.id = turn.message_id AND direction = 'in'"
            " ORDER BY lane_id, sequence"
        ) == [
            (lane_id, self.turn_ids[id(row)], row.state, row.errors, row.deaths)
            for lane_id, lane in in_order
            for row in lane.turns
        ]
        assert _fetch("SELECT count(*) FROM agents_message WHERE direction = 'in'") == [(len(self.copies),)]
        rooms = sorted((room_id, self.world.rooms[room]) for room, room_id in self.room_ids.items())
        assert _fetch(
            "SELECT room_id, state, lease_token, attempts FROM agents_delivery ORDER BY room_id, id"
        ) == [(room_id, row.state, row.token, row.attempts) for room_id, sent in rooms for row in sent]

    @invariant()
    def nothing_is_left_behind(self) -> None:
        """Every lane that is due and free is found by the dispatcher, and no other."""
        due = {self.lane_ids[person] for person, lane in self.world.lanes.items() if lane.is_due()}
        assert set(lanes.find_due(limit=100, patience_seconds=0)) == due

    @invariant()
    def at_most_the_head_of_a_lane_runs(self) -> None:
        for lane in self.world.lanes.values():
            assert [turn.state for turn in lane.turns if turn.state in OPEN][1:].count("running") == 0

    @invariant()
    def lost_acknowledgements_are_found(self) -> None:
        due = set(outbox.find_due(100))
        for room, room_id in self.room_ids.items():
            head = first_open(self.world.rooms[room])
            if head is not None and head.state == "sending":
                assert ((self.connection_id, room_id) in due) is (head.lease == "over")
            if head is None or head.is_delayed:
                assert (self.connection_id, room_id) not in due


def _execute(statement: str, *parameters: Any) -> None:
    with database.cursor() as cursor:
        cursor.execute(statement, parameters)


def _fetch(statement: str) -> list[tuple[Any, ...]]:
    with database.cursor() as cursor:
        cursor.execute(statement)
        return list(cursor.fetchall())


def test_lanes_and_deliveries_do_what_the_reference_does(connection: Connection) -> None:
    Lanes.connection_id = connection.pk
    run_state_machine_as_test(Lanes, settings=QUICK)


@pytest.mark.long
def test_lanes_and_deliveries_do_what_the_reference_does_for_long(connection: Connection) -> None:
    Lanes.connection_id = connection.pk
    run_state_machine_as_test(Lanes, settings=LONG)


def test_the_reference_keeps_one_token_a_lane() -> None:
    lane = LaneRow(turns=[TurnRow(), TurnRow()])
    assert lane.claim() is lane.turns[0]
    assert lane.claim() is None
    lane.lease = "over"
    assert lane.claim() is lane.turns[0]
    assert (lane.turns[0].deaths, lane.is_held_by(1), lane.is_held_by(2)) == (1, False, True)
