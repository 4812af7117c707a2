"""What stays for others when somebody is forgotten, and what becomes of it: the rule of `docs/privacy.md`."""

from __future__ import annotations

from typing import Any, Literal
from unicodedata import normalize

import pytest

from agents import forgetting, work
from agents.forgetting import CannotForget
from agents.inbox import receive
from agents.llm.router import answering_with
from agents.llm.scripted import ScriptedModel
from agents.models import Agent, Delivery, Message, ModelCall, Person, Room, Step, Turn
from memory.memories import MemoryDraft, remember
from memory.models import Memory
from plugins.models import PluginState
from tests.doubles.lives import columns_with


class Talk:
    """People speak to Eliza, who answers by repeating what they said."""

    def __init__(self, incoming: Any) -> None:
        self._incoming = incoming

    def say(self, who: str, text: str, *, room: str = "group", type_: str = "GROUP", **more: Any) -> Any:
        with answering_with(ScriptedModel(lambda request: f"I heard: {request.messages[-1].content}")):
            message = self._incoming(text, person=who, room=room, room_type=type_, is_addressed=True, **more)
            receipt = receive(message)
            work.drain_lane(receipt.lane_id)
        return receipt

    def forget(self, who: str) -> None:
        person = Person.objects.get(name=who.title(), forgotten_at=None)
        assert forgetting.go_on(forgetting.begin(person.pk, by="ada", why="Asked.").pk)

    def said(self, room: str = "group") -> list[str]:
        messages = Message.objects.filter(room__external_id=room).order_by("received_at")
        return list(messages.values_list("text", flat=True))


@pytest.fixture
def talk(incoming: Any) -> Talk:
    """A talk on a site where another has said before what everyone says."""
    talk = Talk(incoming)
    ordinary = "everyone heard and says hello, plays and likes football, knows what is named, told it under something"
    talk.say("carol", ordinary, room="dm-carol", type_="DM")
    return talk


def test_in_a_shared_room_others_words_stay_and_answers_stay_without_the_persons(talk: Talk) -> None:
    talk.say("bob", "Good morning everyone, I said this before")
    talk.say("ann", "My cat is named Mitzi")
    talk.say("bob", "What is the cat of Ann named?")
    talk.forget("ann")
    assert talk.said() == [
        "Good morning everyone, I said this before",
        "I heard: Bob: Good morning everyone, I said this before",
        # The answer to Ann repeated her whole sentence. Of what Bob said, her name alone is cut.
        "I heard: […]",
        "What is the cat of Ann named?",
        "I heard: Bob: What is the cat of […] named?",
    ]
    group = Message.objects.filter(room__external_id="group")
    assert set(group.values_list("person__name", flat=True)) == {"Bob", None}
    assert set(Turn.objects.values_list("person__name", flat=True)) == {"Bob", "Carol"}


def test_her_private_rooms_go_whole_and_others_private_rooms_stay_whole(talk: Talk) -> None:
    talk.say("ann", "Between us", room="dm-ann", type_="DM")
    talk.say("bob", "Ann has a cat, she told me", room="dm-bob", type_="DM")
    talk.forget("ann")
    assert not Room.objects.filter(external_id__contains="ann").exists()
    assert talk.said("dm-bob") == ["Ann has a cat, she told me", "I heard: Ann has a cat, she told me"]
    assert Memory.objects.filter(text__contains="Ann has a cat").count() == 2


def test_a_direct_chat_of_two_humans_is_a_shared_room_and_one_with_a_bot_is_not(talk: Talk) -> None:
    talk.say("ann", "Hello zebra", room="two", type_="DM")
    talk.say("bob", "Hello", room="two", type_="DM")
    talk.say("ann", "Hello bot", room="bot", type_="DM")
    talk.say("beep", "Hello Ann", room="bot", type_="DM", is_bot=True)
    talk.forget("ann")
    assert talk.said("two")[-2:] == ["Hello", "I heard: Hello"]
    assert "I heard: Hello […]" in talk.said("two")
    assert talk.said("bot") == []
    assert Person.objects.filter(name="Beep").exists()


