"""Statements for PostgreSQL in SQLite's words: what each rule makes, and what is refused. No database is asked."""

from __future__ import annotations

import pytest

from eliza_site.sqlite.statements import is_ours
from eliza_site.sqlite.translating import Plan, Untranslatable, translate


def words(statement: str) -> str:
    """Return the only step of a statement."""
    (step,) = translate(statement).steps
    return step.sql


def steps(statement: str) -> list[str]:
    return [step.sql for step in translate(statement).steps]


@pytest.mark.parametrize(
    ("statement", "said"),
    [
        ("SELECT clock_timestamp(), now()", "SELECT :now_, :now_"),
        ("SELECT clock_timestamp() + make_interval(secs => %(x)s)", "SELECT TIME_ADD(:now_, (:x))"),
        ("SELECT clock_timestamp() - make_interval(secs => 2)", "SELECT TIME_ADD(:now_, -((2)))"),
        (
            "SELECT extract(epoch FROM clock_timestamp() - lane.woke_at)::float FROM agents_lane AS lane",
            "SELECT CAST(TIME_DIFFERENCE(:now_, lane.woke_at) AS REAL) FROM agents_lane AS lane",
        ),
        (
            "SELECT 1 FROM agents_lane WHERE id = ANY(%(ids)s::uuid[])",
            "SELECT 1 FROM agents_lane WHERE id IN (SELECT value FROM JSON_EACH(:ids))",
        ),
        (
            "SELECT 1 FROM agents_lane WHERE room_id IS NOT DISTINCT FROM %s",
            "SELECT 1 FROM agents_lane WHERE room_id IS :0",
        ),
        ("SELECT greatest(1, NULL), least(1, 2)", "SELECT GREATEST(1, NULL), LEAST(1, 2)"),
        (
            "SELECT id FROM agents_lane ORDER BY id FOR NO KEY UPDATE SKIP LOCKED",
            "SELECT id FROM agents_lane ORDER BY id",
        ),
        (
            "SELECT person_id FROM agents_lane ORDER BY person_id",
            "SELECT person_id FROM agents_lane ORDER BY person_id NULLS LAST",
        ),
        (
            "SELECT unseen[:in_hand], unseen[2:] FROM memory_conversation",
            "SELECT ARRAY_SLICE(unseen, 1, in_hand), ARRAY_SLICE(unseen, 2, NULL) FROM memory_conversation",
        ),
        (
            "UPDATE memory_conversation SET episode_people = '{}' WHERE cardinality(unseen) > 1",
            "UPDATE memory_conversation SET episode_people = JSON_ARRAY() WHERE JSON_ARRAY_LENGTH(unseen) > 1",
        ),
        (
            "SELECT memory.embedding <=> %s::vector FROM memory_memory AS memory",
            "SELECT COSINE_DISTANCE(memory.embedding, VECTOR_BINARY(:0)) FROM memory_memory AS memory",
        ),
        (
            "SELECT bool_or(is_bot) FROM agents_person WHERE name ~ '^x' AND '100%%' <> name",
            "SELECT MAX(is_bot) FROM agents_person WHERE name REGEXP '^x' AND '100%' <> name",
        ),
        (
            "UPDATE plugins_pluginstate AS kept SET state = kept.state || %(new)s::jsonb",
            "UPDATE plugins_pluginstate AS kept SET state = JSONB_CONCAT(kept.state, :new)",
        ),
    ],
)
def test_a_word_of_postgresql_has_its_counterpart(statement: str, said: str) -> None:
    assert words(statement) == said


def test_arrays_are_read_side_by_side() -> None:
    said = words(
        "SELECT held.id FROM unnest(%(ids)s::uuid[], %(tokens)s::bigint[]) WITH ORDINALITY AS held (id, token, place)"
    )
    assert "JSON_EACH(:ids) AS e0_ JOIN JSON_EACH(:tokens) AS e1_ ON e1_.key = e0_.key" in said


def test_the_first_of_each_group_is_chosen_by_its_rank() -> None:
    said = words("SELECT DISTINCT ON (lane_id) lane_id, id FROM agents_turn ORDER BY lane_id, sequence")
    assert "ROW_NUMBER() OVER (PARTITION BY lane_id ORDER BY lane_id, sequence)" in said
    assert said.endswith("WHERE rank_ = 1")


def test_a_change_in_a_common_table_is_a_step_and_its_rows_are_a_parameter() -> None:
    plan = translate(
        "WITH gone AS (DELETE FROM memory_goal WHERE person_id = %(person)s RETURNING id, name)"
        " SELECT count(*) FROM gone"
    )
    assert [step.stores_as for step in plan.steps] == ["rows_of_gone", ""]
    assert plan.steps[0].sql == "DELETE FROM memory_goal WHERE person_id = :person RETURNING id, name"
    assert "FROM JSON_EACH(:rows_of_gone)" in plan.steps[1].sql
    assert (plan.names, plan.types, plan.is_change) == (("*",), ("int",), True)


