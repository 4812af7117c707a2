"""The character's page: the form, its versions, files in and out, and secrets that are never shown."""

from __future__ import annotations

import json

import pytest
from django.contrib.auth.models import Permission, User
from django.core.files.uploadedfile import SimpleUploadedFile
from django.urls import reverse

from agents.characters import parse_character, save_character
from agents.models import Agent, Character, CharacterVersion
from memory.models import Chunk

pytestmark = pytest.mark.django_db

LIST = reverse("admin:agents_character_changelist")
ADD = reverse("admin:agents_character_add")
IMPORT = reverse("admin:agents_character_import_file")
SECRET = "sk-never-to-be-shown"
DOCUMENT = {
    "name": "Ada",
    "username": "ada",
    "system": "You are Ada.\nBe brief.",
    "bio": ["Writes notes.", "Knows engines."],
    "topics": ["engines"],
    "style": {"all": ["short"], "mood": ["dry"]},
    "messageExamples": [
        [
            {"name": "{{name1}}", "content": {"text": "Hello"}},
            {"name": "Ada", "content": {"text": "Good day.", "actions": ["REPLY"]}},
        ]
    ],
    "postExamples": ["One.\nTwo."],
    "settings": {"model": "small", "secrets": {"OPENAI_API_KEY": SECRET}},
    "clients": ["discord"],
    "x-unknown": {"kept": [1, None, 2.5]},
}


@pytest.fixture
def ada():
    return save_character(parse_character(json.dumps(DOCUMENT), source="test"))


def page(character):
    return reverse("admin:agents_character_change", args=[character.pk])


def shown_form(client, address):
    """What a browser would send back if nobody touched the form."""
    response = client.get(address)
    form = response.context["adminform"].form
    data = {name: form[name].value() or "" for name in form.fields}
    for inline in response.context["inline_admin_formsets"]:
        for name, field in inline.formset.management_form.initial.items():
            data[f"{inline.formset.prefix}-{name}"] = field
    return {name: str(value).replace("\n", "\r\n") for name, value in data.items()}


def save(client, character, **changes):
    return client.post(page(character), shown_form(client, page(character)) | changes)


def errors(response):
    return response.context["adminform"].form.errors


def test_saving_an_untouched_form_changes_nothing(admin_client, ada):
    before = Character.objects.get(pk=ada.pk)

    assert save(admin_client, ada).status_code == 302

    after = Character.objects.get(pk=ada.pk)
    assert (after.document, after.secrets, after.version) == (before.document, before.secrets, 1)


def test_a_changed_field_makes_a_version_and_leaves_everything_else_as_it_was(admin_client, ada):
    response = save(admin_client, ada, topics="engines\r\npoetry\r\n", style_chat="ask back")

    assert response.status_code == 302
    after = Character.objects.get(pk=ada.pk)
    expected = dict(ada.document, topics=["engines", "poetry"])
    expected["style"] = {**ada.document["style"], "chat": ["ask back"]}
    assert after.document == expected
    assert after.secrets == ada.secrets
    assert list(after.versions.values_list("number", flat=True)) == [2, 1]


def test_saving_tells_workers_that_the_agent_changed(admin_client, ada):
    before = Agent.objects.get(character=ada).revision

    save(admin_client, ada, system="You are Ada. Be kind.")

    assert Agent.objects.get(character=ada).revision == before + 1


def test_a_character_can_be_renamed_and_stays_the_same_character(admin_client, ada):
    assert save(admin_client, ada, name="Ada Lovelace").status_code == 302

    after = Character.objects.get()
    assert (after.pk, after.name, after.document["name"]) == (ada.pk, "Ada Lovelace", "Ada Lovelace")


def test_a_new_character_is_made_from_the_form_and_put_to_work(admin_client):
    data = shown_form(admin_client, ADD) | {
        "name": "Grace",
        "bio": "Finds moths.",
        "message_examples": "{{name1}}: Is it broken?\n\nGrace [REPLY]: It has a moth.",
        "settings": '{"tone": "dry", "secrets": {"TOKEN": "' + SECRET + '"}}',
    }

    assert admin_client.post(ADD, data).status_code == 302

    grace = Character.objects.get(name="Grace")
    assert grace.slug == "grace"
    assert len(grace.document["messageExamples"]) == 2
    assert grace.document["settings"] == {"tone": "dry"}
    assert grace.secrets == {"settings": {"secrets": {"TOKEN": SECRET}}}
    assert grace.agents.count() == 1


