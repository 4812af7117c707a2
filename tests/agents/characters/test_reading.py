"""Character files that are read, and files that are refused with every fault named."""

import json
import time
from pathlib import Path
from unicodedata import normalize

import pytest

from agents.characters import CharacterFileError, check_character, parse_character
from agents.characters.reading import MAX_BYTES

SAMPLES = Path(__file__).parent / "samples"


def parse(raw):
    return parse_character(raw, source="file.json")


def faults_of(raw):
    with pytest.raises(CharacterFileError) as caught:
        parse(raw)
    return [str(fault) for fault in caught.value.faults]


def sample(name):
    return parse((SAMPLES / name).read_bytes())


def test_the_first_line_comes_into_the_1x_shape():
    document = sample("v0.json")
    content = document.content
    assert content["bio"] == ["Keeps a lighthouse that no ship needs any more."]
    assert content["messageExamples"] == [
        [
            {"name": "{{name1}}", "content": {"text": "Hello {{name2}}, is it lonely?"}},
            {"name": "Bram", "content": {"text": "Gulls, {{name1}}. So: no.", "actions": ["CONTINUE"]}},
        ]
    ]
    assert content["plugins"] == ["weather", "@elizaos/plugin-node"]
    assert content["lore"] == ["Once rowed out for a hat.", "Talks to the lamp."]
    assert content["modelProvider"] == "openai"
    assert content["extends"] == ["./keeper.json"]
    assert content["clientConfig"] == {"discord": {"shouldIgnoreBotMessages": True}}
    assert document.secrets == {
        "settings": {"secrets": {"OPENAI_API_KEY": "sk-v0"}},
        "clientConfig": {"discord": {"botToken": "discord-bot-token"}},
    }


def test_a_1x_file_stays_as_it_is_but_for_its_secrets():
    document = sample("v1.json")
    given = json.loads((SAMPLES / "v1.json").read_bytes())
    assert document.secrets == {
        "settings": {"secrets": {"DISCORD_API_TOKEN": "token-v1"}, "OPENAI_API_KEY": "sk-v1"},
        "secrets": {"PIN": 4711},
    }
    del given["secrets"]
    given["settings"] = {"avatar": "ada.png"}
    assert document.content == given
    assert "token-v1" not in repr(document)


def test_the_2x_line_comes_into_the_1x_shape():
    content = sample("v2.json").content
    assert [message["name"] for message in content["messageExamples"][0]] == ["{{name1}}", "Nilo"]
    assert content["knowledge"] == [
        {"path": "river.md"},
        {"directory": "charts", "shared": True},
        {"directory": "tides"},
        "currents.md",
    ]
    assert "documents" not in content
    assert "username" not in content
    assert content["advancedMemory"] is True
    assert content["moodRing"] == {"colour": "green"}


def test_an_agent_that_wraps_its_character_is_opened():
    content = sample("v2_agent.json").content
    assert content == {"name": "Nilo", "bio": ["Crosses the river."], "postExamples": ["All aboard."]}
    assert parse('{"name": null, "character": {"name": "Nilo"}}').content["name"] == "Nilo"
    assert faults_of('{"character": {"name": 5}}') == [
        "character.name: expected a name: text that isn't empty, got 5"
    ]


def test_every_fault_is_named_with_its_place_and_cure():
    assert faults_of((SAMPLES / "broken.json").read_bytes()) == [
        'name: expected a name: text that isn\'t empty, got " "',
        'id: expected a UUID, or no id at all, got "seven"',
        "bio[0]: expected text, got 1",
        "messageExamples[1]: expected a conversation: a list of messages, got an object",
        'messageExamples[2][0].content: expected an object with "text", got 5',
        "messageExamples[2][1].name: expected the speaker's name, got null",
        'messageExamples[2][2]: expected a message: an object with "name" and "content", got "hello"',
        "messageExamples[2][3].content.text: expected text, got 7",
        'topics: expected a list of texts, got "fog"',
        "adjectives[0]: expected text, got null",
        'style.chat: expected a list of texts, got "short"',
        'knowledge[0]: expected text, or an object with "path" or "directory", got an object',
        "plugins[0]: expected a plugin's name, got an object",
        'templates["reply template"]: expected text, got 1',
        "settings.secrets.KEY: expected text, a number, true or false, got a list",
        'advancedMemory: expected true or false, got "yes"',
    ]