def test_what_a_later_step_changes_is_read_before_it() -> None:
    said = steps(
        """
        WITH placed AS (SELECT id, last_sequence FROM agents_lane WHERE agent_id = %(agent)s),
        moved AS (UPDATE agents_lane AS lane SET last_sequence = 0 FROM placed WHERE lane.id = placed.id)
        UPDATE agents_turn AS turn SET sequence = placed.last_sequence FROM placed WHERE turn.lane_id = placed.id
        """
    )
    assert said[0].startswith("SELECT id, last_sequence FROM agents_lane")
    assert len(said) == 3
    assert all("JSON_EACH(:rows_of_placed)" in one for one in said[1:])


def test_what_is_only_joined_by_the_change_itself_is_no_step() -> None:
    said = words(
        """
        WITH head AS (SELECT id FROM agents_delivery ORDER BY id LIMIT 1 FOR UPDATE)
        UPDATE agents_delivery AS delivery SET state = 'sending' FROM head WHERE delivery.id = head.id
        """
    )
    assert said.startswith("WITH head AS (SELECT id FROM agents_delivery ORDER BY id LIMIT 1) UPDATE")


def test_a_change_that_returns_what_is_another_tables_is_taken_in_three() -> None:
    pick, change, show = steps(
        """
        UPDATE agents_turn AS turn SET state = 'stopped' FROM agents_room AS room
        WHERE room.id = turn.room_id AND turn.id = %(turn)s RETURNING turn.state, room.platform
        """
    )
    assert pick.startswith("SELECT turn.rowid AS row_, room.platform AS a0_ FROM agents_turn AS turn JOIN")
    assert "turn.rowid IN (SELECT row_ FROM picked_)" in change
    assert "RETURNING" not in change
    assert "SELECT turn.state, picked_.a0_ FROM picked_ JOIN agents_turn AS turn" in show


def test_a_star_that_is_returned_is_the_tables_columns() -> None:
    said = words("UPDATE agents_step AS step SET error = '' RETURNING step.*")
    assert "RETURNING id, turn_id, position, name, state" in said
    assert "*" not in said


def test_what_uses_another_table_is_deleted_by_its_row() -> None:
    said = words(
        "DELETE FROM memory_objective USING memory_goal AS goal WHERE goal.id = memory_objective.goal_id"
    )
    assert said.startswith("DELETE FROM memory_objective WHERE memory_objective.rowid IN (SELECT")


def test_a_conflict_on_a_key_whose_nulls_are_equal_names_the_index() -> None:
    said = words(
        """
        INSERT INTO memory_goal AS kept (id, agent_id, person_id, room_id, name, status, created_at)
        VALUES (%s, %s, %s, %s, %s, 'active', now())
        ON CONFLICT (agent_id, person_id, room_id, name) DO UPDATE SET name = kept.name RETURNING id
        """
    )
    assert "ON CONFLICT(agent_id, COALESCE(person_id, ''), COALESCE(room_id, ''), name)" in said


def test_the_types_of_what_is_shown_are_found_through_tables_queries_and_functions() -> None:
    plan = translate(
        """
        WITH asked AS (SELECT * FROM unnest(%(ids)s::uuid[], %(tokens)s::bigint[]) AS asked (id, token))
        SELECT asked.id, asked.token, turn.received_at, turn.message_id IS NULL AS is_bare,
               coalesce(turn.error, ''), turn.id::text, message.attachments::text, talk.unseen
        FROM asked LEFT JOIN agents_turn AS turn ON turn.id = asked.id
        LEFT JOIN agents_message AS message ON message.id = turn.message_id
        LEFT JOIN memory_conversation AS talk ON talk.room_id = turn.room_id
        """
    )
    assert plan.types == ("uuid", "int", "timestamptz", "bool", "text", "text", "text", "uuid[]")
    assert plan.names[:4] == ("id", "token", "received_at", "is_bare")


@pytest.mark.parametrize(
    "statement",
    [
        "SELECT 1 FROM agents_lane WHERE id = %s::regclass",
        "SELECT a FROM agents_lane CROSS JOIN LATERAL (SELECT 1 AS a) AS b",
        "SELECT FROM WHERE agents_lane",
    ],
)
def test_what_sqlite_has_no_word_for_is_refused_with_the_statement(statement: str) -> None:
    with pytest.raises(Untranslatable) as caught:
        translate(statement)
    assert statement in str(caught.value)


@pytest.mark.parametrize(
    ("statement", "is_ours_"),
    [
        ("\nUPDATE agents_lane SET woke_at = NULL", True),
        ("WITH a AS (SELECT 1) SELECT 1 FROM memory_goal", True),
        ("SELECT clock_timestamp()", True),
        ("SELECT 1", False),
        ('SELECT "agents_lane"."id" FROM "agents_lane"', False),
        ('UPDATE "agents_lane" SET "woke_at" = NULL', False),
        ("SELECT value FROM json_each(%s) JOIN memory_memory ON id = value", False),
        ("CREATE TRIGGER t BEFORE DELETE ON agents_auditentry BEGIN SELECT 1 FROM agents_lane; END", False),
        ("PRAGMA foreign_keys", False),
    ],
)
def test_the_sites_own_statements_are_known(statement: str, is_ours_: bool) -> None:
    assert is_ours(statement) is is_ours_


def test_a_plan_is_made_once() -> None:
    from eliza_site.sqlite.statements import find_plan

    statement = "SELECT id FROM agents_lane WHERE id = %s"
    first = find_plan(statement)
    assert isinstance(first, Plan)
    assert find_plan(statement) is first
