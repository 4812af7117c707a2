"""The second wall: PostgreSQL hands out no memory that may not surface, whatever the statement asks for."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any
from uuid import UUID

import pytest
from django.db import OperationalError, ProgrammingError, connection, transaction
from django.db.models import Q

from memory import querysets
from memory.checks import check_wall
from memory.goals import find_active_goals, set_goal
from memory.memories import remember
from memory.models import Goal, Memory
from memory.querysets import GoalQuerySet, MemoryQuerySet
from memory.stores import row_security, wall
from memory.stores.candidates import candidates_statement
from memory.stores.wall import READ_GOALS, READ_MEMORIES
from tests.memory.conftest import Scene

GOAL_COLUMNS = ("id", "agent_id", "person_id", "room_id", "name", "status", "created_at")


def read(scene: Scene, room: Any, person: Any, *, agent: Any = None) -> set[str]:
    """Ask the wall's function for every memory that there is."""
    ids = list(Memory.objects.values_list("pk", flat=True))
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT text FROM memory_read(%s::uuid[], %s, %s, %s)",
            [ids, (agent or scene.agent).pk, room and room.pk, person and person.pk],
        )
        return {row[0] for row in cursor.fetchall()}


@pytest.fixture
def kept(scene: Scene) -> Scene:
    """A memory for each scope, and some that are nobody's to see."""
    ann = {"person_id": scene.ann.pk, "scope": "person"}
    remember(
        [
            scene.embedded("said by Ann alone", room_id=scene.dm_of_ann.pk, **ann),
            scene.embedded(
                "said by Bob alone", room_id=scene.dm_of_bob.pk, person_id=scene.bob.pk, scope="person"
            ),
            scene.embedded("said in the group", room_id=scene.group.pk, person_id=scene.bob.pk, scope="room"),
            scene.embedded("known everywhere", room_id=None, person_id=None, scope="agent"),
            scene.embedded("not yet shown", room_id=None, person_id=None, scope="nobody"),
            scene.embedded(
                "said to another", agent_id=scene.make_agent().pk, room_id=scene.group.pk, scope="room"
            ),
            scene.embedded("no longer true", room_id=scene.dm_of_ann.pk, **ann),
        ]
    )
    now = Memory.objects.get(text="known everywhere")
    Memory.objects.filter(text="no longer true").update(superseded_by=now)
    return scene


@pytest.fixture
def no_first_wall(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Every statement of candidates asks for all that any agent keeps."""
    monkeypatch.setattr(querysets, "_may_surface", lambda *_scope: Q(pk__isnull=False))
    monkeypatch.setattr(MemoryQuerySet, "visible_by_scope", lambda self, *_scope: [self.all()])
    candidates_statement.cache_clear()
    yield
    candidates_statement.cache_clear()


def test_it_stands_after_a_migration_and_its_reader_can_read_nothing_else(db: None) -> None:
    assert row_security.is_built()
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT rolsuper OR rolbypassrls OR rolcanlogin OR rolcreaterole OR rolcreatedb FROM pg_roles"
            " WHERE rolname = %s",
            [row_security.READER],
        )
        assert cursor.fetchone() == (False,)
        cursor.execute(
            "SELECT table_name, column_name FROM information_schema.column_privileges"
            " WHERE grantee = %s AND table_name <> 'memory_memory'",
            [row_security.READER],
        )
        assert set(cursor.fetchall()) == {
            *(("memory_goal", name) for name in GOAL_COLUMNS),
            *(("memory_objective", name) for name in ("goal_id", "position", "description", "is_done")),
            ("agents_room", "id"),
            ("agents_room", "type"),
            ("agents_participant", "room_id"),
            ("agents_participant", "person_id"),
            ("agents_person", "id"),
            ("agents_person", "is_bot"),
            ("agents_person", "merged_into_id"),
        }


def test_what_is_handed_out_follows_the_room_and_the_person(kept: Scene) -> None:
    everywhere = {"known everywhere"}
    assert read(kept, kept.dm_of_ann, kept.ann) == {"said by Ann alone", *everywhere}
    assert read(kept, kept.dm_of_bob, kept.bob) == {"said by Bob alone", *everywhere}
    assert read(kept, kept.group, kept.ann) == {"said in the group", *everywhere}
    assert read(kept, None, kept.ann) == everywhere
    assert read(kept, kept.dm_of_ann, None) == everywhere


def test_a_private_room_in_which_another_human_listens_is_not_private(kept: Scene) -> None:
    room = kept.make_room("DM", kept.ann, kept.bob)
    assert read(kept, room, kept.ann) == {"known everywhere"}
    kept.bob.is_bot = True
    kept.bob.save()
    assert read(kept, room, kept.ann) == {"said by Ann alone", "known everywhere"}
    kept.bob.is_bot, kept.bob.merged_into = False, kept.ann
    kept.bob.save()
    assert read(kept, room, kept.ann) == {"said by Ann alone", "known everywhere"}


def read_goals(scene: Scene, room: Any, *people: Any, agent: Any = None) -> set[str]:
    """Ask the wall's function for every goal that there is."""
    ids = list(Goal.objects.values_list("pk", flat=True))
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT name, objectives::text FROM memory_read_goals(%s::uuid[], %s, %s, %s::uuid[])",
            [ids, (agent or scene.agent).pk, room and room.pk, [person.pk for person in people]],
        )
        found = dict(cursor.fetchall())
    assert all(json.loads(objectives) == [[f"do {name}", False]] for name, objectives in found.items())
    return set(found)


