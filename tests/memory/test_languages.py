"""Recall in languages that the database has no stems of: by the beginnings of words, and by pairs of signs."""

from __future__ import annotations

import datetime as dt
from typing import Any

import pytest

from memory.memories import remember

# What was said, and each question with the place of what answers it. No question has a word of its answer alone in
# the very form in which it was said, where the language has forms.
TALKS: dict[str, tuple[tuple[str, ...], tuple[tuple[str, int], ...]]] = {
    "German": (
        (
            "Meine Katzen schlafen am liebsten auf dem Sofa.",
            "Am Samstag haben wir eine Wanderung in den Bergen gemacht.",
            "Mein Bruder arbeitet seit März als Arzt in Hamburg.",
            "Ich lerne gerade Gitarre und übe jeden Abend.",
            "Unsere Nachbarin hat einen Apfelkuchen gebacken.",
            "Im Sommer fliegen wir mit den Kindern nach Portugal.",
            "Der Drucker im Büro ist schon wieder kaputt.",
            "Ich habe gestern zwei Bücher über Pilze gekauft.",
        ),
        (
            ("Wo schläft Annas Katze?", 0),
            ("Wer ist in den Bergen gewandert?", 1),
            ("Was ist ihr Bruder? Arzt?", 2),
            ("Welches Instrument übt Anna? Gitarren?", 3),
            ("Wer bäckt gern? Die Nachbarn?", 4),
            ("Fliegt Anna im Sommer?", 5),
            ("Was ist mit den Druckern?", 6),
            ("Welche Pilzbücher? Ein Buch über einen Pilz?", 7),
        ),
    ),
    "Spanish": (
        (
            "Mis hermanas viven en Valencia desde hace años.",
            "Ayer compré una bicicleta roja de segunda mano.",
            "Trabajamos en una panadería cerca del puerto.",
            "A mi perro le encanta nadar en el lago.",
            "Estoy aprendiendo a tocar el piano.",
            "El martes tengo cita con la dentista.",
            "Cocinamos lentejas todos los viernes.",
            "Perdí las llaves en la estación de tren.",
        ),
        (
            ("¿Dónde vive la hermana de Anna?", 0),
            ("¿Qué bicicletas compraron?", 1),
            ("¿En qué trabaja Anna?", 2),
            ("¿Qué hacen los perros?", 3),
            ("¿Qué aprende Anna?", 4),
            ("¿Cuándo van al dentista?", 5),
            ("¿Qué cocina Anna?", 6),
            ("¿Dónde está la llave?", 7),
        ),
    ),
    "Russian": (
        (
            "Моя собака боится грозы.",
            "Летом мы ездили на озеро ловить рыбу.",
            "Сестра работает врачом в больнице.",
            "Я купила новую машину в кредит.",
            "Дети учатся играть на скрипке.",
            "В воскресенье мы пекли пироги с капустой.",
            "Сосед опять слушает громкую музыку.",
            "Мне подарили книгу о птицах.",
        ),
        (
            ("Чего боятся собаки?", 0),
            ("Кто ловил рыб на озере?", 1),
            ("Кем работают её сёстры, врачи?", 2),
            ("Какие машины у Анны?", 3),
            ("Кто играет на скрипках?", 4),
            ("С чем были пирожки, с капустой?", 5),
            ("Что слушают соседи?", 6),
            ("О чём книги про птиц?", 7),
        ),
    ),
    "Hindi": (
        (
            "मेरी बिल्ली को सोफ़े पर सोना पसंद है।",
            "शनिवार को हम पहाड़ों में घूमने गए थे।",
            "मेरा भाई मार्च से मुंबई में डॉक्टर है।",
            "मैं आजकल गिटार सीख रही हूँ।",
            "कल मैंने लाल रंग की साइकिल खरीदी।",
            "गर्मियों में हम बच्चों के साथ समुद्र जाएँगे।",
            "दफ़्तर का प्रिंटर फिर से ख़राब हो गया।",
            "मैंने चाबियाँ रेलवे स्टेशन पर खो दीं।",
        ),
        (
            ("बिल्लियाँ कहाँ सोती हैं?", 0),
            ("पहाड़ पर कौन गया था?", 1),
            ("डॉक्टरी कौन करता है?", 2),
            ("गिटारों का शौक किसे है?", 3),
            ("किसके पास साइकिलें हैं?", 4),
            ("बच्चा कहाँ जाएगा?", 5),
            ("प्रिंटरों को क्या हुआ?", 6),
            ("चाबी कहाँ है?", 7),
        ),
    ),
    "Chinese": (
        (
            "我家的猫喜欢睡在沙发上。",
            "周末我们去山里徒步了。",
            "我哥哥在北京当医生。",
            "我最近在学弹吉他。",
            "昨天我买了一辆红色的自行车。",
            "夏天我们打算带孩子去海边。",
            "办公室的打印机又坏了。",
            "我把钥匙丢在火车站了。",
        ),
        (
            ("她的猫睡在哪里？", 0),
            ("谁去徒步了？", 1),
            ("谁是医生？", 2),
            ("吉他是谁在学？", 3),
            ("自行车是什么颜色的？", 4),
            ("海边什么时候去？", 5),
            ("打印机怎么了？", 6),
            ("钥匙在哪里？", 7),
        ),
    ),
    "Korean": (
        (
            "우리 고양이는 소파에서 자는 것을 좋아해.",
            "주말에 산으로 등산을 갔어.",
            "우리 오빠는 부산에서 의사로 일해.",
            "요즘 기타를 배우고 있어.",
            "어제 빨간 자전거를 샀어.",
            "여름에 아이들과 바다에 갈 거야.",
            "사무실 프린터가 또 고장 났어.",
            "열쇠를 기차역에서 잃어버렸어.",
        ),
        (
            ("고양이가 어디에서 자?", 0),
            ("누가 등산했어?", 1),
            ("의사는 누구야?", 2),
            ("누가 기타도 배워?", 3),
            ("자전거는 무슨 색이야?", 4),
            ("바다는 언제 가?", 5),
            ("프린터는 왜?", 6),
            ("열쇠는 어디에 있어?", 7),
        ),
    ),
}