def test_what_a_bot_said_is_cut_and_what_a_human_quotes_is_theirs(talk: Talk) -> None:
    talk.say("ann", "The treasure is under the oak")
    talk.say("beep", "Ann says: the treasure is under the oak", is_bot=True)
    talk.say("bob", "> The treasure is under the oak\nReally?")
    talk.forget("ann")
    said = talk.said()
    assert "> The treasure is under the oak\nReally?" in said, "Bob wrote that"
    assert "Ann says: the treasure is under the oak" not in said
    assert "[…] says: the treasure is under the oak" in said, "and what he wrote is not hers alone any more"


def test_traces_of_others_lose_their_prompts_and_her_words(talk: Talk) -> None:
    talk.say("bob", "First of all")
    before = talk.say("bob", "Second of all")
    talk.say("ann", "The treasure is under the oak")
    after = talk.say("bob", "Where is it, Eliza?")
    Step.objects.filter(turn=after.turn_id, name="generate").update(
        output={"text": "It is under the oak, says Ann", "actions": ["REPLY"]}
    )
    talk.forget("ann")
    assert ModelCall.objects.get(turn=before.turn_id).prompt != [], "she had not spoken yet"
    call = ModelCall.objects.get(turn=after.turn_id)
    assert (call.prompt, call.answer) == ([], "I heard: Bob: Where is it, Eliza?")
    output = Step.objects.get(turn=after.turn_id, name="generate").output
    assert output == {"text": "It […], says […]", "actions": ["REPLY"]}


def test_what_was_learnt_from_her_goes_whoever_it_is_about_and_documents_stay(
    talk: Talk, agent: Agent
) -> None:
    said = talk.say("ann", "Bob plays the trombone")
    bob = talk.say("bob", "I play football")
    draft: dict[str, Any] = {
        "agent_id": agent.pk, "room_id": said.room_id, "scope": "room", "said_at": "2026-05-01T00:00:00Z",
    }  # fmt: skip
    learnt = (
        ("fact", "He makes music.", said),
        ("fact", "Bob likes the trombone.", bob),
        ("fact", "Bob plays football.", bob),
        ("document", "The trombone is an instrument.", bob),
    )
    remember(
        [
            MemoryDraft(
                kind=kind, text=text, person_id=bob.person_id, source_messages=(source.message_id,), **draft
            )
            for kind, text, source in learnt
        ]
    )
    talk.forget("ann")
    left = Memory.objects.exclude(kind="message").values_list("text", flat=True)
    assert sorted(left) == ["Bob plays football.", "The trombone is an instrument."]
    assert Memory.objects.filter(kind="message", speaker="Bob").exists()


def test_a_reply_that_was_not_sent_is_never_sent(talk: Talk) -> None:
    talk.say("ann", "Hello")
    mine = Delivery.objects.filter(room__external_id="group")
    assert mine.get().state == "pending"
    talk.forget("ann")
    delivery = mine.get()
    assert (delivery.state, delivery.error) == ("failed", "Whom it answers was forgotten.")


def test_what_an_agent_kept_for_everywhere_has_all_its_rooms_searched(talk: Talk, agent: Agent) -> None:
    talk.say("ann", "The password is swordfish", room="dm-ann", type_="DM")
    state = PluginState.objects.create(plugin="p", agent=agent, state={"last": "swordfish"})
    # A plugin tells it to everyone from then on.
    other = talk.say("bob", "Tell me", room="dm-bob", type_="DM")
    Message.objects.filter(turn=other.turn_id).update(text="It is swordfish.")
    ModelCall.objects.filter(turn=other.turn_id).update(prompt=[{"role": "system", "content": "swordfish"}])
    talk.forget("ann")
    assert PluginState.objects.get(pk=state.pk).state == {"last": "[…]"}
    assert talk.said("dm-bob") == ["Tell me", "It is […]."]
    assert ModelCall.objects.get(turn=other.turn_id).prompt == []