def test_every_fault_stands_at_its_field_and_nothing_is_saved(admin_client, ada):
    response = save(
        admin_client,
        ada,
        message_examples="nobody speaks",
        templates='{"reply": 5}',
        settings="{",
        new_secrets="[1]",
    )

    assert response.status_code == 200
    assert set(errors(response)) == {"message_examples", "settings", "new_secrets"}
    assert "Line 1 is no message" in str(errors(response)["message_examples"])
    response = save(admin_client, ada, templates='{"reply": 5}', knowledge='[{"neither": 1}]')
    assert set(errors(response)) == {"templates", "knowledge"}
    assert "templates.reply: expected text, got 5" in errors(response)["templates"]
    assert Character.objects.get(pk=ada.pk).version == 1


def test_a_name_that_another_character_has_is_refused_at_its_field(admin_client, ada):
    save_character(parse_character('{"name": "Grace"}', source="test"))

    response = save(admin_client, ada, name="Grace")

    assert set(errors(response)) == {"name"}


def test_secrets_are_never_shown_and_their_names_are(admin_client, ada):
    shown = admin_client.get(page(ada)).content.decode()

    assert SECRET not in shown
    assert "settings.secrets.OPENAI_API_KEY" in shown


def test_secrets_are_replaced_added_and_forgotten_by_name(admin_client, ada):
    save(admin_client, ada, new_secrets='{"OPENAI_API_KEY": "new", "OTHER": "more"}')
    assert Character.objects.get(pk=ada.pk).secrets == {
        "settings": {"secrets": {"OPENAI_API_KEY": "new", "OTHER": "more"}}
    }

    save(admin_client, ada, new_secrets='{"OPENAI_API_KEY": null}')
    assert Character.objects.get(pk=ada.pk).secrets == {"settings": {"secrets": {"OTHER": "more"}}}


def test_what_the_form_does_not_know_is_shown_as_json(admin_client, ada):
    shown = admin_client.get(page(ada)).content.decode()

    assert "x-unknown" in shown
    assert "mood" in shown


def test_a_file_is_exported_without_its_secrets(admin_client, ada):
    response = admin_client.get(reverse("admin:agents_character_export_file", args=[ada.pk]))

    exported = json.loads(response.content)
    assert exported == {**DOCUMENT, "settings": {"model": "small"}}
    assert response["Content-Disposition"] == 'attachment; filename="ada.character.json"'


def test_a_file_is_imported_as_a_new_version(admin_client, ada):
    file = SimpleUploadedFile("ada.json", json.dumps({**DOCUMENT, "topics": ["notes"]}).encode())

    response = admin_client.post(IMPORT, {"file": file})

    assert response["Location"] == page(ada)
    after = Character.objects.get(pk=ada.pk)
    assert (after.version, after.document["topics"]) == (2, ["notes"])


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"no json", ["line 1, column 1: expected JSON"]),
        (
            b'{"bio": 5, "topics": [1]}',
            ["name: expected a name", "bio: expected text", "topics[0]: expected"],
        ),
        (b"\xff\xfe", ["expected UTF-8"]),
        (b"\x89PNG\r\n\x1a\n\0", ["a zero byte", "save the file as UTF-8"]),
        (b" " * 20_000_000, ["expected at most 2 MiB, got more"]),
        (b'{"name": "x",}', ["line 1, column 14", "a comma with nothing after it: take it out"]),
        (b'[{"name": "x"}]', ["expected one character", "got a list of 1"]),
        (b"{}", ["name: expected a name"]),
        (b'{"name": "' + b"x" * 300 + b'"}', ["name: expected at most 100 characters, got 300"]),
        (b'{"name": "x", "name": "y"}', ["name: expected each key once"]),
        (b'{"name": ' + b"[" * 10_000 + b"]" * 10_000 + b"}", ["expected at most 64 levels"]),
        (b'{"name": "x", "a\\u0000b": 1}', ["expected text without NUL"]),
    ],
)
def test_a_bad_file_is_refused_with_every_fault_named(admin_client, content, expected):
    response = admin_client.post(IMPORT, {"file": SimpleUploadedFile("bad.json", content)})

    shown = " ".join(response.context["form"].errors["file"])
    assert response.status_code == 200
    assert [text for text in expected if text not in shown] == []
    assert not Character.objects.exists()


def test_a_version_shows_what_it_changed_and_can_be_restored(admin_client, ada):
    save(admin_client, ada, topics="poetry")
    first = CharacterVersion.objects.get(character=ada, number=1)
    second = CharacterVersion.objects.get(character=ada, number=2)

    shown = admin_client.get(reverse("admin:agents_characterversion_change", args=[second.pk]))
    assert "+    &quot;poetry&quot;" in shown.content.decode()
    assert "-    &quot;engines&quot;" in shown.content.decode()

    restore = reverse("admin:agents_characterversion_restore", args=[first.pk])
    assert "Restore this version?" in admin_client.get(restore).content.decode()
    assert Character.objects.get(pk=ada.pk).version == 2
    response = admin_client.post(restore, {"_form_submitted": "on"})

    assert response["HX-Redirect"] == page(ada)
    after = Character.objects.get(pk=ada.pk)
    assert (after.version, after.document, after.secrets) == (3, ada.document, ada.secrets)


