"""Faults in lanes, their leases and tokens, and in what finds work that was left behind."""

from __future__ import annotations

from tests.chaos.mutants.shape import Mutation

TURNS = "agents/turns.py"
LANES = "agents/lanes.py"
WORK = "tests/agents/test_work.py::"
LANE_TESTS = "tests/agents/test_lanes.py::"
KEEPER = "tests/agents/processes/test_keeper.py::"
EVALUATION = "tests/agents/learning/test_evaluation.py::"
DISPATCHER = "tests/agents/test_dispatcher.py::"

ONE_HOLDER = "one holder at a time: who lost the lane writes nothing"
HELD = "AND lane_id = (SELECT id FROM agents_lane WHERE id = %(lane)s AND lease_token = %(token)s FOR UPDATE)"
FREE = "AND lane_id = (SELECT id FROM agents_lane WHERE id = %(lane)s FOR UPDATE)"
UNLOCKED = "AND lane_id = (SELECT id FROM agents_lane WHERE id = %(lane)s AND lease_token = %(token)s)"
RUNNING = "WHERE id = %(turn)s AND state = 'running'\n  "
END = "ended_at = clock_timestamp()\n" + RUNNING
PUT_BACK = "crash_count = crash_count + %(crashes)s\n" + RUNNING
PARK = "UPDATE agents_turn SET state = 'parked'\n" + RUNNING

