"""Faults in what people and operators see: what they send, stop, interrupt and collect; dead letters, SIGTERM."""

from __future__ import annotations

from tests.chaos.mutants.shape import Mutation

INBOX = "tests/agents/test_inbox.py::"
DEPARTURES = "tests/agents/processes/test_departures.py::"
INTERRUPTING = "tests/agents/test_interrupting.py::"
COLLECTING = "tests/agents/test_collecting.py::"
SUSPECTS = "tests/agents/processes/test_suspects.py::"
NURSERY = "tests/agents/processes/test_nursery.py::"
WORKING = "tests/agents/test_work.py::"

STORED_ONCE = "what was acknowledged is stored, once"
NOTHING_COUNTS = "a worker's end counts nothing against a turn"
SAME_SET = "a turn that is taken again answers the same messages"
INNOCENT = "an innocent message becomes no dead letter"
SEEN = "what has been seen is not taken back"

STORE = """\
            cursor.execute(statement, parameters)
            row: tuple[Any, ...] | None = cursor.fetchone()
"""
KEEP_OPEN = """\
            is_alone = not connection.in_atomic_block
            if is_alone:
                connection.connection.autocommit = False
            cursor.execute(statement, parameters)
            row: tuple[Any, ...] | None = cursor.fetchone()
            if is_alone and row is None:
                connection.connection.rollback()
                connection.connection.autocommit = True
"""
"""What is stored is left without its commit, behind Django's back."""

