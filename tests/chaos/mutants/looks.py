"""Faults in looks at conversations: what is learnt twice, lost, or by who no longer holds the look."""

from __future__ import annotations

from tests.chaos.mutants.shape import Mutation

CONVERSATIONS, LEARNING = "memory/conversations.py", "agents/learning/applying.py"
REFLECTION = "tests/agents/learning/test_reflection.py::"
LEARNT_ONCE = "what is said is learnt from once, whoever dies"
TOLD_ALONE = "nothing of one room shows in another"

MUTATIONS = (
    Mutation(
        name="token of a look's end",
        breaks=LEARNT_ONCE,
        file=CONVERSATIONS,
        old="WHERE id = %(conversation)s AND lease_token = %(token)s\nRETURNING look_at",
        new="WHERE id = %(conversation)s AND lease_token >= 0 * %(token)s\nRETURNING look_at",
        tests=("tests/memory/test_conversations.py::test_a_look_that_is_begun_again_has_the_same_messages",),
    ),
    Mutation(
        name="token of a recorded answer",
        breaks="an answer is recorded by who holds the evaluation",
        file="agents/questions.py",
        old="            self._guard()\n",
        new="            pass\n",
        tests=(
            "tests/agents/test_questions.py::"
            "test_an_answer_is_not_recorded_by_who_does_not_hold_the_evaluation",
            REFLECTION + "test_a_holder_that_lost_its_lease_writes_nothing",
        ),
    ),
    Mutation(
        name="claim of a look that is held",
        breaks="a conversation is looked at by one at a time",
        file=CONVERSATIONS,
        old="WHERE id = %(conversation)s AND look_at <= clock_timestamp()\n"
        "  AND (lease_until IS NULL OR lease_until < clock_timestamp())",
        new="WHERE id = %(conversation)s AND look_at <= clock_timestamp()",
        tests=(REFLECTION + "test_a_look_in_somebodys_hands_is_not_taken",),
    ),
    Mutation(
        name="messages of a look that change",
        breaks="a recorded answer's numbers mean what they meant",
        file=CONVERSATIONS,
        old="in_hand = CASE WHEN in_hand > 0 THEN in_hand ELSE least(cardinality(unseen), %(messages)s) END",
        new="in_hand = least(cardinality(unseen), %(messages)s)",
        tests=(
            "tests/memory/test_conversations.py::test_a_look_that_is_begun_again_keeps_fewer_than_may_be_had",
        ),
    ),
    Mutation(
        name="recorded answer of an evaluator that is asked for again",
        breaks="what was answered is not asked again",
        file="agents/questions.py",
        old="        if earlier is not None:\n",
        new="        if earlier is None and self._is_over:\n",
        tests=(REFLECTION + "test_a_worker_that_dies_at_any_point_has_it_learnt_once",),
    ),
    Mutation(
        name="remainder that nobody finds",
        breaks="what is left is reflected on at a pause",
        file=CONVERSATIONS,
        old="        THEN heard_at + make_interval(secs => %(pause)s) END\nWHERE",
        new="        THEN NULL::timestamptz + make_interval(secs => %(pause)s) END\nWHERE",
        tests=(
            REFLECTION
            + "test_what_is_left_is_reflected_on_when_the_conversation_pauses_and_the_dispatcher_finds_it",
        ),
    ),
    Mutation(
        name="subject from anywhere",
        breaks="whom a fact is about is found in the conversation alone",
        file=LEARNING,
        old="        is_known = effect.subject_id is None or effect.subject_id in people\n",
        new="        is_known = True\n        people = {**people, effect.subject_id: effect.subject_id}\n",
        tests=(
            "tests/agents/learning/test_applying.py::test_whoever_is_not_in_the_conversation_is_not_learnt_of",
        ),
    ),
    Mutation(
        name="facts merged over places",
        breaks=TOLD_ALONE,
        file="memory/fact_rows.py",
        old='    "room": "AND memory.room_id = %(room)s",\n    "person": "AND memory.person_id = %(person)s",\n',
        new='    "room": "",\n    "person": "",\n',
        tests=(
            "tests/memory/test_facts.py::test_the_same_words_in_the_same_scope_are_the_same_fact",
            "tests/memory/test_facts.py::test_a_fact_of_one_group_ends_none_of_another",
        ),
    ),
    Mutation(
        name="relationships told everywhere",
        breaks=TOLD_ALONE,
        file="memory/relationships.py",
        old="AND user_a_id = {{person}} AND room_id IS NULL",
        new="AND user_a_id = {{person}}",
        tests=(REFLECTION + "test_what_was_learnt_of_people_in_one_room_is_not_told_in_another",),
    ),
)