@pytest.fixture
def aims(scene: Scene) -> Scene:
    """A goal for each scope, and another agent's."""
    wanted: list[tuple[str, dict[str, Any]]] = [
        ("the agent's own", {}),
        ("the group's", {"room_id": scene.group.pk}),
        ("Ann's", {"person_id": scene.ann.pk}),
        ("Bob's", {"person_id": scene.bob.pk}),
        ("Bob's in the group", {"room_id": scene.group.pk, "person_id": scene.bob.pk}),
        ("another agent's", {"agent_id": scene.make_agent().pk}),
    ]
    for name, scope in wanted:
        set_goal(name=name, objectives=[f"do {name}"], **{"agent_id": scene.agent.pk, **scope})
    return scene


def test_goals_follow_the_room_and_the_people(aims: Scene) -> None:
    own = "the agent's own"
    assert read_goals(aims, aims.dm_of_ann, aims.ann) == {own, "Ann's"}
    assert read_goals(aims, aims.dm_of_bob, aims.bob) == {own, "Bob's"}
    assert read_goals(aims, aims.group, aims.ann) == {own, "the group's"}
    assert read_goals(aims, aims.group, aims.ann, aims.bob) == {own, "the group's", "Bob's in the group"}
    assert read_goals(aims, None, aims.ann) == read_goals(aims, aims.dm_of_ann) == {own}
    room = aims.make_room("DM", aims.ann, aims.bob)
    assert read_goals(aims, room, aims.ann) == {own}


def test_both_walls_hand_out_the_same_goals(aims: Scene, settings: Any) -> None:
    shared = aims.make_room("VOICE_DM", aims.ann, aims.bob)
    for room in (None, aims.group, aims.dm_of_ann, aims.dm_of_bob, shared):
        for people in ((None,), (aims.ann,), (aims.bob,), (aims.ann, aims.bob), (None, aims.bob)):
            place = aims.agent.pk, room and room.pk, *(person and person.pk for person in people)
            settings.ROW_LEVEL_SECURITY = True
            behind = find_active_goals(*place)
            settings.ROW_LEVEL_SECURITY = False
            assert find_active_goals(*place) == behind
            assert behind, "the agent's own goes everywhere"


@pytest.mark.parametrize("is_on", [True, False], ids=["behind", "without"])
def test_with_the_first_wall_down_no_goal_leaks_while_the_second_stands(
    aims: Scene, settings: Any, monkeypatch: pytest.MonkeyPatch, is_on: bool
) -> None:
    settings.ROW_LEVEL_SECURITY = is_on
    monkeypatch.setattr(GoalQuerySet, "visible_to", lambda self, *_scope: self.all())
    found = {goal.name for goal in find_active_goals(aims.agent.pk, aims.dm_of_ann.pk, aims.ann.pk)}
    leaked = found - {"the agent's own", "Ann's"}
    assert not leaked if is_on else "Bob's" in leaked
    assert {"the agent's own", "Ann's"} <= found


@pytest.mark.usefixtures("no_first_wall")
@pytest.mark.parametrize("is_on", [True, False], ids=["behind", "without"])
def test_with_the_first_wall_down_nothing_leaks_while_the_second_stands(
    kept: Scene, settings: Any, is_on: bool
) -> None:
    settings.ROW_LEVEL_SECURITY = is_on
    hits = kept.recall("what was said by Bob alone to another", room_id=kept.dm_of_ann.pk, limit=20)
    leaked = {hit.text for hit in hits} - {"said by Ann alone", "known everywhere"}
    assert not leaked if is_on else "said by Bob alone" in leaked
    assert {"said by Ann alone", "known everywhere"} <= {hit.text for hit in hits}


def test_the_reader_sees_no_row_outside_of_the_function_and_never_a_vector(kept: Scene) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute(f"SET LOCAL ROLE {row_security.READER}")
        for seen in (
            "count(text) FROM memory_memory",
            "count(name) FROM memory_goal",
            "count(description) FROM memory_objective",
        ):
            cursor.execute(f"SELECT {seen}")
            assert cursor.fetchone() == (0,)
        with pytest.raises(ProgrammingError, match="permission denied"), transaction.atomic():
            cursor.execute("SELECT embedding FROM memory_memory")
        with pytest.raises(ProgrammingError, match="permission denied"), transaction.atomic():
            cursor.execute("SELECT text FROM agents_message")
        cursor.execute("RESET ROLE")