def test_seeing_characters_is_no_permission_to_change_import_or_restore(client, ada):
    user = User.objects.create_user("reader", is_staff=True)
    for name in ("view_character", "view_characterversion"):
        user.user_permissions.add(Permission.objects.get(codename=name))
    client.force_login(user)
    restore = reverse("admin:agents_characterversion_restore", args=[ada.versions.get().pk])

    assert client.get(page(ada)).status_code == 200
    assert client.post(page(ada), {"name": "Eve"}).status_code == 403
    assert client.get(IMPORT).status_code == 403
    assert client.post(restore, {"_form_submitted": "on"}).status_code == 403
    assert SECRET not in client.get(page(ada)).content.decode()


def test_a_character_with_an_agent_cannot_be_deleted_and_one_without_can(admin_client, ada):
    delete = reverse("admin:agents_character_delete", args=[ada.pk])

    admin_client.post(delete, {"post": "yes"})
    assert Character.objects.filter(pk=ada.pk).exists()

    ada.agents.all().delete()
    admin_client.post(delete, {"post": "yes"})
    assert not Character.objects.filter(pk=ada.pk).exists()


def knowledge_of(agent):
    return sorted(chunk.memory.text for chunk in Chunk.objects.filter(document__agent=agent))


def test_an_upload_has_its_words_known_and_reads_no_file_of_this_machine(admin_client, tmp_path, monkeypatch):
    (tmp_path / "secret.md").write_text("the secret")
    monkeypatch.chdir(tmp_path)
    knowledge = ["The lamp turns.", "secret.md", {"path": str(tmp_path / "secret.md")}, {"directory": "."}]
    file = SimpleUploadedFile("ada.json", json.dumps({"name": "Ada", "knowledge": knowledge}).encode())

    response = admin_client.post(IMPORT, {"file": file}, follow=True)

    assert knowledge_of(Agent.objects.get()) == ["The lamp turns."]
    told = " ".join(map(str, response.context["messages"]))
    assert f"Files that Ada names as its knowledge (secret.md, {tmp_path}/secret.md, .) are read by" in told


def test_words_that_the_form_changes_are_known_and_old_ones_forgotten(
    admin_client, ada, django_capture_on_commit_callbacks
):
    with django_capture_on_commit_callbacks(execute=True):
        save(admin_client, ada, knowledge="The lamp turns.\r\nIt is tall.")
    assert knowledge_of(ada.agents.get()) == ["It is tall.", "The lamp turns."]

    with django_capture_on_commit_callbacks(execute=True):
        save(admin_client, ada, knowledge="It is tall.")
    assert knowledge_of(ada.agents.get()) == ["It is tall."]

    first = CharacterVersion.objects.get(character=ada, number=1)
    restore = reverse("admin:agents_characterversion_restore", args=[first.pk])
    admin_client.post(restore, {"_form_submitted": "on"})
    assert knowledge_of(ada.agents.get()) == []


def test_what_of_a_file_has_no_effect_is_told_once_it_is_imported(admin_client):
    content = {"name": "🦊", "style": {"al": ["short"]}, "plugins": ["@elizaos/plugin-nowhere"]}
    file = SimpleUploadedFile("fox.json", json.dumps(content).encode("utf-8-sig"))

    response = admin_client.post(IMPORT, {"file": file}, follow=True)

    assert [str(message) for message in response.context["messages"]] == [
        "🦊: plugins that are not here are ignored: @elizaos/plugin-nowhere.",
        "🦊: keys that mean nothing here: style.al (is it all?).",
        "🦊 is saved as version 1.",
    ]


def test_a_missing_encryption_key_is_told_beside_the_file(admin_client, settings):
    settings.FIELD_ENCRYPTION_KEY = []
    file = SimpleUploadedFile("ada.json", json.dumps(DOCUMENT).encode())

    response = admin_client.post(IMPORT, {"file": file})

    assert "FIELD_ENCRYPTION_KEY is not set" in " ".join(response.context["form"].errors["file"])
    assert not Character.objects.exists()


@pytest.mark.parametrize("field", ["new_secrets", "settings"])
def test_a_missing_encryption_key_is_told_beside_the_field_that_needs_it(admin_client, settings, field):
    settings.FIELD_ENCRYPTION_KEY = []
    given = {"OPENAI_API_KEY": SECRET} if field == "new_secrets" else {"secrets": {"OPENAI_API_KEY": SECRET}}

    response = admin_client.post(
        reverse("admin:agents_character_add"), {"name": "Eve", field: json.dumps(given)}
    )

    assert "FIELD_ENCRYPTION_KEY is not set" in " ".join(response.context["adminform"].form.errors[field])
    assert not Character.objects.exists()
