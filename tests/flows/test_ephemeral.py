"""`talk --ephemeral`: a whole conversation in one process, with neither server nor file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.doubles.openai_server import OpenAIServer

SECONDS = 60.0
Begin = Callable[..., subprocess.Popen[str]]
ROOT = Path(__file__).resolve().parents[2]
NOWHERE = {
    "DATABASE_URL": "postgres://nobody@127.0.0.1:1/nothing",
    "REDIS_URL": "redis://127.0.0.1:1/0",
    "CELERY_BROKER_URL": "redis://127.0.0.1:1/0",
}


@pytest.fixture
def model() -> Iterator[OpenAIServer]:
    with OpenAIServer() as server:
        yield server


@pytest.fixture
def begin(tmp_path: Path, model: OpenAIServer) -> Iterator[Begin]:
    """Begin the command in an empty folder, beside servers that are not there."""
    begun: list[subprocess.Popen[str]] = []

    def begin(*arguments: str, **environment: str) -> subprocess.Popen[str]:
        own = {
            "RUN_DIR": str(tmp_path / "run"),
            "OPENAI_BASE_URL": model.base_url,
            "EMBEDDING_MODEL": "hashed",
        }
        process = subprocess.Popen(
            [sys.executable, str(ROOT / "manage.py"), "talk", "--ephemeral", *arguments],
            cwd=tmp_path,
            env={**os.environ, **NOWHERE, **own, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        begun.append(process)
        return process

    yield begin
    for process in begun:
        process.kill()
        process.communicate()


def asked(model: OpenAIServer, words: str) -> bool:
    """Tell whether the model was asked anything with these words."""
    return any(words in json.dumps(entry["request"]) for entry in list(model.ledger))


def test_a_conversation_is_held_remembered_and_reflected_on_without_any_server(
    tmp_path: Path, model: OpenAIServer, begin: Begin
) -> None:
    model.settings.answer = "So it is."
    talk = begin("Eliza", "--person", "Ann", REFLECT_AFTER_MESSAGES="1")
    assert talk.stdin is not None
    talk.stdin.write("I keep bees\n\n")
    talk.stdin.flush()
    deadline = time.monotonic() + SECONDS
    while not asked(model, "same_as"):
        assert time.monotonic() < deadline, "nobody reflected on it"
        time.sleep(0.1)
    out, errors = talk.communicate("what of the bees?\n", timeout=SECONDS)
    assert (talk.returncode, errors) == (0, "")
    assert out == "So it is.\nSo it is.\n"
    assert asked(model, "what of the bees?")
    assert list(tmp_path.iterdir()) == []


def test_messages_are_arguments_too_and_a_program_reads_json(
    tmp_path: Path, model: OpenAIServer, begin: Begin
) -> None:
    model.settings.answer = "Good day."
    character = tmp_path / "mine.json"
    mine = {"name": "Mine", "bio": ["Says little."], "style": {"al": ["short"]}}
    character.write_text(json.dumps(mine), encoding="utf-8")
    talk = begin(str(character), "hello", "--json")
    out, errors = talk.communicate(timeout=SECONDS)
    report = json.loads(out)
    assert errors == f"{character}: keys that mean nothing here: style.al (is it all?)\n"
    assert (talk.returncode, report["result"], report["text"]) == (0, "answered", "Good day.")
    assert list(tmp_path.iterdir()) == [character]


@pytest.mark.parametrize(
    ("character", "text"),
    [
        (
            "Nobody",
            "'Nobody' is neither a file nor a sample character: eliza, iris, tove are. Of an agent that was",
        ),
        ("broken.json", "broken.json: "),
    ],
)
def test_a_character_that_can_not_be_is_named(
    tmp_path: Path, model: OpenAIServer, begin: Begin, character: str, text: str
) -> None:
    (tmp_path / "broken.json").write_text('{"bio": 7}', encoding="utf-8")
    talk = begin(character, "hello")
    _, errors = talk.communicate(timeout=SECONDS)
    assert talk.returncode == 1
    assert text in errors
    assert "Traceback" not in errors
    assert not model.ledger


def test_one_message_that_fails_is_the_exit_code_whatever_follows(model: OpenAIServer, begin: Begin) -> None:
    model.settings.answer = "So it is."
    talk = begin("Eliza", " ", "hello")
    out, errors = talk.communicate(timeout=SECONDS)
    assert (talk.returncode, out) == (1, "So it is.\n")
    assert "The message is empty" in errors


def test_no_other_command_is_named_where_nothing_is_kept(model: OpenAIServer, begin: Begin) -> None:
    model.settings.fault = "401"
    talk = begin("Eliza", "hello")
    _, errors = talk.communicate(timeout=SECONDS)
    assert talk.returncode == 1
    assert "401" in errors
    assert "show_turn" not in errors


def test_the_demonstration_model_is_as_brief_as_in_a_fleet(model: OpenAIServer, begin: Begin) -> None:
    talk = begin("Eliza", "hello", OPENAI_BASE_URL="", OPENAI_API_KEY="", LOCAL_MODEL_BASE_URL=model.base_url)
    _, errors = talk.communicate(timeout=SECONDS)
    assert (talk.returncode, errors) == (0, "")
    asked_for = {entry["request"].get("max_tokens") for entry in list(model.ledger) if entry["request"]}
    assert 120 in asked_for
    assert 512 not in asked_for
