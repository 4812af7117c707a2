"""Faults in what keeps people apart, and in how a person is forgotten."""

from __future__ import annotations

from tests.chaos.mutants.shape import Mutation

ISOLATION = "tests/agents/test_isolation.py::test_no_prompt_holds_what_may_not_surface_there"
SEALING = "tests/agents/forgetting/test_sealing.py::"
WORKING = "tests/agents/forgetting/test_working.py::"
SECOND = "tests/memory/stores/test_row_security.py::"
NOTHING_LEFT = "tests/agents/forgetting/test_nothing_is_left.py::"

APART = "what was said in private surfaces nowhere else"
BEHIND = "what the query lets through, PostgreSQL holds back"
GONE = "nothing of a forgotten person is left"

MUTATIONS = (
    Mutation(
        name="private memories in every room of their person",
        breaks=APART,
        file="memory/querysets.py",
        old='        scopes.append(Q(is_private_room_of(person_id, room_id), scope="person", person_id=person_id))',
        new='        scopes.append(Q(scope="person", person_id=person_id))',
        tests=(ISOLATION,),
    ),
    Mutation(
        name="private rooms that others are in",
        breaks=APART,
        file="memory/querysets.py",
        old="    return Exists(rooms.filter(~Exists(others), id=room_id, type__in=PRIVATE_ROOM_TYPES))",
        new="    return Exists(rooms.filter(id=room_id, type__in=PRIVATE_ROOM_TYPES))",
        tests=(ISOLATION,),
    ),
    Mutation(
        name="what plugins keep for others",
        breaks=APART,
        file="agents/states.py",
        old="        in_scope |= Q(room__isnull=True, person_id=Subquery(stands_for))",
        new="        in_scope |= Q(room__isnull=True)",
        tests=(ISOLATION,),
    ),
    Mutation(
        name="relationships of every room",
        breaks=APART,
        file="memory/relationships.py",
        old="        WHERE agent_id = {{agent}} AND room_id = {{room}} AND {{person}} IN (user_a_id, user_b_id)",
        new="        WHERE agent_id = {{agent}} AND room_id IS NOT NULL AND {{person}} IN (user_a_id, user_b_id)",
        tests=(ISOLATION,),
    ),
    Mutation(
        name="policy that knows no privacy",
        breaks=BEHIND,
        file="memory/stores/wall.py",
        old="        WHEN 'person' THEN person_id = nullif(current_setting('eliza.alone_with', true), '')::uuid",
        new="        WHEN 'person' THEN true",
        tests=(SECOND + "test_with_the_first_wall_down_nothing_leaks_while_the_second_stands",),
    ),
    Mutation(
        name="policy that takes any room for private",
        breaks=BEHIND,
        file="memory/stores/wall.py",
        old="          AND person.id <> {{person}} AND person.merged_into_id IS DISTINCT FROM {{person}}",
        new="          AND false",
        tests=(SECOND + "test_a_private_room_in_which_another_human_listens_is_not_private",),
    ),
    Mutation(
        name="words that are read past the second wall",
        breaks=BEHIND,
        file="memory/stores/postgres_recall.py",
        old="is_walled=row_security.stands()",
        new="is_walled=False",
        tests=(SECOND + "test_with_the_first_wall_down_nothing_leaks_while_the_second_stands",),
    ),
    Mutation(
        name="policy that lets goals go everywhere",
        breaks=BEHIND,
        file="memory/stores/wall.py",
        old="        ELSE person_id = ANY (nullif(current_setting('eliza.people', true), '')::uuid[])",
        new="        ELSE true",
        tests=(SECOND + "test_goals_follow_the_room_and_the_people",),
    ),
    Mutation(
        name="goals that are read past the second wall",
        breaks=BEHIND,
        file="memory/goals.py",
        old="    if row_security.stands():",
        new="    if False:",
        tests=(SECOND + "test_with_the_first_wall_down_no_goal_leaks_while_the_second_stands",),
    ),
    Mutation(
        name="lanes that stay the forgotten person's",
        breaks="who writes while a person is forgotten is somebody new",
        file="agents/forgetting/sealing.py",
        old="    SET person_id = pair.ghost, lease_token",
        new="    SET person_id = pair.person, lease_token",
        tests=(SEALING + "test_a_message_that_waits_for_the_lane_as_it_begins_is_somebody_new",),
    ),
    Mutation(
        name="a forgetting that waits for nobody",
        breaks=GONE,
        file="agents/forgetting/quiet.py",
        old="        if not begun and not _leases_stand(forgetting):\n",
        new="        if begun is not None:\n",
        tests=(WORKING + "test_anothers_turn_that_had_read_her_words_is_waited_for_and_cut",),
    ),
    Mutation(
        name="a batch without a look at the lease",
        breaks="a forgetting is worked by one at a time",
        file="agents/forgetting/holding.py",
        old="                self.renew()\n                yield\n",
        new="                yield\n",
        tests=(WORKING + "test_who_lost_the_lease_changes_nothing_more",),
    ),
    Mutation(
        name="traces of others that keep their prompts",
        breaks=GONE,
        file="agents/forgetting/sweeping.py",
        old="    hold.count(prompts=calls.exclude(prompt=[]).update(prompt=[]))\n",
        new="",
        tests=(NOTHING_LEFT + "test_afterwards_it_is_in_no_row_of_any_table",),
    ),
)