def test_where_nothing_was_kept_for_everywhere_others_private_rooms_are_not_touched(talk: Talk) -> None:
    talk.say("ann", "The password is swordfish", room="dm-ann", type_="DM")
    other = talk.say("bob", "Tell me", room="dm-bob", type_="DM")
    talk.forget("ann")
    assert ModelCall.objects.get(turn=other.turn_id).prompt != []


def test_what_others_networks_sent_along_of_her_goes(talk: Talk) -> None:
    said = talk.say("ann", "The treasure is under the oak")
    key = Message.objects.get(pk=said.message_id).external_id
    sent = {"id": 8, "lang": "en", "reply_to_message": {"from": {"id": "ann"}, "text": "The treasure"}}
    talk.say("bob", "Really?", reply_to_external_id=key, platform_data=sent)
    talk.say("bob", "And now?", reply_to_external_id="another", platform_data={"lang": "en"})
    talk.forget("ann")
    first, second = Message.objects.filter(person__name="Bob", direction="in").order_by("received_at")
    assert (first.text, first.reply_to_external_id, first.platform_data) == (
        "Really?",
        "",
        {"id": 8, "lang": "en"},
    )
    assert (second.reply_to_external_id, second.platform_data) == ("another", {"lang": "en"})


@pytest.mark.parametrize("form", ["NFC", "NFD"])
def test_what_was_sent_apart_of_her_goes_too(talk: Talk, agent: Agent, form: Literal["NFC", "NFD"]) -> None:
    quoted = {"kept": normalize(form, "déjà vu"), "quote": {"from": normalize(form, "Léa"), "text": "x"}}
    lea = talk.say("léa", normalize(form, "Meine Katze heißt Chloé"))
    bob = talk.say("bob", "Good morning", platform_data=quoted)
    ModelCall.objects.filter(turn_id=bob.turn_id).update(answer=normalize(form, "Chloé is the cat of Léa"))
    PluginState.objects.create(
        plugin="p", agent=agent, room_id=bob.room_id, state={"note": normalize(form, "Léa: Chloé"), "n": 1}
    )
    with pytest.raises(CannotForget, match="names the person"):
        forgetting.begin(lea.person_id, by="ada", why=normalize(form, "Léa asked"))
    talk.forget("léa")
    assert not {
        place
        for name in ("léa", "chloé")
        for each in ("NFC", "NFD")
        for place in columns_with(normalize(each, name))
    }
    assert Message.objects.get(pk=bob.message_id).platform_data == {"kept": normalize(form, "déjà vu")}


def test_two_agents_of_one_person_are_searched_each(talk: Talk, agent: Agent, incoming: Any) -> None:
    from tests.conftest import make_agent
    from transports.models import Connection

    iris = Connection.objects.create(agent=make_agent(name="Iris"), platform="telegram", transport="fake")
    talk.say("ann", "The treasure is under the oak")
    talk.say("ann", "I told Eliza of the treasure", connection_id=iris.pk)
    talk.say("bob", "Hello", connection_id=iris.pk)
    talk.forget("ann")
    assert not Message.objects.filter(text__contains="treasure").exists()
    assert not Memory.objects.filter(text__contains="treasure").exists()


def test_an_agent_that_heard_of_her_from_another_agent_alone_is_searched_too(talk: Talk) -> None:
    from tests.conftest import make_agent
    from transports.models import Connection

    iris = Connection.objects.create(agent=make_agent(name="Iris"), platform="telegram", transport="fake")
    talk.say("ann", "The treasure is under the oak")
    talk.say("beep", "Ann told me of a treasure", connection_id=iris.pk, is_bot=True)
    talk.forget("ann")
    assert not Message.objects.filter(text__contains="treasure").exists()
    assert not Memory.objects.filter(text__contains="treasure").exists()
