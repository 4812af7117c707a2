"""Faults in a turn's checkpoints: steps, effects, outward actions, approvals, the reply and its delivery's row."""

from __future__ import annotations

from tests.chaos.mutants.shape import Mutation

ACT = "agents/pipeline/act.py"
APPROVALS = "agents/approvals.py"
ACTING = "tests/agents/pipeline/test_act.py::"
FENCES = "tests/agents/pipeline/test_fences.py::"
CHECKPOINTS = "tests/agents/pipeline/test_checkpoints.py::"
APPROVING = "tests/agents/test_approvals.py::"
OUTBOX = "tests/agents/test_outbox.py::"

ASKED_ONCE = "a recorded answer of a model is never asked for again"
ONE_HOLDER = "one holder at a time: who lost the lane writes nothing"
EFFECTS_ONCE = "effects on the database are done exactly once"
DONE_ONCE = "an outward action that may have been done is not repeated"
ONE_WORD = "an approval serves one run of one thing"

SAVE = """            with trace.saving():
                lanes.guard(scene.turn.lease)
                if not is_marked:
                    use_word()
                _apply(scene, found, named, result)
"""
MARK = """                with trace.saving(also=step):
                    lanes.guard(scene.turn.lease)
                    use_word()
"""

MUTATIONS = (
    Mutation(
        name="effects outside of the step's transaction",
        breaks=f"row action.saved: {EFFECTS_ONCE}",
        file=ACT,
        old=SAVE,
        new="            _apply(scene, found, named, result)\n"
        + SAVE.replace("                _apply(scene, found, named, result)\n", ""),
        tests=(FENCES + "test_effects_are_undone_where_their_step_could_not_be_saved",),
    ),
    Mutation(
        name="token of an action's end",
        breaks=ONE_HOLDER,
        file=ACT,
        old=SAVE,
        new=SAVE.replace("                lanes.guard(scene.turn.lease)\n", ""),
        tests=(FENCES + "test_a_holder_that_lost_its_lease_applies_no_effects",),
    ),
    Mutation(
        name="token of an action's mark",
        breaks=ONE_HOLDER,
        file=ACT,
        old=MARK,
        new=MARK.replace("                    lanes.guard(scene.turn.lease)\n", ""),
        tests=(FENCES + "test_a_holder_that_lost_its_lease_begins_no_outward_action",),
    ),
    Mutation(
        name="token of an answer that is saved",
        breaks=ONE_HOLDER,
        file=ACT,
        old="        with trace.saving():\n            lanes.guard(scene.turn.lease)\n",
        new="        with trace.saving():\n            pass\n",
        tests=(FENCES + "test_a_holder_that_lost_its_lease_saves_no_answer",),
    ),
    Mutation(
        name="action that begins after the lease",
        breaks="who was paused past the lease starts nothing",
        file=ACT,
        old="            keeper.require_held(scene.turn.lease)\n",
        new="",
        tests=(FENCES + "test_a_worker_that_was_paused_past_its_lease_runs_no_action",),
    ),
    Mutation(
        name="answer that is not saved before its actions",
        breaks=f"row answer.saved: {ASKED_ONCE}",
        file=ACT,
        old="    if not is_plain:\n",
        new="    if not chosen:\n",
        tests=(FENCES + "test_an_answer_is_recorded_before_its_first_action",),
    ),
    Mutation(
        name="mark of an outward action that is not saved",
        breaks=f"row action.started: {DONE_ONCE}",
        file=ACT,
        old="with trace.saving(also=step):",
        new="with trace.saving():",
        tests=(
            APPROVING + "test_death_between_the_mark_and_the_action_leaves_it_uncertain",
            ACTING + "test_an_outward_action_that_may_have_been_done_waits_for_a_person",
        ),
    ),
    Mutation(
        name="uncertain action that runs again",
        breaks=f"row action.done: {DONE_ONCE}",
        file=ACT,
        old="        if action.idempotent:\n",
        new="        if action.works_outward:\n",
        tests=(ACTING + "test_an_outward_action_that_may_have_been_done_waits_for_a_person",),
    ),
    Mutation(
        name="dangerous action that runs unasked",
        breaks="a dangerous action waits for a person",
        file=ACT,
        old="    elif action.dangerous and is_allowed(found, scene):",
        new="    elif action.dangerous and not is_allowed(found, scene):",
        tests=(APPROVING + "test_a_dangerous_action_is_offered_and_asked_for_instead_of_run",),
    ),
    Mutation(
        name="finished actions that are run again",
        breaks="row action.saved: an action that finished is not done again",
        file=ACT,
        old="    if earlier is not None and earlier.state in FINISHED:\n        return _result_from(earlier)\n",
        new="",
        tests=(ACTING + "test_a_finished_action_is_not_done_twice_and_the_answer_not_asked_for_again",),
    ),
    Mutation(
        name="finished steps that are ignored",
        breaks=f"row answer.saved: {ASKED_ONCE}",
        file="agents/trace.py",
        old="    if not is_second_attempt:\n",
        new="    if turn_id:\n",
        tests=(CHECKPOINTS + "test_an_answer_whose_turn_could_not_be_ended_is_not_asked_for_again",),
    ),
    Mutation(
        name="recorded answer that is asked for again",
        breaks=ASKED_ONCE,
        file="agents/pipeline/generate.py",
        old="    if earlier is not None:\n        return _answer_from(earlier.output)\n",
        new="",
        tests=(CHECKPOINTS + "test_an_answer_whose_turn_could_not_be_ended_is_not_asked_for_again",),
    ),
    Mutation(
        name="recorded judgement that is asked for again",
        breaks=ASKED_ONCE,
        file="agents/pipeline/respond.py",
        old='    if earlier is not None:\n        return bool(earlier.output.get("respond"))\n',
        new="",
        tests=(CHECKPOINTS + "test_a_model_that_judged_whether_to_answer_is_not_asked_again",),
    ),
    Mutation(
        name="answer that is lost with a failed end",
        breaks=ASKED_ONCE,
        file="agents/trace.py",
        old="            self._unsaved, self._unsaved_calls = steps, calls\n",
        new="",
        tests=(CHECKPOINTS + "test_an_answer_whose_turn_could_not_be_ended_is_not_asked_for_again",),
    ),
    Mutation(
        name="reply outside of the end's transaction",
        breaks="row turn.before_commit: a reply and its turn's end are one",
        file="agents/pipeline/reply.py",
        old="""    with trace.saving():
        turns.end(""",
        new="""    message_ids = outbox.put(destination_of(turn), replies)
    with trace.saving():
        turns.end(""",
        tests=("tests/agents/test_work.py::test_a_holder_that_lost_its_lease_can_change_nothing",),
    ),
    Mutation(
        name="reply's place that gives way",
        breaks="a turn's reply has one place, and is written once",
        file="agents/outbox.py",
        old="'{}'::jsonb, %(turn)s::uuid, part.position, clock_timestamp()",
        new="'{}'::jsonb, %(turn)s::uuid, part.position + (SELECT count(*) FROM agents_message"
        " WHERE turn_id = %(turn)s::uuid), clock_timestamp()",
        tests=(OUTBOX + "test_a_turn_says_each_part_of_its_reply_once",),
    ),
    Mutation(
        name="ended turn that is put back",
        breaks="a COMMIT whose answer was lost is not assumed undone",
        file="agents/turns.py",
        old="crash_count = crash_count + %(crashes)s\nWHERE id = %(turn)s AND state = 'running'",
        new="crash_count = crash_count + %(crashes)s\nWHERE id = %(turn)s",
        tests=(
            "tests/agents/processes/test_outages.py::test_a_commit_whose_answer_was_lost_is_read_again_and_not_assumed",
        ),
    ),
    Mutation(
        name="outage that counts",
        breaks="an outage is no fault of a message",
        file="agents/processes/outages.py",
        old="turns.put_back(turn, error=reason, is_counted=False)",
        new="turns.put_back(turn, error=reason)",
        tests=(
            "tests/agents/processes/test_outages.py::test_a_connection_that_is_cut_while_the_turn_ends_costs_no_attempt",
        ),
    ),
    Mutation(
        name="rate limit that counts",
        breaks="waiting as a server asks is no attempt",
        file="agents/work.py",
        old='turns.put_back(turn, error=f"Waits: {error}", is_counted=False)',
        new='turns.put_back(turn, error=f"Waits: {error}")',
        tests=(
            "tests/agents/test_work.py::"
            "test_waiting_for_a_rate_limit_lasts_as_long_as_the_server_says_and_never_counts",
        ),
    ),
    Mutation(
        name="approval that is used twice",
        breaks=ONE_WORD,
        file=APPROVALS,
        old="WHERE id = %(id)s AND state = 'granted' AND used_at IS NULL AND",
        new="WHERE id = %(id)s AND state = 'granted' AND",
        tests=(APPROVING + "test_arguments_are_the_same_by_their_values",),
    ),
    Mutation(
        name="approval that is found after its use",
        breaks=ONE_WORD,
        file=APPROVALS,
        old="WHERE state <> 'pending' AND used_at IS NULL",
        new="WHERE state <> 'pending'",
        tests=(APPROVING + "test_arguments_are_the_same_by_their_values",),
    ),
    Mutation(
        name="approval for other arguments",
        breaks=ONE_WORD,
        file=APPROVALS,
        old="AND used_at IS NULL AND argument_hash = {HASH}",
        new="AND used_at IS NULL",
        tests=(APPROVING + "test_arguments_are_the_same_by_their_values",),
    ),
    Mutation(
        name="word that is not used up by its mark",
        breaks=ONE_WORD,
        file=ACT,
        old=MARK,
        new=MARK.replace("                    use_word()\n", ""),
        tests=(APPROVING + "test_a_granted_action_runs_once_and_the_answer_is_not_asked_for_again",),
    ),
    Mutation(
        name="decision that is made twice",
        breaks="a decision is made once",
        file=APPROVALS,
        old="WHERE id = %(id)s AND state = 'pending' AND (expires_at",
        new="WHERE id = %(id)s AND (expires_at",
        tests=(APPROVING + "test_a_decision_is_made_once",),
    ),
    Mutation(
        name="approval that nobody looks after",
        breaks="what nobody decided in time is refused",
        file="agents/dispatcher.py",
        old="            *approvals.expire_due(BATCH),\n",
        new="",
        tests=(APPROVING + "test_what_nobody_decided_in_time_comes_back_as_refused",),
    ),
)