def test_whom_a_function_spoke_for_is_forgotten_as_it_ends(kept: Scene, aims: Scene) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        assert read(kept, kept.dm_of_ann, kept.ann)
        assert read_goals(aims, aims.dm_of_ann, aims.ann)
        for name in ("agent", "room", "alone_with", "people", "alone_with_any"):
            cursor.execute("SELECT current_setting(%s, true)", [f"eliza.{name}"])
            assert not cursor.fetchone()[0]
        cursor.execute(f"SET LOCAL ROLE {row_security.READER}")
        cursor.execute(
            "SELECT (SELECT count(text) FROM memory_memory) + (SELECT count(name) FROM memory_goal)"
        )
        assert cursor.fetchone() == (0,)
        cursor.execute("RESET ROLE")


@pytest.mark.parametrize("function", [READ_MEMORIES, READ_GOALS])
def test_nobody_else_may_call_the_functions(db: None, function: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT has_function_privilege('pg_monitor', to_regprocedure(%s), 'EXECUTE')", [function]
        )
        assert cursor.fetchone() == (False,)


def test_where_it_was_not_built_recall_goes_on_and_the_cure_is_told(
    kept: Scene, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert check_wall(databases=["default"]) == []
    with connection.cursor() as cursor:
        cursor.execute(f"DROP FUNCTION {READ_MEMORIES}")
    monkeypatch.setattr(row_security._Known, "stands", False)
    monkeypatch.setattr(row_security._Known, "until", 0.0)
    assert not row_security.stands()
    assert "said in the group" in {hit.text for hit in kept.recall("what was said in the group")}
    (warning,) = check_wall(databases=["default"])
    assert "CREATE ROLE" in warning.hint
    settings.ROW_LEVEL_SECURITY = False
    assert check_wall(databases=["default"]) == []


@pytest.mark.parametrize(
    "fault",
    [
        "ALTER TABLE memory_memory DISABLE ROW LEVEL SECURITY",
        "DROP POLICY what_may_surface ON memory_memory",
        "ALTER POLICY what_may_surface ON memory_memory USING (true)",
        f"CREATE POLICY another ON memory_memory TO {row_security.READER} USING (true)",
        "ALTER TABLE memory_goal DISABLE ROW LEVEL SECURITY",
        "ALTER POLICY what_may_surface ON memory_objective USING (true)",
        f"CREATE POLICY another ON memory_goal TO {row_security.READER} USING (true)",
        f"DROP FUNCTION {READ_GOALS}",
        f"ALTER FUNCTION {READ_GOALS} OWNER TO CURRENT_USER",
        f"REVOKE ALL ON memory_objective FROM {row_security.READER}",
        f"REVOKE SELECT (text) ON memory_memory FROM {row_security.READER}",
    ],
    ids=[
        "off",
        "dropped",
        "changed",
        "another",
        "goals off",
        "objectives",
        "another of goals",
        "no goals",
        "owned",
        "no grant",
        "no column",
    ],
)
def test_it_is_built_again_where_something_of_it_is_not_as_it_was(db: None, fault: str) -> None:
    with connection.cursor() as cursor:
        cursor.execute(fault)
    assert not row_security.is_built()
    row_security.ensure_wall()
    assert row_security.is_built()


def test_whoever_reads_for_long_keeps_it_from_being_built_and_that_is_one_line(
    db: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    tried: list[int] = []

    def build() -> None:
        tried.append(1)
        raise OperationalError("canceling statement due to lock timeout\nCONTEXT: a table")

    monkeypatch.setattr(row_security, "is_built", lambda: False)
    monkeypatch.setattr(row_security, "_build", build)
    row_security.ensure_wall()
    said = capsys.readouterr().out
    assert said.startswith("The second wall was not built: canceling statement due to lock timeout. Run: ")
    assert (len(tried), len(said.splitlines())) == (row_security.BUILDING_ATTEMPTS, 1)


def test_a_role_that_may_not_build_it_says_so_and_changes_nothing(
    db: None, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    with connection.cursor() as cursor:
        cursor.execute(f"DROP FUNCTION {READ_MEMORIES}")
    missing = wall.wall("public").replace(wall.READER, "eliza_reader_that_is_not_there")
    monkeypatch.setattr(row_security, "wall", lambda _schema: missing)
    row_security.ensure_wall()
    assert "as a superuser" in capsys.readouterr().out
    assert Memory.objects.count() == 0


def test_a_role_that_does_not_own_the_table_reads_what_it_is_granted(kept: Scene) -> None:
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT polname FROM pg_policy WHERE polrelid = 'memory_memory'::regclass")
        assert {row[0] for row in cursor.fetchall()} == {"what_may_surface", "whatever_is_granted"}
        cursor.execute(
            "SELECT pg_get_expr(polqual, polrelid) FROM pg_policy WHERE polname = 'whatever_is_granted'"
        )
        assert row_security.READER in cursor.fetchone()[0]


def test_ids_that_are_not_there_bring_nothing(scene: Scene) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM memory_read(%s::uuid[], %s, NULL, NULL)", [[UUID(int=7)], scene.agent.pk]
        )
        assert cursor.fetchone() == (0,)