MUTATIONS = (
    Mutation(
        name="second copy under an id of its own",
        breaks=f"row inbox.after_commit: {STORED_ONCE}",
        file="agents/inbox.py",
        old="           %(external_id)s, %(reply_to)s,",
        new="           %(external_id)s::text || (%(message)s::uuid)::text, %(reply_to)s,",
        tests=(INBOX + "test_a_second_copy_changes_nothing_and_is_told_so",),
    ),
    Mutation(
        name="second copy that is told as new",
        breaks=f"row inbox.after_commit: {STORED_ONCE}",
        file="agents/inbox.py",
        old="        is_new=False,\n",
        new="        is_new=True,\n",
        tests=(INBOX + "test_a_second_copy_changes_nothing_and_is_told_so",),
    ),
    Mutation(
        name="answer to the sender before the commit",
        breaks=f"row inbox.before_commit: {STORED_ONCE}",
        file="agents/inbox.py",
        old=STORE,
        new=KEEP_OPEN,
        tests=(INBOX + "test_what_was_acknowledged_and_woken_for_is_there_for_everyone",),
    ),
    Mutation(
        name="suspects that count as crashes",
        breaks=INNOCENT,
        file="agents/lanes.py",
        old="        take_count = turn.take_count + 1,\n",
        new="        take_count = turn.take_count + 1,\n"
        "        crash_count = turn.crash_count + CASE WHEN turn.state = 'running' THEN 1 ELSE 0 END,\n",
        tests=(SUSPECTS + "test_who_was_there_twice_is_worked_alone_and_no_death_beside_others_counts",),
    ),
    Mutation(
        name="failure in unstorable words",
        breaks="every message reaches a final state",
        file="agents/turns.py",
        old="        error=clean_text(error),\n        errors=int(",
        new="        error=error,\n        errors=int(",
        tests=(WORKING + "test_a_failure_that_is_told_in_unstorable_words_counts_like_any_other",),
    ),
    Mutation(
        name="failure that nobody expected and nobody counts",
        breaks="every message reaches a final state",
        file="agents/work.py",
        old="        return _fail_plainly(turn, error)\n",
        new="        return True\n",
        tests=(WORKING + "test_what_fails_where_nobody_expected_it_has_an_end_too",),
    ),
    Mutation(
        name="lane that is let go without waking",
        breaks="no message is left in a lane without anyone to wake",
        file="agents/work.py",
        old="            # Whoever was woken for what came in meanwhile found the lane held.\n"
        '            wake_after_commit("agents.drain_lane", lane_id=str(lease.lane_id))\n',
        new="",
        tests=(WORKING + "test_who_was_woken_while_a_lane_was_let_go_is_woken_again",),
    ),
    Mutation(
        name="suspect that waits and hears no stop",
        breaks='"stop" ends a turn within two seconds',
        file="agents/processes/suspects.py",
        old="if watch.is_cancelled() or shutdown.is_begun():",
        new="if watch.is_lost or shutdown.is_begun():",
        tests=(SUSPECTS + "test_a_suspect_that_waits_for_a_place_hears_a_stop",),
    ),
    Mutation(
        name="places for suspects without a bound",
        breaks="at most SUSPECT_PROCESSES run at once",
        file="agents/processes/suspects.py",
        old="    return threading.Semaphore(settings.SUSPECT_PROCESSES)",
        new="    return threading.Semaphore(100)",
        tests=(SUSPECTS + "test_no_more_suspects_run_at_once_than_may",),
    ),
    Mutation(
        name="nursery that keeps its parent's end open",
        breaks="a nursery ends with its worker",
        file="agents/processes/nursery.py",
        old="        for end in (*own, *others):\n",
        new="        for end in own:\n",
        tests=(NURSERY + "test_it_ends_with_its_parent_and_is_asked_nothing_afterwards",),
    ),
    Mutation(
        name="suspect that is deaf for SIGTERM",
        breaks="told to end, a suspect gives its turn back",
        file="agents/processes/nursery.py",
        old="    signal.pthread_sigmask(signal.SIG_UNBLOCK, END_SIGNALS)\n",
        new="",
        tests=(NURSERY + "test_a_child_hears_sigterm_and_the_nursery_does_not",),
    ),
    Mutation(
        name="suspect without a limit of its own",
        breaks="a frozen suspect ends, also without its worker",
        file="agents/processes/nursery.py",
        old="    signal.setitimer(signal.ITIMER_REAL, LIMIT_SECONDS + OWN_LIMIT_SECONDS)\n",
        new="",
        tests=(NURSERY + "test_a_child_that_hears_nothing_is_ended_by_the_kernel_also_without_its_parents",),
    ),
    Mutation(
        name="suspect that ends without its word",
        breaks="an innocent message becomes no dead letter",
        file="agents/processes/nursery.py",
        old='        _tell(answers, f"said {key} {word}")\n',
        new="",
        tests=(NURSERY + "test_a_child_says_how_its_turn_went_and_its_end_is_told",),
    ),
    Mutation(
        name="worker that a thread with a lost turn keeps",
        breaks="told to end, a worker ends within 17 s",
        file="agents/processes/departures.py",
        old="    if is_held:\n",
        new="    if count:\n",
        tests=(
            "tests/agents/processes/test_departures.py::"
            "test_a_thread_that_hangs_with_a_turn_that_others_took_keeps_no_process",
        ),
    ),
    Mutation(
        name="suspects that are worked beside others",
        breaks=INNOCENT,
        file="agents/processes/suspects.py",
        old="    return turn.suspect_count >= SHARED_CRASHES or turn.crash_count > 0",
        new="    return turn.crash_count > 0",
        tests=(SUSPECTS + "test_who_was_there_twice_is_worked_alone_and_no_death_beside_others_counts",),
    ),
    Mutation(
        name="death that nobody saw, counted",
        breaks=INNOCENT,
        file="agents/processes/suspects.py",
        old="    if verdict.end == End.UNKNOWN:\n",
        new="    if not verdict.end:\n",
        tests=(SUSPECTS + "test_a_death_that_nobody_saw_counts_nothing_and_leaves_the_turn_to_its_lease",),
    ),
    Mutation(
        name="death alone that counts nothing",
        breaks="a message that kills its process becomes a dead letter",
        file="agents/processes/suspects.py",
        old="_put_back(turn, verdict.reason, is_crash=True, delay",
        new="_put_back(turn, verdict.reason, is_crash=False, delay",
        tests=(SUSPECTS + "test_deaths_alone_make_a_dead_letter_with_one_apology_and_the_lane_goes_on",),
    ),
    Mutation(
        name="dead letter that holds up its lane",
        breaks="a dead letter's lane goes on",
        file="agents/work.py",
        old='{"detail": "No answer could be made."})\n    log.error("turn_dead", error=reason)\n    return is_released',
        new='{"detail": "No answer could be made."})\n    log.error("turn_dead", error=reason)\n    return True',
        tests=("tests/agents/test_work.py::test_a_dead_letter_does_not_hold_up_its_lane",),
    ),
    Mutation(
        name="apology that is said twice",
        breaks="one apology for a dead letter, ever",
        file="agents/work.py",
        old="        if not turn.said_count:\n            outbox.put(destination_of(turn), [Reply(text=facts",
        new="        if turn.said_count >= 0:\n            outbox.put(destination_of(turn), [Reply(text=facts",
        tests=(
            "tests/agents/test_dead_letters.py::"
            "test_a_turn_that_dies_again_says_nothing_more_and_can_be_retried_again",
        ),
    ),
    Mutation(
        name="SIGTERM that counts",
        breaks=NOTHING_COUNTS,
        file="agents/work.py",
        old='        turns.put_back(turn, error="", is_counted=False)\n',
        new='        turns.put_back(turn, error="")\n',
        tests=(DEPARTURES + "test_a_turn_that_takes_longer_than_the_grace_is_given_back_uncounted",),
    ),
    Mutation(
        name="SIGTERM that counts against the deaf",
        breaks=NOTHING_COUNTS,
        file="agents/turns.py",
        old='_execute_held(PUT_BACK, turn_id, lease, error="", errors=0, crashes=0)',
        new='_execute_held(PUT_BACK, turn_id, lease, error="", errors=0, crashes=1)',
        tests=(
            DEPARTURES + "test_a_turn_that_does_not_listen_is_given_back_for_it_and_can_write_nothing_more",
        ),
    ),
    Mutation(
        name="SIGTERM that counts against suspects",
        breaks=NOTHING_COUNTS,
        file="agents/processes/suspects.py",
        old="    if shutdown.is_begun() or verdict.end == End.KILLED:\n"
        "        # Told to end, others end too, and some in haste.\n"
        '        return _put_back(turn, "")\n',
        new="",
        tests=(SUSPECTS + "test_a_death_while_this_process_is_to_end_counts_nothing",),
    ),
    Mutation(
        name="lane that is claimed after SIGTERM",
        breaks="told to end, a worker takes nothing new",
        file="agents/work.py",
        old="    if shutdown.is_begun():\n        wake(",
        new="    if not lane_id:\n        wake(",
        tests=(DEPARTURES + "test_no_lane_is_claimed_any_more_and_its_wake_up_is_handed_on",),
    ),
    Mutation(
        name="next turn that is taken after SIGTERM",
        breaks="told to end, a worker takes nothing new",
        file="agents/work.py",
        old="        if is_over or shutdown.is_begun():\n",
        new="        if is_over:\n",
        tests=(DEPARTURES + "test_the_turn_in_hand_is_finished_and_the_next_is_left_to_another",),
    ),
    Mutation(
        name="stop that is not heard",
        breaks="a person's stop ends a running turn",
        file="agents/processes/keeper.py",
        old="watch.is_stopped = watch.turn_id in stopped",
        new="watch.is_stopped = False",
        tests=(
            "tests/agents/processes/test_keeper.py::test_a_lease_is_renewed_a_loss_noticed_and_a_stop_heard",
        ),
    ),
    Mutation(
        name="stop that is not obeyed",
        breaks="a person's stop ends a running turn",
        file="agents/processes/keeper.py",
        old="self._is_over = self.is_stopped or gives_way or",
        new="self._is_over = gives_way or",
        tests=(
            "tests/agents/test_stopping.py::test_stop_ends_the_running_turn_and_what_waits_behind_it_goes_on",
        ),
    ),
    Mutation(
        name="interruption of what has spoken",
        breaks=SEEN,
        file="agents/processes/keeper.py",
        old="                self._may_be_interrupted = False\n",
        new="                pass\n",
        tests=(
            INTERRUPTING + "test_a_turn_that_is_ended_says_nothing_and_one_that_has_spoken_is_not_ended",
            INTERRUPTING + "test_text_that_streams_is_outward_and_what_is_ended_shows_none",
        ),
    ),
    Mutation(
        name="words of a turn that is to end",
        breaks="a turn that is to end shows nothing more",
        file="agents/streams.py",
        old="        if event in _OUTWARD and self._may_speak is not None and not self._may_speak():\n"
        "            return\n",
        new="",
        tests=(INTERRUPTING + "test_text_that_streams_is_outward_and_what_is_ended_shows_none",),
    ),
    Mutation(
        name="interruption without end",
        breaks="after three superseded turns one is answered",
        file="agents/processes/keeper.py",
        old="self._may_be_interrupted = turn.interrupt_count < turns.MAX_INTERRUPTS",
        new="self._may_be_interrupted = True",
        tests=(INTERRUPTING + "test_at_most_so_many_turns_in_a_row_make_way",),
    ),
    Mutation(
        name="collected set that is not stored",
        breaks=SAME_SET,
        file="agents/collecting.py",
        old="        Turn.objects.filter(pk=last).update(collected_at=Now(), **counts)\n",
        new="",
        tests=(
            COLLECTING + "test_a_turn_that_is_taken_again_has_the_same_set",
            COLLECTING + "test_a_turn_that_was_picked_alone_stays_alone",
        ),
    ),
    Mutation(
        name="collected set outside of a transaction",
        breaks=SAME_SET,
        file="agents/collecting.py",
        old="    with transaction.atomic():\n        lanes.guard(turn.lease)\n",
        new="    if turn:\n        lanes.guard(turn.lease)\n",
        tests=(COLLECTING + "test_a_death_while_the_set_is_stored_changes_nothing",),
    ),
    Mutation(
        name="token of a collected set",
        breaks="one holder at a time: who lost the lane writes nothing",
        file="agents/collecting.py",
        old="        lanes.guard(turn.lease)\n        chosen",
        new="        chosen",
        tests=(COLLECTING + "test_a_holder_that_lost_its_lease_collects_nothing",),
    ),
    Mutation(
        name="words of a stale worker",
        breaks="token streams show no stale worker's text",
        file="transports/web/events.py",
        old="    is_stale = token < progress.lease_tokens.get(turn, 0)\n",
        new="    is_stale = False\n",
        tests=("tests/transports/web/test_events.py::test_tokens_of_an_older_lease_are_dropped",),
    ),
    Mutation(
        name="second attempt that goes on in the first one's words",
        breaks="token streams show no stale worker's text",
        file="agents/work.py",
        old="            stream.put(StreamEvent.RESET, {})\n",
        new="            pass\n",
        tests=("tests/agents/test_streams.py::test_a_turn_that_is_taken_again_resets_the_page",),
    ),
)
