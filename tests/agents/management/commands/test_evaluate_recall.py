"""`evaluate_recall`: a measurement that leaves nothing behind."""

from __future__ import annotations

import io
import json
import time
from pathlib import Path
from typing import Any
from unicodedata import normalize

import pytest
from django.apps import apps
from django.core.management import CommandError, call_command

from agents.memories import rehearsals
from agents.memories.rehearsal_files import RehearsalQuestion, RehearsalTurn, read_rehearsal_lines
from agents.models import Agent, Room
from memory.embeddings.base import EmbeddingError

TURNS = [
    ("garden", "a1", "2023-05-08T10:00:00Z", "Ann", "My bees live behind the house."),
    ("garden", "a2", "2023-05-08T10:00:20Z", "Bob", "How lovely! Do they make honey?"),
    ("garden", "a3", "2023-05-08T10:00:40Z", "Ann", "Two jars in summer."),
    ("sea", 1, "2023-06-01T09:00:00+02:00", "Cleo", "We sailed to the island of bees."),
]
QUESTIONS = [("garden", 0, "Where do the bees live?"), ("sea", "q", "Where did they sail?")]


@pytest.fixture
def files(tmp_path: Path, db: None, hashed_vectors: None) -> dict[str, Path]:
    paths = {name: tmp_path / f"{name}.jsonl" for name in ("turns", "questions", "out")}
    turn_keys = ("conversation", "id", "at", "speaker", "text")
    _write(paths["turns"], [{"session": 1, **dict(zip(turn_keys, turn, strict=True))} for turn in TURNS])
    question_keys = ("conversation", "question_id", "question")
    _write(paths["questions"], [dict(zip(question_keys, row, strict=True)) for row in QUESTIONS])
    return paths