@pytest.mark.parametrize(
    ("raw", "fault"),
    [
        ("", "$: expected a JSON object, got an empty file"),
        ("[]", '$: expected one character: an object with a "name", got a list of 0'),
        (
            '{"agents": [{"name": "x"}, {"name": "y"}]}',
            "agents: expected one character in a file: save each of them as a file of its own, got a list of 2",
        ),
        (
            '{"character": "eliza", "bio": 5}',
            'character: expected the character itself: an object with a "name", got "eliza"',
        ),
        ("{}", "name: expected a name: text that isn't empty, got nothing"),
        ('{"name": null}', "name: expected a name: text that isn't empty, got nothing"),
        ('{"name": "' + "x" * 101 + '"}', "name: expected at most 100 characters, got 101"),
        (
            '{\n  "name": "x",\n}',
            "line 3, column 1: expected JSON, got a comma with nothing after it: take it out",
        ),
        (
            '{"name": "x", "bio": ["a", ] }',
            "line 1, column 28: expected JSON, got a comma with nothing after it: take it out",
        ),
        (
            '{"name": "x" // me\n}',
            "line 1, column 14: expected JSON, got a comment, which JSON has none of: take it out",
        ),
        ("{'name': 'x'}", "line 1, column 2: expected JSON, got single quotes: write double ones"),
        (
            '{"name": "x"',
            "line 1, column 13: expected JSON, got an end where more should follow: is the file cut off?",
        ),
        ('{"name": "a\nb"}', "line 1, column 12: expected JSON, got a mistake: Invalid control character"),
        (
            '{"name": "a\\nb"}',
            'name: expected a name in one line, without control characters, got "a\\nb"',
        ),
        (
            '{"name": "a\\u009bb"}',
            'name: expected a name in one line, without control characters, got "a\\u009bb"',
        ),
        (
            '{"name": "x", "templates": {"' + "k" * 1000 + '": 1}}',
            'templates["' + "k" * 100 + '..."]: expected text, got 1',
        ),
        ('{"name": "x", "bio": "a", "bio": "b"}', "bio: expected each key once, got the key again"),
        (
            '{"name": "x", "settings": {"a": {"b": 1, "b": 1}}}',
            "settings.a.b: expected each key once, got the key again",
        ),
        (
            '{"name": "x", "bio": ["ok", "a\\ud83d"]}',
            "bio[1]: expected whole characters (half of a surrogate pair was cut off), "
            "got a lone \\ud83d at character 2",
        ),
        ('{"name": "a\\u0000b"}', "name: expected text without NUL, got \\u0000 at character 2"),
        ('{"name": "x", "mood": NaN}', "mood: expected a finite number, got NaN"),
        ('{"name": "x", "mood": 1e999}', "mood: expected a finite number, got Infinity"),
        (
            '{"name": "x", "mood": ' + "9" * 5000 + "}",
            "$: expected numbers that a program can hold, got one of thousands of digits",
        ),
        ('{"name": "x", "a": ' + "[" * 100_000, "$: expected at most 64 levels, got deeper nesting"),
        (b'{"name":\n "\xff"}', "$: expected UTF-8, got byte 0xff in line 2: save the file as UTF-8"),
        (
            '{"name": "x"}'.encode("utf-16"),
            "$: expected UTF-8, got UTF-16 or UTF-32: save the file as UTF-8",
        ),
        (
            '{"name": "x"}'.encode("utf-16-le"),
            "$: expected UTF-8, got a zero byte, as in UTF-16 or in what is no text: save the file as UTF-8",
        ),
        (b" " * (MAX_BYTES + 1), "$: expected at most 2 MiB, got more"),
    ],
)
def test_what_is_no_character_is_refused_with_a_clear_word(raw, fault):
    assert faults_of(raw) == [fault]


def test_nesting_that_json_reads_but_nothing_should_store_is_refused():
    faults = faults_of('{"name": "x", "a": ' + "[" * 200 + "]" * 200 + "}")
    assert len(faults) == 1
    assert faults[0].endswith("expected at most 64 levels, got deeper nesting")


def test_a_byte_order_mark_is_dropped():
    assert parse(b'\xef\xbb\xbf{"name": " Ann "}').content == {"name": "Ann", "bio": []}
    assert parse('\ufeff{"name": "Ann"}').name == "Ann"


def test_a_whole_surrogate_pair_is_a_character():
    assert parse('{"name": "\\ud83d\\ude00"}').name == "\U0001f600"


def test_a_name_is_composed_and_all_else_stays_as_it_was_written():
    apart = normalize("NFD", "Zoé")
    assert parse(json.dumps({"name": apart, "username": apart, "bio": [apart]})).content == {
        "name": "Zoé",
        "username": apart,
        "bio": [apart],
    }


def test_a_name_is_as_long_as_it_is_once_it_is_composed():
    assert parse(json.dumps({"name": normalize("NFD", "é" * 100)})).name == "é" * 100
    assert faults_of(json.dumps({"name": "\u0958" * 60})) == [
        "name: expected at most 100 characters, got 120"
    ]


def test_a_secret_is_never_shown_in_a_fault():
    text = "\n".join(
        faults_of('{"name": "x", "secrets": "hush", "settings": {"secrets": {"A": {"b": "hush"}}}}')
    )
    assert "hush" not in text
    assert "secrets: expected an object, got text" in text


def test_checking_takes_what_a_program_made():
    assert check_character({"name": "Ann", "bio": "One line."}) == []
    assert [fault.path for fault in check_character({"name": "A\0", "topics": 1})] == ["name"]
    assert check_character({"name": "Ann", "knowledge": [{"item": {"case": []}}]})[0].path == "knowledge[0]"


def test_of_very_many_faults_the_first_are_named():
    faults = faults_of(json.dumps({"name": "x", "topics": [1] * 100_000}))
    assert faults[99:] == [
        "topics[99]: expected text, got 1",
        "$: expected at most 100 mistakes, got more: those before this line are the first",
    ]
    assert len(faults_of(json.dumps({"name": "x", "topics": [1] * 100}))) == 100


def test_one_repeated_key_among_very_many_is_found_in_no_time():
    keys = ", ".join(f'"key{number}": 1' for number in range(100_000))
    began = time.process_time()
    assert faults_of(f'{{"name": "x", {keys}, "name": "y"}}') == [
        "name: expected each key once, got the key again"
    ]
    assert time.process_time() - began < 5