MUTATIONS = (
    Mutation(
        name="token of a turn's end",
        breaks=ONE_HOLDER,
        file=TURNS,
        old=END + HELD,
        new=END + FREE,
        tests=(WORK + "test_a_holder_that_lost_its_lease_can_change_nothing",),
    ),
    Mutation(
        name="token of a turn that is put back",
        breaks=ONE_HOLDER,
        file=TURNS,
        old=PUT_BACK + HELD,
        new=PUT_BACK + FREE,
        tests=(
            "tests/agents/processes/test_outages.py::test_what_somebody_else_has_taken_meanwhile_is_left_to_them",
        ),
    ),
    Mutation(
        name="token of a turn that is parked for an approval",
        breaks=ONE_HOLDER,
        file=TURNS,
        old=PARK + HELD,
        new=PARK + FREE,
        tests=("tests/agents/test_approvals.py::test_whoever_lost_the_lane_can_neither_park_nor_ask",),
    ),
    Mutation(
        name="token of a renewal",
        breaks="a lease is renewed by its holder alone",
        file=LANES,
        old="WHERE (id, lease_token) IN (SELECT * FROM unnest(%(lanes)s::uuid[], %(tokens)s::bigint[]))",
        new="WHERE id = ANY(%(lanes)s::uuid[])",
        tests=(LANE_TESTS + "test_renewing_tells_which_leases_are_still_held",),
    ),
    Mutation(
        name="token of the guard",
        breaks=ONE_HOLDER,
        file=LANES,
        old="if lease not in renew([lease]):",
        new="if not renew([lease]) and False:",
        tests=(
            "tests/agents/test_collecting.py::test_a_holder_that_lost_its_lease_collects_nothing",
            "tests/agents/pipeline/test_fences.py::test_a_holder_that_lost_its_lease_applies_no_effects",
        ),
    ),
    Mutation(
        name="token of the next turn in a lane",
        breaks=ONE_HOLDER,
        file=LANES,
        old="WHERE lane.id = %(lane)s AND lane.lease_token = %(token)s AND agent.id = lane.agent_id",
        new="WHERE lane.id = %(lane)s AND agent.id = lane.agent_id",
        tests=(LANE_TESTS + "test_who_lost_the_lane_takes_no_turn_from_it_and_does_not_release_it",),
    ),
    Mutation(
        name="token of a turn that a process of its own reads",
        breaks=ONE_HOLDER,
        file=LANES,
        old="WHERE id = %(lane)s AND lease_token = %(token)s\n    RETURNING id, lease_token, bucket_count",
        new="WHERE id = %(lane)s\n    RETURNING id, lease_token, bucket_count",
        tests=(LANE_TESTS + "test_who_lost_the_lane_takes_no_turn_from_it_and_does_not_release_it",),
    ),
    Mutation(
        name="token of a release",
        breaks="a lane is released by its holder alone",
        file=LANES,
        old='WHERE id = %(lane)s AND lease_token = %(token)s\n"""\n"""Releases a lane whatever',
        new='WHERE id = %(lane)s\n"""\n"""Releases a lane whatever',
        tests=(LANE_TESTS + "test_who_lost_the_lane_takes_no_turn_from_it_and_does_not_release_it",),
    ),
    Mutation(
        name="token of the release of an empty lane",
        breaks="a lane is released by its holder alone",
        file=LANES,
        old="WHERE lane.id = %(lane)s AND lane.lease_token = %(token)s\n  AND NOT EXISTS",
        new="WHERE lane.id = %(lane)s\n  AND NOT EXISTS",
        tests=(LANE_TESTS + "test_a_lane_with_an_open_turn_is_not_released",),
    ),
    Mutation(
        name="claim of a lane that is held",
        breaks="a lane's messages run one at a time",
        file=LANES,
        old="AND (lane.lease_until IS NULL OR lane.lease_until < clock_timestamp())\n"
        "      AND lane.next_run_at <= clock_timestamp()\n      AND EXISTS",
        new="AND lane.next_run_at <= clock_timestamp()\n      AND EXISTS",
        tests=(LANE_TESTS + "test_a_claimed_lane_is_not_claimed_again_until_its_lease_ends",),
    ),
    Mutation(
        name="claim without a new token",
        breaks=ONE_HOLDER,
        file=LANES,
        old="lease_token = lane.lease_token + 1",
        new="lease_token = lane.lease_token",
        tests=(LANE_TESTS + "test_a_claimed_lane_is_not_claimed_again_until_its_lease_ends",),
    ),
    Mutation(
        name="newest turn first",
        breaks="a lane's messages are answered in their order",
        file=LANES,
        old="ORDER BY turn.sequence LIMIT 1",
        new="ORDER BY turn.sequence DESC LIMIT 1",
        tests=(WORK + "test_a_lanes_messages_are_answered_in_their_order",),
    ),
    Mutation(
        name="release in one statement after a turn's end",
        breaks="no message is left in a lane without anyone to wake",
        file=TURNS,
        old=END + HELD,
        new=END + UNLOCKED,
        tests=(WORK + "test_a_message_that_is_stored_while_a_turn_ends_is_worked_by_the_same_worker",),
    ),
    Mutation(
        name="release in one statement after a turn is parked",
        breaks="no message is left in a lane without anyone to wake",
        file=TURNS,
        old=PARK + HELD,
        new=PARK + UNLOCKED,
        tests=(
            "tests/agents/test_approvals.py::test_a_message_that_is_stored_while_a_turn_is_parked_is_seen",
        ),
    ),
    Mutation(
        name="letting go of empty lanes only",
        breaks="row lane.before_release: what waits is free for the next",
        file="agents/work.py",
        old="""        if lanes.renew([lease]) and not lanes.release_if_empty(lease):
            lanes.release(lease)""",
        new="        if not lanes.release_if_empty(lease):",
        tests=(WORK + "test_a_lane_whose_agent_is_paused_meanwhile_is_let_go_with_what_waits_in_it",),
    ),
    Mutation(
        name="publish before the commit",
        breaks="a wake-up finds what it is about",
        file="agents/wakeups.py",
        old="transaction.on_commit(partial(wake, name, **arguments))",
        new="wake(name, **arguments)",
        tests=("tests/agents/test_inbox.py::test_the_lane_is_woken_after_the_commit",),
    ),
    Mutation(
        name="handing on before the commit",
        breaks="a wake-up finds what it is about",
        file="agents/wakeups.py",
        old="transaction.on_commit(partial(_hand_on, name, arguments))",
        new="_hand_on(name, arguments)",
        tests=("tests/agents/test_outbox.py::test_a_reply_is_handed_on_after_the_commit",),
    ),
    Mutation(
        name="broker that is asked again at once",
        breaks="a broker that hangs costs a sender 0.5 s, once in a while",
        file="agents/circuits.py",
        old="self._rests_until = time.monotonic() + REST_SECONDS",
        new="self._rests_until = 0.0",
        tests=(
            "tests/agents/test_wakeups.py::"
            "test_a_broker_that_does_not_take_it_costs_little_once_and_nothing_for_a_while",
        ),
    ),
    Mutation(
        name="dispatcher that never looks at lanes",
        breaks="row wakeup.before_publish: the dispatcher finds it",
        file="agents/dispatcher.py",
        old="*lanes.find_due(limit=BATCH, patience_seconds=settings.DISPATCH_PERIOD_SECONDS),",
        new="",
        tests=(DISPATCHER + "test_what_is_due_is_handed_out_by_name",),
    ),
    Mutation(
        name="message that says that its lane was just told of",
        breaks="without broker and beat all is worked",
        file="agents/inbox.py",
        old="    SET last_sequence = lane.last_sequence + 1,\n",
        new="    SET last_sequence = lane.last_sequence + 1, woke_at = clock_timestamp(),\n",
        tests=(LANE_TESTS + "test_who_goes_on_talking_is_found_as_well",),
    ),
    Mutation(
        name="dispatcher that is told of each message at once",
        breaks="what a wake-up is on its way for is left to it",
        file=LANES,
        old="\n                        AND turn.received_at < clock_timestamp() - make_interval(secs => %(patience)s))",
        new=")",
        tests=(LANE_TESTS + "test_a_message_after_long_silence_is_left_to_its_wake_up",),
    ),
    Mutation(
        name="dispatcher that never looks at deliveries",
        breaks="row turn.after_commit: the dispatcher finds it",
        file="agents/dispatcher.py",
        old="in outbox.find_due(BATCH)",
        new="in ()",
        tests=(DISPATCHER + "test_what_is_due_is_handed_out_by_name",),
    ),
    Mutation(
        name="dispatcher that never looks at evaluations",
        breaks="row evaluation.claimed: the dispatcher finds it",
        file="agents/dispatcher.py",
        old="in evaluation.find_due(BATCH)",
        new="in ()",
        tests=(EVALUATION + "test_the_dispatcher_hands_out_an_evaluation_that_was_left_behind",),
    ),
    Mutation(
        name="dispatcher that needs the broker",
        breaks="without broker and beat all is worked",
        file="agents/dispatcher.py",
        old="        _executor().submit(_work, name, arguments)",
        new="        return",
        tests=(DISPATCHER + "test_without_a_broker_the_dispatcher_works_by_itself",),
    ),
    Mutation(
        name="dispatcher that waits for a dead holder's lane",
        breaks="row lane.claimed: it is found after the lease ran out",
        file=LANES,
        old="AND (lane.lease_until IS NULL OR lane.lease_until < clock_timestamp())\n"
        "      AND lane.next_run_at <= clock_timestamp() AND agent.status",
        new="AND lane.lease_until IS NULL\n      AND lane.next_run_at <= clock_timestamp() AND agent.status",
        tests=(LANE_TESTS + "test_a_lane_whose_holder_died_is_found_when_its_lease_is_over",),
    ),
    Mutation(
        name="heartbeat that never renews",
        breaks="a lease lives as long as its turn is worked",
        file="agents/processes/keeper.py",
        old="        self._renew(watches)\n",
        new="",
        tests=(KEEPER + "test_a_lease_is_renewed_a_loss_noticed_and_a_stop_heard",),
    ),
    Mutation(
        name="heartbeat that renews what others hold",
        breaks="a lease is renewed by its holder alone",
        file=LANES,
        old="JOIN asked ON asked.id = lane.id AND asked.token = lane.lease_token",
        new="JOIN asked ON asked.id = lane.id",
        tests=(LANE_TESTS + "test_a_heartbeat_leaves_the_lease_of_another_as_it_is",),
    ),
    Mutation(
        name="heartbeat that waits for locks",
        breaks="one lane's locked row costs no other lane its lease",
        file=LANES,
        old="FOR NO KEY UPDATE OF lane SKIP LOCKED",
        new="FOR NO KEY UPDATE OF lane",
        tests=(KEEPER + "test_one_locked_lane_costs_the_others_no_lease",),
    ),
    Mutation(
        name="holder that trusts its lease for ever",
        breaks="who was paused past the lease starts nothing",
        file="agents/processes/keeper.py",
        old="if time.monotonic() - self.renewed_at > self.lease_seconds() * (1 - MARGIN):",
        new="if self.renewed_at < 0:",
        tests=(KEEPER + "test_a_holder_that_was_paused_past_its_lease_knows_it_by_itself",),
    ),
    Mutation(
        name="model that is asked after the lease",
        breaks="who was paused past the lease starts nothing",
        file="agents/asking.py",
        old="    keeper.require_held(scene.turn.lease)\n",
        new="",
        tests=("tests/agents/test_asking.py::test_no_model_is_asked_once_the_lease_may_be_over",),
    ),
    Mutation(
        name="token of an evaluation's end",
        breaks=ONE_HOLDER,
        file="agents/learning/evaluation.py",
        old="pk=turn.id, evaluation=Turn.Evaluation.DUE, evaluation_token=turn.evaluation_token",
        new="pk=turn.id, evaluation=Turn.Evaluation.DUE",
        tests=(EVALUATION + "test_a_stale_holder_writes_nothing",),
    ),
    Mutation(
        name="claim of an evaluation that is held",
        breaks="a turn is evaluated by one at a time, in the lane's order",
        file="agents/learning/evaluation.py",
        old="WHERE turn.id = head.id\n"
        "      AND (turn.evaluation_lease_until IS NULL OR turn.evaluation_lease_until < clock_timestamp())",
        new="WHERE turn.id = head.id",
        tests=(EVALUATION + "test_the_second_turn_waits_while_the_first_is_held",),
    ),
    Mutation(
        name="learning outside of the evaluation's transaction",
        breaks="row evaluation.before_commit: learnt once",
        file="agents/learning/evaluation.py",
        old="""    with transaction.atomic():
        if not _end(turn, state):
            raise Fenced(f"The evaluation of {turn.id} is no longer held by {turn.evaluation_token}.")
        for apply in results:
            apply()
""",
        new="""    for apply in results:
        apply()
    with transaction.atomic():
        if not _end(turn, state):
            raise Fenced(f"The evaluation of {turn.id} is no longer held by {turn.evaluation_token}.")
""",
        tests=(EVALUATION + "test_a_stale_holder_writes_nothing",),
    ),
    Mutation(
        name="evaluation that is tried for ever",
        breaks="an evaluation that kills its workers is given up",
        file="agents/learning/evaluation.py",
        old="if turn.evaluation_attempts > MAX_ATTEMPTS:",
        new="if turn.evaluation_attempts > 99:",
        tests=(EVALUATION + "test_an_evaluation_that_kills_its_workers_is_given_up_and_the_next_goes_on",),
    ),
)
