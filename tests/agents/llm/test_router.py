"""Which server and model answer, by the settings."""

import time

import pytest
from pytest_django import Settings

from agents.llm import router
from agents.llm.base import ModelClass
from agents.llm.scripted import ScriptedModel
from memory.embeddings.base import EmbeddingError
from memory.embeddings.choice import embedding_choice
from tests.agents.llm.asking import ask
from tests.doubles.openai_server import ANSWER, OpenAIServer


@pytest.fixture(autouse=True)
def bare_settings(settings: Settings) -> Settings:
    for name in (
        "OPENAI_API_KEY",
        "OPENAI_BASE_URL",
        "MODEL_SMALL",
        "MODEL_LARGE",
        "LOCAL_MODEL_BASE_URL",
        "EMBEDDING_BASE_URL",
        "EMBEDDING_API_KEY",
        "EMBEDDING_MODEL",
    ):
        setattr(settings, name, "")
    settings.EMBEDDING_DIMENSIONS = 0
    return settings


def names() -> tuple[str, str]:
    return router.choose_model(ModelClass.SMALL).name, router.choose_model(ModelClass.LARGE).name


def test_without_key_and_address_the_demonstration_answers(bare_settings: Settings) -> None:
    bare_settings.MODEL_SMALL = "gpt-anything"
    described = router.describe_models()
    assert described.is_demonstration
    assert described.small == described.large == "smollm2-135m-instruct"
    assert described.base_url == f"http://127.0.0.1:{bare_settings.MODEL_PORT}/v1"
    assert "demonstration" in described.sentence
    chosen = router.choose_model(ModelClass.LARGE, large="gpt-own")
    assert chosen.is_demonstration
    assert chosen.name == "smollm2-135m-instruct"


def test_a_key_alone_means_openai_and_says_which_models(bare_settings: Settings) -> None:
    bare_settings.OPENAI_API_KEY = "sk-x"
    described = router.describe_models()
    assert not described.is_demonstration
    assert described.base_url == "https://api.openai.com/v1"
    assert described.sentence == (
        "Answers come from gpt-4.1 and, for small tasks, gpt-4.1-mini at https://api.openai.com/v1."
    )
    assert "text-embedding-3-small" in described.embedding_sentence
    assert "sk-x" not in repr(described)


def test_the_settings_and_then_the_agent_name_the_models(bare_settings: Settings) -> None:
    bare_settings.OPENAI_API_KEY, bare_settings.MODEL_SMALL, bare_settings.MODEL_LARGE = "sk-x", "s", "l"
    assert names() == ("s", "l")
    assert router.choose_model(ModelClass.SMALL, small="own").name == "own"
    assert router.choose_model(ModelClass.LARGE, small="own").name == "l"


def test_an_address_alone_is_asked_which_models_it_has(bare_settings: Settings, server: OpenAIServer) -> None:
    bare_settings.OPENAI_BASE_URL = server.base_url
    assert names() == ("stub", "stub")
    chosen = router.choose_model(ModelClass.SMALL)
    assert chosen.model.complete(ask(model=chosen.name)).text == ANSWER
    bare_settings.MODEL_SMALL = "one"
    assert names() == ("one", "one")


def test_a_server_that_lists_nothing_is_asked_by_the_default_names(
    bare_settings: Settings, server: OpenAIServer
) -> None:
    bare_settings.OPENAI_BASE_URL = server.base_url + "/nowhere"
    assert names() == ("gpt-4.1-mini", "gpt-4.1")


def test_an_agent_may_be_set_to_a_script() -> None:
    chosen = router.choose_model(ModelClass.LARGE, large="scripted:Hello there.")
    assert chosen.model.complete(ask(model=chosen.name)).text == "Hello there."


def test_a_script_may_take_its_time() -> None:
    chosen = router.choose_model(ModelClass.LARGE, large="scripted@0.03:Hello there, you.")
    completion = chosen.model.complete(ask(model=chosen.name))
    assert completion.text == "Hello there, you."
    assert completion.milliseconds >= 90


@pytest.mark.parametrize("name", ["scripted", "scripted@:Hello", "scripted@x:Hello", "a scripted:Hello"])
def test_other_names_are_no_scripts(name: str, bare_settings: Settings) -> None:
    bare_settings.OPENAI_API_KEY = "k"
    assert router.choose_model(ModelClass.LARGE, large=name).name == name


