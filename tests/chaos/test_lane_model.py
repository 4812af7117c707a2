"""Lanes, turns and deliveries against a short reference: hypothesis drives both, and compares every row.

What is driven is the project's own SQL on PostgreSQL, through `inbox`, `lanes`, `turns` and `outbox`. Time is
not waited for: leases and delays end by a statement. To add a state, add it to `lane_reference`, a rule that
brings it about, and nothing else: `rows_agree` compares all of them after each step.
"""

from __future__ import annotations

import datetime as dt
from dataclasses import dataclass
from typing import Any
from uuid import UUID, uuid4

import pytest
from django.db import connection as database
from django.db import transaction
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    invariant,
    multiple,
    rule,
    run_state_machine_as_test,
)

from agents import inbox, lanes, outbox, turns
from agents.envelopes import Acknowledgement, Incoming, IncomingPerson, IncomingRoom, Receipt
from agents.lanes import ClaimedTurn, Fenced, Lease
from agents.models import Delivery, Message, Turn
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
NO_LIMITS = settings(
    deadline=None,
    suppress_health_check=list(HealthCheck),
    print_blob=True,
    database=None,
    report_multiple_bugs=False,
    phases=[Phase.generate],
)
QUICK = settings(NO_LIMITS, max_examples=60, stateful_step_count=30)
LONG = settings(NO_LIMITS, max_examples=3000, stateful_step_count=60)


@dataclass
class Holder:
    """A worker that claimed a lane, and the turn that it has in hand. It may have died, or sleep, unknowing."""

    person: str
    lease: Lease
    turn: ClaimedTurn | None
    row: TurnRow | None

    def put_down(self) -> None:
        self.turn = self.row = None


@dataclass
class Sender:
    """A worker that claimed a delivery."""

    room: str
    delivery: ClaimedDelivery
    row: DeliveryRow


