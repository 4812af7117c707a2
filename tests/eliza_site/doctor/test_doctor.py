"""The doctor: each thing that is wrong is named with its cure."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import pytest
from django.core.management import call_command
from django.db import connection as database

from agents import work
from agents.fields import seal
from agents.inbox import receive
from agents.models import Character, Delivery, Lane, Turn
from eliza_site.doctor import LOOKS, Look, examine, fleet, models, plugins, site, stores
from eliza_site.doctor.findings import Finding, Level, note, ok, wrong
from memory.embeddings.spaces import forget_known_spaces
from memory.models import Memory, VectorSpace
from memory.stores.indexes import create_vector_index
from tests.doubles.openai_server import OpenAIServer
from transports.models import Connection


def the(findings: list[Finding], level: Level) -> list[str]:
    assert all(finding.cure for finding in findings if finding.level is Level.WRONG)
    return [finding.text for finding in findings if finding.level is level]


def run(monkeypatch: pytest.MonkeyPatch, *looks: Look, json_: bool = False) -> tuple[str, int]:
    monkeypatch.setattr("eliza_site.management.commands.doctor.examine", lambda: examine(looks))
    out = io.StringIO()
    try:
        call_command("doctor", stdout=out, json=json_)
    except SystemExit as end:
        return out.getvalue(), int(end.code or 0)
    return out.getvalue(), 0


def test_what_is_well_exits_with_0(monkeypatch: pytest.MonkeyPatch) -> None:
    said, code = run(
        monkeypatch,
        Look(part="roof", look=lambda: [ok("Dry.")]),
        Look(part="cat", look=lambda: [note("Fat.")]),
    )
    assert (said, code) == ("ok    roof: Dry.\nnote  cat: Fat.\nNothing is wrong.\n", 0)


def test_what_is_wrong_exits_with_1_and_what_needs_it_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    looks = (
        Look(part="roof", look=lambda: [wrong("It leaks.", "Mend it.")]),
        Look(part="bed", look=lambda: [ok("Never asked.")], needs="roof"),
        Look(part="pillow", look=lambda: [ok("Never asked.")], needs="bed"),
    )
    said, code = run(monkeypatch, *looks)
    assert code == 1
    assert "WRONG roof: It leaks.\n      Mend it.\n" in said
    assert "bed: not looked at" in said
    assert "pillow: not looked at" in said
    assert said.endswith("1 is wrong.\n")


def test_a_look_that_fails_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def fall() -> list[Finding]:
        raise KeyError("ladder")

    said, code = run(monkeypatch, Look(part="roof", look=fall), json_=True)
    report = json.loads(said)
    assert (code, report["is_well"]) == (1, False)
    assert report["parts"][0]["findings"][0]["text"] == "It can't be looked at: KeyError: 'ladder'"


def test_every_part_that_is_needed_is_looked_at_before() -> None:
    seen: set[str] = set()
    for look in LOOKS:
        assert not look.needs or look.needs in seen
        seen.add(look.part)


def test_settings_are_asked_by_the_system_checks(settings: Any) -> None:
    settings.SECRET_KEY = "short"
    assert any("SECRET_KEY has 5 characters" in text for text in the(site.look_at_settings(), Level.WRONG))


def test_static_files_that_were_not_collected_are_wrong(settings: Any, tmp_path: Path) -> None:
    settings.STATIC_ROOT, settings.DEBUG = tmp_path, False
    assert the(site.look_at_static_files(), Level.WRONG)
    collected = tmp_path / site.A_STATIC_FILE
    collected.parent.mkdir(parents=True)
    collected.write_text("old")
    assert the(site.look_at_static_files(), Level.NOTE) == ["They were collected from another version."]


def test_stores_that_answer_are_well(db: None) -> None:
    for look in (stores.look_at_database, stores.look_at_vector_extension, stores.look_at_migrations):
        assert [finding.level for finding in look()] == [Level.OK]
    assert [finding.level for finding in stores.look_at_cache()] in ([Level.OK], [Level.NOTE])


def test_a_database_that_is_away_is_told_with_the_reason(db: None, monkeypatch: pytest.MonkeyPatch) -> None:
    parameters = {**database.get_connection_params(), "host": "127.0.0.1", "port": 1}
    monkeypatch.setattr(database, "get_connection_params", lambda: parameters)
    (text,) = the(stores.look_at_database(), Level.WRONG)
    assert "refused" in text


def test_a_cache_that_is_away_is_wrong(settings: Any) -> None:
    settings.REDIS_URL = "redis://127.0.0.1:1/0"
    assert "refused" in the(stores.look_at_cache(), Level.WRONG)[0]


def test_secrets_of_another_key_are_wrong(agent: Any, settings: Any) -> None:
    from cryptography.fernet import Fernet

    settings.FIELD_ENCRYPTION_KEY = [Fernet.generate_key().decode()]
    Character.objects.filter(pk=agent.character_id).update(secrets={"TOKEN": "hush"})
    assert the(stores.look_at_secrets(), Level.WRONG) == []
    settings.FIELD_ENCRYPTION_KEY = [Fernet.generate_key().decode()]
    (text,) = the(stores.look_at_secrets(), Level.WRONG)
    assert "can't be read" in text
    assert "hush" not in text


def test_vectors_of_another_model_are_wrong(incoming: Any, model: Any) -> None:
    work.drain_lane(receive(incoming()).lane_id)
    assert the(stores.look_at_vectors(), Level.WRONG) == []
    Memory.objects.filter(embedding__isnull=False).update(embedding_model="other")
    (text,) = the(stores.look_at_vectors(), Level.WRONG)
    assert "other" in text


def test_settings_that_a_switch_left_behind_are_told_with_what_to_set(agent: Any) -> None:
    for column, dimensions, state in (("embedding", 384, "kept"), ("second_embedding", 256, "used")):
        VectorSpace.objects.create(
            column=column,
            name=f"hashed-{dimensions}",
            model="hashed",
            dimensions=dimensions,
            kind="hashed",
            state=state,
        )
    forget_known_spaces()
    create_vector_index(256, "second_embedding")
    (found,) = stores.look_at_vectors()
    assert (found.level, found.cure) == (Level.NOTE, "Set EMBEDDING_MODEL=hashed EMBEDDING_DIMENSIONS=256")
    assert the(models.look_at_embeddings(), Level.OK) == [
        "Embeddings come from hashed on this machine, 256 numbers each."
    ]


def test_a_new_model_whose_embedder_fails_is_told(agent: Any) -> None:
    assert the(stores.look_at_vectors(), Level.NOTE) == []
    VectorSpace.objects.create(
        column="second_embedding",
        name="new",
        model="new",
        dimensions=8,
        kind="remote",
        state="filling",
        failure_count=3,
        error="The server is away.",
    )
    forget_known_spaces()
    assert the(stores.look_at_vectors(), Level.NOTE) == [
        "The embedder of new failed 3 times: The server is away."
    ]


def test_the_key_of_a_vector_space_that_cannot_be_read_is_wrong(agent: Any, settings: Any) -> None:
    from cryptography.fernet import Fernet

    settings.FIELD_ENCRYPTION_KEY = [Fernet.generate_key().decode()]
    VectorSpace.objects.create(
        column="embedding",
        name="m",
        model="m",
        dimensions=8,
        kind="remote",
        state="used",
        sealed_key=seal("sk-of-its-own"),
    )
    assert the(stores.look_at_secrets(), Level.WRONG) == []
    settings.FIELD_ENCRYPTION_KEY = [Fernet.generate_key().decode()]
    (text,) = the(stores.look_at_secrets(), Level.WRONG)
    assert "The key of a vector space can't be read" in text


def test_no_worker_and_no_dispatcher_are_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fleet, "find_workers", list)
    assert the(fleet.look_at_workers(), Level.WRONG) == ["None answers, so no message is answered."]
    monkeypatch.setattr(fleet, "find_workers", lambda: ["one@here"])
    assert the(fleet.look_at_workers(), Level.OK) == ["1 answer: one@here."]
    seen: dict[str, float | None] = {"at": None}
    monkeypatch.setattr(fleet.cache, "get", lambda _key: seen["at"])
    assert the(fleet.look_at_dispatcher(), Level.WRONG) == ["None was seen in the last hour."]
    seen["at"] = fleet.time.time() - 600
    assert "600 seconds ago" in the(fleet.look_at_dispatcher(), Level.WRONG)[0]
    seen["at"] = fleet.time.time()
    assert the(fleet.look_at_dispatcher(), Level.OK)


def test_a_broker_that_is_away_is_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> str:
        raise ConnectionError("refused")

    monkeypatch.setattr(fleet.health, "ask_broker", refuse)
    assert the(fleet.look_at_broker(), Level.WRONG) == ["It does not answer: ConnectionError: refused"]


def test_a_turn_that_nobody_works_is_wrong_and_one_that_waits_for_its_time_is_not(incoming: Any) -> None:
    receive(incoming())
    assert the(fleet.look_at_turns(), Level.WRONG) == []
    long_ago = "2020-01-01T00:00:00Z"
    Turn.objects.update(received_at=long_ago)
    Lane.objects.update(next_run_at=long_ago)
    assert "1 wait with nobody at work on them" in the(fleet.look_at_turns(), Level.WRONG)[0]
    Lane.objects.update(lease_until="2100-01-01T00:00:00Z")
    assert the(fleet.look_at_turns(), Level.WRONG) == []


def test_dead_letters_and_uncertain_deliveries_are_notes(incoming: Any, model: Any) -> None:
    work.drain_lane(receive(incoming()).lane_id)
    assert the(fleet.look_at_deliveries(), Level.OK)
    Turn.objects.update(state="dead")
    Delivery.objects.update(state="uncertain")
    assert the(fleet.look_at_turns(), Level.NOTE) == ["1 are dead letters: no answer could be made."]
    assert the(fleet.look_at_deliveries(), Level.NOTE) == ["1 are uncertain."]


def test_agents_and_connections_are_looked_at(agent: Any, connection: Connection) -> None:
    assert the(plugins.look_at_agents(), Level.OK) == ["1 of 1 are running."]
    assert "fake transport" in the(plugins.look_at_connections(), Level.NOTE)[0]
    Character.objects.update(document={"name": "Eliza", "plugins": ["juggling"]})
    assert "juggling" in the(plugins.look_at_agents(), Level.NOTE)[0]
    Connection.objects.update(transport="pigeon")
    assert "'pigeon'" in the(plugins.look_at_connections(), Level.WRONG)[0]


def test_without_agents_nobody_answers(db: None) -> None:
    assert the(plugins.look_at_agents(), Level.WRONG) == ["There is none."]


def test_the_models_that_answer_are_named(settings: Any) -> None:
    with OpenAIServer() as server:
        settings.OPENAI_API_KEY, settings.OPENAI_BASE_URL = "", server.base_url
        settings.MODEL_SMALL, settings.MODEL_LARGE = "", ""
        assert the(models.look_at_models(), Level.OK) == [f"Answers come from stub at {server.base_url}."]
        settings.MODEL_LARGE = "huge"
        assert the(models.look_at_models(), Level.WRONG) == ["The server does not list huge."]


def test_a_demonstration_model_that_is_away_is_told_how_to_start(settings: Any) -> None:
    settings.OPENAI_API_KEY, settings.OPENAI_BASE_URL = "", ""
    settings.LOCAL_MODEL_BASE_URL = "http://127.0.0.1:1/v1"
    said, away = models.look_at_models()
    assert (said.level, away.level) == (Level.NOTE, Level.WRONG)
    assert "make run" in away.cure


def test_the_embedder_is_tried(settings: Any, hashed_vectors: None) -> None:
    assert the(models.look_at_embeddings(), Level.OK)
    settings.EMBEDDING_MODEL, settings.EMBEDDING_BASE_URL = "m", "http://127.0.0.1:1/v1"
    assert the(models.look_at_embeddings(), Level.WRONG)