@pytest.mark.parametrize("language", TALKS)
def test_what_was_said_is_found_by_words_alone_in_its_own_language(scene: Any, language: str) -> None:
    said, asked = TALKS[language]
    day = scene.draft().said_at
    remember([scene.draft(text, said_at=day + dt.timedelta(days=place)) for place, text in enumerate(said)])
    hits = [[hit.text for hit in scene.recall_by_words(question, limit=3)] for question, _ in asked]
    assert all(said[place] in found for (_, place), found in zip(asked, hits, strict=True))
    first = sum(found[0] == said[place] for (_, place), found in zip(asked, hits, strict=True))
    assert first >= len(asked) - 1


def test_without_the_beginnings_of_words_less_is_found(scene: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the beginnings are there for: with whole words alone, the tests above fail in four of five languages."""
    monkeypatch.setattr("memory.questions._beginning", lambda _word: "")
    said, asked = TALKS["Russian"]
    remember([scene.draft(text) for text in said])
    hits = [[hit.text for hit in scene.recall_by_words(question, limit=1)] for question, _ in asked]
    assert sum(found == [said[place]] for (_, place), found in zip(asked, hits, strict=True)) < len(asked) / 2


@pytest.mark.parametrize("word", ["می\u200cخواهم", "ශ්\u200dරී", "क्\u200dषमा", "വര്\u200dഷം"])
def test_a_word_with_joiners_is_found(scene: Any, word: str) -> None:
    remember([scene.draft(f"a {word} b"), scene.draft("another")])
    (hit, *_) = scene.recall_by_words(word)
    assert hit.text == f"a {word} b"
    assert hit.scores["text"] > 0


def test_signs_of_a_script_without_spaces_are_found_in_pairs(scene: Any) -> None:
    remember([scene.draft("我喜欢火车"), scene.draft("车上有火"), scene.draft("iPhone手机")])
    (hit, *_) = scene.recall_by_words("火车")
    assert hit.text == "我喜欢火车"
    assert scene.recall_by_words("IPHONE")[0].text == "iPhone手机"