class Lanes(RuleBasedStateMachine):
    """Workers, networks and time, in any order."""

    connection_id: UUID
    copies = Bundle("copies")
    holders = Bundle("holders")
    senders = Bundle("senders")

    def __init__(self) -> None:
        super().__init__()
        self.world = World()
        self.lane_ids: dict[str, UUID] = {}
        self.room_ids: dict[str, UUID] = {}
        self.turn_ids: dict[int, UUID] = {}
        self.all_or_nothing = transaction.atomic()
        self.all_or_nothing.__enter__()

    def teardown(self) -> None:
        transaction.set_rollback(True)
        self.all_or_nothing.__exit__(None, None, None)

    # Messages come in --------------------------------------------------------------------------------------

    @rule(target=copies, person=st.sampled_from(PEOPLE), room=st.sampled_from(ROOMS))
    def receive(self, person: str, room: str) -> tuple[Incoming, Receipt]:
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
        return message, receipt

    @rule(copy=copies)
    def receive_again(self, copy: tuple[Incoming, Receipt]) -> None:
        message, first = copy
        again = inbox.receive(message, is_limited=False)
        assert not again.is_new
        assert (again.message_id, again.turn_id) == (first.message_id, first.turn_id)

    # Lanes are worked --------------------------------------------------------------------------------------

    @rule(target=holders, person=st.sampled_from(PEOPLE))
    def claim(self, person: str) -> Any:
        if person not in self.lane_ids:
            return multiple()
        lane = self.world.lanes[person]
        claimed, row = lanes.claim(self.lane_ids[person]), lane.claim()
        if claimed is None or row is None:
            assert claimed is None
            assert row is None
            return multiple()
        lease, turn = claimed
        assert lease.token == lane.token
        self._is_the_same(turn, row)
        return Holder(person, lease, turn, row)

    @rule(holder=holders)
    def take_next(self, holder: Holder) -> None:
        lane = self.world.lanes[holder.person]
        if holder.turn is not None or lane.lease == "free":
            return
        turn = lanes.take_next(holder.lease)
        if not lane.is_held_by(holder.lease.token):
            assert turn is None
            return
        row = lane.take()
        if not lane.is_delayed:
            lane.lease = "held"
        self._is_the_same(turn, row)
        holder.turn, holder.row = turn, row

    def _is_the_same(self, turn: ClaimedTurn | None, row: TurnRow | None) -> None:
        if turn is None or row is None:
            assert turn is None
            assert row is None
            return
        assert turn.id == self.turn_ids[id(row)], "the first open turn of the lane, and no other"
        assert (turn.error_count, turn.crash_count) == (row.errors, row.crashes)

    @rule(holder=holders)
    def renew(self, holder: Holder) -> None:
        lane = self.world.lanes[holder.person]
        is_held = lane.is_held_by(holder.lease.token)
        assert (holder.lease in lanes.renew([holder.lease])) is is_held
        if is_held:
            lane.lease = "held"

    @rule(holder=holders, parts=st.integers(0, 2))
    def finish(self, holder: Holder, parts: int) -> None:
        lane = self.world.lanes[holder.person]
        if holder.turn is None:
            return
        assert holder.row is not None
        is_allowed = self._may_write(holder)
        try:
            with transaction.atomic():
                turns.end(holder.turn, state=Turn.State.DONE, outcome=Turn.Outcome.REPLIED)
                outbox.put(destination_of(holder.turn), [Reply(text=f"{number}") for number in range(parts)])
                is_released = lanes.release_if_empty(holder.lease)
        except Fenced:
            assert not is_allowed
        else:
            assert is_allowed, "a stale holder ended a turn"
            self.world.rooms[holder.turn.room_external_id] += [DeliveryRow() for _part in range(parts)]
            assert is_released is lane.end(holder.row)
        holder.put_down()

    @rule(holder=holders, is_counted=st.booleans(), is_delayed=st.booleans())
    def put_back(self, holder: Holder, is_counted: bool, is_delayed: bool) -> None:
        if holder.turn is None:
            return
        assert holder.row is not None
        is_allowed = self._may_write(holder)
        try:
            with transaction.atomic():
                turns.put_back(holder.turn, error="it failed", is_counted=is_counted)
                lanes.release(holder.lease, delay_seconds=600 if is_delayed else 0)
        except Fenced:
            assert not is_allowed
        else:
            assert is_allowed, "a stale holder put a turn back"
            lane = self.world.lanes[holder.person]
            lane.put_back(holder.row, is_counted=is_counted, is_delayed=is_delayed)
        holder.put_down()

    def _may_write(self, holder: Holder) -> bool:
        lane = self.world.lanes[holder.person]
        return lane.is_held_by(holder.lease.token) and holder.row is not None and holder.row.state == "running"

    @rule(holder=holders)
    def let_go(self, holder: Holder) -> None:
        """Release after a look, as a worker does that found nothing more to take, or was told so too late."""
        lane = self.world.lanes[holder.person]
        with transaction.atomic():
            if lanes.renew([holder.lease]) and not lanes.release_if_empty(holder.lease):
                lanes.release(holder.lease)
        if lane.is_held_by(holder.lease.token) and not lane.release_if_empty():
            lane.lease, lane.is_delayed = "free", False
        holder.put_down()

    @rule(holder=consumes(holders))
    def crash(self, holder: Holder) -> None:
        """Die with the lane in hand; nobody is told."""

    # Time passes -------------------------------------------------------------------------------------------

    @rule(person=st.sampled_from(PEOPLE))
    def let_the_lease_end(self, person: str) -> None:
        lane = self.world.lanes[person]
        if lane.lease == "held":
            _execute("UPDATE agents_lane SET lease_until = '2020-01-01' WHERE id = %s", self.lane_ids[person])
            lane.lease = "over"

    @rule(person=st.sampled_from(PEOPLE))
    def let_the_delay_end(self, person: str) -> None:
        lane = self.world.lanes[person]
        if lane.is_delayed:
            _execute("UPDATE agents_lane SET next_run_at = '2020-01-01' WHERE id = %s", self.lane_ids[person])
            lane.is_delayed = False

    # Replies go out ----------------------------------------------------------------------------------------

    @rule(target=senders, data=st.data())
    def claim_delivery(self, data: st.DataObject) -> Any:
        if not self.room_ids:
            return multiple()
        room = data.draw(st.sampled_from(sorted(self.room_ids)))
        head = first_open(self.world.rooms[room])
        was_sending = head is not None and head.state == "sending"
        delivery = outbox.claim(self.connection_id, self.room_ids[room])
        row = claim_delivery(self.world.rooms[room])
        if delivery is None or row is None:
            assert delivery is None
            assert row is None
            return multiple()
        assert (delivery.token, delivery.attempts) == (row.token, row.attempts)
        assert delivery.was_sending is was_sending, "an acknowledgement that was lost is told"
        return Sender(room, delivery, row)

    @rule(sender=senders)
    def acknowledge(self, sender: Sender) -> None:
        """Hear that it was sent, in time or too late."""
        is_more = outbox.record_sent(sender.delivery, Acknowledgement(external_id="1"))
        assert is_more is self._recorded(sender, "sent", is_delayed=False)

    @rule(sender=senders, state=st.sampled_from(["pending", "uncertain", "failed"]))
    def refuse(self, sender: Sender, state: str) -> None:
        delay = 600.0 if state == "pending" else 0.0
        is_more = outbox.record_unsent(sender.delivery, state=state, error="no", delay_seconds=delay)
        assert is_more is self._recorded(sender, state, is_delayed=state == "pending")

    def _recorded(self, sender: Sender, state: str, *, is_delayed: bool) -> bool:
        room = self.world.rooms[sender.room]
        return record(room, sender.row, sender.delivery.token, state, is_delayed=is_delayed)

    @rule(sender=consumes(senders))
    def lose_the_acknowledgement(self, sender: Sender) -> None:
        """Die between sending and recording; nobody is told."""

    @rule(sender=senders)
    def let_the_delivery_lease_end(self, sender: Sender) -> None:
        if sender.row.lease == "held":
            _execute("UPDATE agents_delivery SET lease_until = '2020-01-01' WHERE id = %s", sender.delivery.id)
            sender.row.lease = "over"

    @rule(sender=senders)
    def let_the_delivery_delay_end(self, sender: Sender) -> None:
        if sender.row.is_delayed:
            _execute("UPDATE agents_delivery SET next_run_at = '2020-01-01' WHERE id = %s", sender.delivery.id)
            sender.row.is_delayed = False

    # What must always be so --------------------------------------------------------------------------------

    @invariant()
    def rows_agree(self) -> None:
        """Each message once and in its place, each turn and lane and delivery as the reference has it."""
        for person, lane_id in self.lane_ids.items():
            lane = self.world.lanes[person]
            found = Turn.objects.filter(lane=lane_id).order_by("sequence")
            assert list(found.values_list("pk", "state", "error_count", "crash_count")) == [
                (self.turn_ids[id(row)], row.state, row.errors, row.crashes) for row in lane.turns
            ]
            kept = _fetch("SELECT lease_token, lease_until IS NULL FROM agents_lane WHERE id = %s", lane_id)
            assert kept == [(lane.token, lane.lease == "free")]
        for room, room_id in self.room_ids.items():
            sent = Delivery.objects.filter(room=room_id).order_by("pk")
            assert list(sent.values_list("state", "lease_token", "attempts")) == [
                (row.state, row.token, row.attempts) for row in self.world.rooms[room]
            ]
        heard = Message.objects.filter(connection=self.connection_id, direction="in").count()
        assert heard == sum(len(lane.turns) for lane in self.world.lanes.values())

    @invariant()
    def nothing_is_left_behind(self) -> None:
        """Every lane that is due and free is found by the dispatcher, and no other."""
        due = {self.lane_ids[person] for person, lane in self.world.lanes.items() if lane.is_due()}
        assert set(lanes.find_due(limit=100, patience_seconds=0)) == due

    @invariant()
    def at_most_one_turn_of_a_lane_runs(self) -> None:
        for lane in self.world.lanes.values():
            running = [turn for turn in lane.turns if turn.state == "running"]
            assert len(running) <= 1
            assert not running or running[0] is next(turn for turn in lane.turns if turn.state in OPEN)

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


def _fetch(statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
    with database.cursor() as cursor:
        cursor.execute(statement, parameters)
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
    assert (lane.turns[0].crashes, lane.is_held_by(1), lane.is_held_by(2)) == (1, False, True)