def test_a_test_may_answer_for_every_model() -> None:
    with router.answering_with(ScriptedModel("mine")) as model:
        assert router.choose_model(ModelClass.SMALL).model is model
    assert router.choose_model(ModelClass.SMALL).model is not model


@pytest.mark.parametrize(
    ("changes", "kind", "model", "dimensions", "base_url"),
    [
        ({}, "local", "all-MiniLM-L6-v2", 384, ""),
        ({"EMBEDDING_MODEL": "hashed"}, "hashed", "hashed", 384, ""),
        ({"OPENAI_API_KEY": "k"}, "remote", "text-embedding-3-small", 1536, "https://api.openai.com/v1"),
        (
            {"OPENAI_API_KEY": "k", "EMBEDDING_MODEL": "all-MiniLM-L6-v2"},
            "local",
            "all-MiniLM-L6-v2",
            384,
            "",
        ),
        ({"OPENAI_BASE_URL": "http://a/v1", "OPENAI_API_KEY": "k"}, "local", "all-MiniLM-L6-v2", 384, ""),
        (
            {"OPENAI_BASE_URL": "http://a/v1", "EMBEDDING_MODEL": "nomic-embed-text"},
            "remote",
            "nomic-embed-text",
            768,
            "http://a/v1",
        ),
        (
            {
                "OPENAI_BASE_URL": "http://a/v1",
                "EMBEDDING_BASE_URL": "http://b/v1",
                "EMBEDDING_DIMENSIONS": 256,
            },
            "remote",
            "text-embedding-3-small",
            256,
            "http://b/v1",
        ),
    ],
)
def test_embeddings_follow_the_stated_rule(
    bare_settings: Settings,
    changes: dict[str, str],
    kind: str,
    model: str,
    dimensions: int,
    base_url: str,
) -> None:
    for name, value in changes.items():
        setattr(bare_settings, name, value)
    choice = embedding_choice()
    assert (choice.kind, choice.model, choice.dimensions, choice.base_url) == (
        kind,
        model,
        dimensions,
        base_url,
    )


@pytest.mark.parametrize(
    ("changes", "cure"),
    [
        ({"EMBEDDING_MODEL": "nomic-embed-text"}, "EMBEDDING_BASE_URL"),
        ({"EMBEDDING_DIMENSIONS": 1536}, "leave it unset"),
        ({"EMBEDDING_BASE_URL": "http://b/v1", "EMBEDDING_MODEL": "own"}, "EMBEDDING_DIMENSIONS"),
    ],
)
def test_settings_that_contradict_each_other_are_told(
    bare_settings: Settings, changes: dict[str, str], cure: str
) -> None:
    for name, value in changes.items():
        setattr(bare_settings, name, value)
    with pytest.raises(EmbeddingError, match=cure):
        embedding_choice()
    assert cure in router.describe_models().embedding_error


def test_the_remote_embedder_is_made_from_the_settings(bare_settings: Settings, server: OpenAIServer) -> None:
    bare_settings.EMBEDDING_BASE_URL, bare_settings.EMBEDDING_MODEL = server.base_url, "all-minilm"
    embedder = router.make_embedder()
    assert (embedder.name, embedder.dimensions) == ("all-minilm", 384)
    assert len(embedder.embed(["one", "two"])) == 2
    bare_settings.EMBEDDING_BASE_URL = bare_settings.EMBEDDING_MODEL = ""
    with pytest.raises(EmbeddingError, match="no server"):
        router.make_embedder()


def test_the_remote_embedder_waits_as_long_as_is_set(bare_settings: Settings, server: OpenAIServer) -> None:
    bare_settings.EMBEDDING_BASE_URL, bare_settings.EMBEDDING_MODEL = server.base_url, "fail:hang"
    bare_settings.EMBEDDING_DIMENSIONS, bare_settings.EMBEDDING_TIMEOUT_SECONDS = 384, 0.3
    began = time.monotonic()
    with pytest.raises(EmbeddingError, match=r"within its time \(EMBEDDING_TIMEOUT_SECONDS\)"):
        router.make_embedder().embed(["one"])
    assert time.monotonic() - began < 5