def _write(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


def evaluate(files: dict[str, Path], *more: str, stderr: io.StringIO | None = None) -> str:
    out = io.StringIO()
    paths = [word for name, path in files.items() for word in (f"--{name}", str(path))]
    call_command("evaluate_recall", *paths, *more, stdout=out, stderr=stderr or io.StringIO())
    return out.getvalue()


def counts() -> dict[str, int]:
    return {model.__name__: model._default_manager.count() for model in apps.get_models()}


def test_words_and_names_are_composed_as_those_of_messages_and_ids_are_not(files: dict[str, Path]) -> None:
    apart = normalize("NFD", "Zoé")
    turn = {"conversation": apart, "id": apart, "at": "2023-05-08T10:00:00Z", "speaker": apart, "text": apart}
    _write(files["turns"], [turn])
    _write(files["questions"], [{"conversation": apart, "question_id": 1, "question": apart}])
    said = read_rehearsal_lines(files["turns"], RehearsalTurn, warn=print)
    asked = read_rehearsal_lines(files["questions"], RehearsalQuestion, warn=print)
    assert (said[0].speaker, said[0].text, asked[0].question) == ("Zoé", "Zoé", "Zoé")
    assert said[0].id == said[0].conversation == asked[0].conversation == apart, "ids are as they are given"


def test_each_question_gets_the_turns_of_its_own_conversation_best_first(files: dict[str, Path]) -> None:
    assert "4 turns remembered, 2 questions asked" in evaluate(files)
    rows = [json.loads(line) for line in files["out"].read_text().splitlines()]
    assert [(row["conversation"], row["question_id"]) for row in rows] == [("garden", 0), ("sea", "q")]
    assert rows[0]["retrieved"][0] == "a1"
    assert set(rows[0]["retrieved"]) == {"a1", "a2", "a3"}
    assert rows[1]["retrieved"] == [1]
    assert all(row["ms"] > 0 for row in rows)


def test_recall_is_scored_where_it_is_known_what_answers(files: dict[str, Path]) -> None:
    said = evaluate(files)
    assert "so recall is not scored" in said
    assert "p50" in said
    question = {"conversation": "garden", "question": "Where do the bees live?"}
    _write(
        files["questions"],
        [
            {**question, "question_id": 0, "gold": ["a1", "a2"]},
            {**question, "question_id": 1, "gold": ["a3"]},
            {**question, "question_id": 2},
        ],
    )
    evaluate(files)
    first = json.loads(files["out"].read_text().splitlines()[0])["retrieved"]
    assert first[0] == "a1"
    assert "Recall over 2 questions: 0.250 at 1\n" in evaluate(files, "--k", "1")
    assert "Recall over 2 questions: 1.000 at 5, 1.000 at 10\n" in evaluate(files, "--k", "10")
    _write(files["questions"], [{**question, "question_id": 0, "gold": ["a9"]}])
    with pytest.raises(CommandError, match=r"no turn 'a9' in 'garden', which is `gold` of the question 0"):
        evaluate(files)


def test_a_long_rehearsal_goes_on_signing(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    signed: list[float] = []

    def look(agent: Agent) -> None:
        signed.append(Agent.objects.get(pk=agent.pk).settings[rehearsals.MARK])

    remove = rehearsals._remove
    monkeypatch.setattr(rehearsals, "SIGN_SECONDS", -1.0)
    monkeypatch.setattr(rehearsals, "_remove", lambda agent: (look(agent), remove(agent)))
    began = time.time()
    monkeypatch.setattr(
        rehearsals.time, "time", iter([began, *(began + second for second in range(1, 9))]).__next__
    )
    evaluate(files)
    assert signed == [began + 3], "a batch of turns and two questions"


def test_the_file_is_whole_or_as_it_was(files: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    evaluate(files)
    before = files["out"].read_text()

    def fail(*_: Any) -> None:
        raise EmbeddingError("not now")

    with monkeypatch.context() as patched:
        patched.setattr(rehearsals, "_ask", fail)
        with pytest.raises(CommandError, match="not now"):
            evaluate(files)
    assert files["out"].read_text() == before
    assert sorted(path.name for path in files["out"].parent.iterdir()) == [
        "out.jsonl",
        "questions.jsonl",
        "turns.jsonl",
    ]
    link = files["out"].with_name("link.jsonl")
    link.symlink_to(files["out"])
    evaluate({**files, "out": link})
    assert link.is_symlink()
    assert Path("/dev/null").is_char_device()
    evaluate({**files, "out": Path("/dev/null")})
    assert Path("/dev/null").is_char_device(), "what is no file is not put in its place"
    for name in ("turns", "questions"):
        read = files[name].read_text()
        with pytest.raises(CommandError, match="is a file that is read: name another one"):
            evaluate({**files, "out": files[name]})
        assert files[name].read_text() == read


def test_no_more_than_k_turns_come(files: dict[str, Path]) -> None:
    evaluate(files, "--k", "1")
    assert [len(json.loads(line)["retrieved"]) for line in files["out"].read_text().splitlines()] == [1, 1]
    with pytest.raises(CommandError, match="'0' is no whole number above 0"):
        evaluate(files, "--k", "0")


def test_nothing_stays_in_the_database(files: dict[str, Path], agent: Agent) -> None:
    before = counts()
    evaluate(files)
    assert counts() == before


def test_what_a_killed_rehearsal_left_is_removed_by_the_next(
    files: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    before = counts()
    with monkeypatch.context() as patched:
        patched.setattr(rehearsals, "_remove", lambda _agent: None)
        evaluate(files)
    left = counts()
    assert left != before
    evaluate(files)
    assert counts() == left, "it may be at work yet"
    Room.objects.create(platform="elsewhere", external_id="stays")
    monkeypatch.setattr(rehearsals, "DEAD_SECONDS", -1.0)
    evaluate(files)
    assert {name: count for name, count in counts().items() if count != before[name]} == {"Room": 1}


@pytest.mark.parametrize(
    ("name", "line", "words"),
    [
        ("turns", '{"conversation": "x"}', r"turns.jsonl: line 5: id: Field required"),
        ("turns", "{", r"line 5: no JSON"),
        (
            "turns",
            '{"conversation": "x", "id": 1, "at": "2023-05-08T10:00:00", "speaker": "A", "text": ""}',
            r"line 5: at: Input should have timezone info",
        ),
        (
            "turns",
            '{"conversation": "sea", "id": 1, "at": "2023-05-08T10:00:00Z", "speaker": "A", "text": ""}',
            r"two turns 1 in 'sea'",
        ),
        (
            "questions",
            '{"conversation": "sea", "question_id": 1, "question": "Where?", "gold": "t1"}',
            r"line 3: gold: Value error, it is no list of ids of turns",
        ),
        (
            "questions",
            '{"conversation": "desert", "question_id": 1, "question": "Where?"}',
            r"no turn of desert",
        ),
    ],
)
def test_a_faulty_file_is_refused_before_anything_is_done(
    files: dict[str, Path], name: str, line: str, words: str
) -> None:
    with files[name].open("a") as file:
        file.write(line)
    with pytest.raises(CommandError, match=words):
        evaluate(files)
    assert not files["out"].exists()


def test_a_key_that_looks_misspelt_is_told_with_its_line(files: dict[str, Path]) -> None:
    question = {"conversation": "garden", "question": "Where do the bees live?", "category": 2}
    rows = [{"gold": ["a1"], "goldish": 1}, {"golds": ["a1"]}, {"golds": ["a2"]}, {"Gold": ["a1"]}]
    _write(files["questions"], [{**question, "question_id": n, **row} for n, row in enumerate(rows)])
    said = io.StringIO()
    evaluate(files, stderr=said)
    path = files["questions"]
    assert said.getvalue().splitlines() == [
        f"{path}: line 2 and 1 more: 'golds' means nothing, and 'gold' is missing: is it meant?",
        f"{path}: line 4: 'Gold' means nothing, and 'gold' is missing: is it meant?",
    ]


def test_a_file_that_cannot_be_read_or_written_is_named(files: dict[str, Path]) -> None:
    with pytest.raises(CommandError, match="gone: No such file"):
        evaluate({**files, "turns": files["turns"].with_name("gone")})
    with pytest.raises(CommandError, match="Is a directory"):
        evaluate({**files, "out": files["out"].parent})
