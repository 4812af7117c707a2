"""The estimate of tokens: above what a real tokenizer shows, for every script."""

from __future__ import annotations

import string

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from agents.tokens import WORDS, count_tokens, cut_to_tokens
from tests.doubles.smollm2 import real_tokens, tokenizer

SAMPLES = {
    "English": "I thought about what you said yesterday. My sister wants to move back home next month.",
    "German": "Ich habe lange darüber nachgedacht, was du gestern erzählt hast. Straßenbahnhaltestelle!",
    "Finnish": "Olen miettinyt paljon sitä, mitä sanoit eilen illalla, enkä oikein tiedä.",
    "Polish": "Dużo myślałem o tym, co powiedziałeś wczoraj wieczorem. Źdźbło żółte.",
    "Vietnamese": "Tôi đã suy nghĩ rất nhiều về những gì bạn nói tối qua.",
    "Turkish": "Dün akşam söylediklerini çok düşündüm, kız kardeşim eve dönmek istiyor.",
    "Russian": "Я много думал о том, что ты сказал вчера вечером.",
    "Greek": "Σκέφτηκα πολύ αυτό που είπες χθες το βράδυ.",
    "Arabic": "لقد فكرت كثيرا فيما قلته مساء أمس.",
    "Hebrew": "חשבתי הרבה על מה שאמרת אתמול בערב.",
    "Persian": "دیشب خیلی به حرف‌هایت فکر کردم.",
    "Hindi": "मैंने कल शाम तुम्हारी कही बात पर बहुत सोचा।",
    "Bengali": "গতকাল সন্ধ্যায় তুমি যা বলেছিলে তা নিয়ে আমি অনেক ভেবেছি।",
    "Tamil": "நேற்று மாலை நீ சொன்னதைப் பற்றி நிறைய யோசித்தேன்.",
    "Thai": "ฉันคิดมากเกี่ยวกับสิ่งที่คุณพูดเมื่อคืนนี้",
    "Chinese": "我昨晚想了很多你说的话。我姐姐下个月想搬回家住。",
    "Japanese": "昨夜あなたが言ったことについてずっと考えていました。ｶﾀｶﾅ",
    "Korean": "어젯밤에 네가 한 말을 많이 생각해 봤어.",
    "Georgian": "ბევრი ვიფიქრე იმაზე, რაც გუშინ საღამოს მითხარი.",
    "Amharic": "ትናንት ማታ ስለተናገርከው ነገር ብዙ አሰብኩ።",
    "Khmer": "ខ្ញុំគិតច្រើនអំពីអ្វីដែលអ្នកបាននិយាយយប់មិញ។",
    "emoji": "😀😃👩‍👩‍👧‍👦🇩🇪🏳️‍🌈👍🏽🎉 ok 🙂",
    "cuneiform": "𒀀𒁀𒂀 𓀀𓁀𓂀",
    "mathematics": "∀x∈ℝ: ⌈x⌉ = −⌊−x⌋ ⊕ 𝔄𝔅ℭ",
    "digits": "31415926535897932384626433832795",
    "base64": "aGVsbG8gd29ybGQgdGhpcyBpcyBhIHRlc3Qgb2YgYmFzZTY0IGVuY29kaW5n",
    "a hash": "3f9a0c7be1d244ff90ab12cd34ef5678",
    "an address": "https://example.org/some/path?query=1&other=value#fragment",
    "code": "def f(x):\n    return {k: v for k, v in x.items() if k != 'a'}\n",
    "spaces": "a          b\n\n\n\nc\t\t\td\r\n \u00a0 \u3000",
    "letters": "qxzjqvxkzwq hfhghfhg WXQZJK bcdfgh",
    "marks": "!@#$%^&*()_+-=[]{}|;':\",./<>?`~''''''s''t",
}


@pytest.mark.parametrize("name", SAMPLES)
def test_no_script_has_more_tokens_than_are_reckoned(name: str) -> None:
    text = SAMPLES[name]
    for sample in (text, text * 7, text[::-1], text.upper(), "".join(text.split())):
        assert real_tokens(sample) <= count_tokens(sample)


def test_english_prose_is_not_reckoned_much_too_dear() -> None:
    """What is given away is history that a prompt could have held."""
    text = SAMPLES["English"]
    assert count_tokens(text) <= 1.5 * real_tokens(text)


@hypothesis_settings(max_examples=500, deadline=None)
@given(st.text(max_size=200))
def test_no_text_has_more_tokens_than_are_reckoned(text: str) -> None:
    assert real_tokens(text) <= count_tokens(text)


WORDS_ANYWHERE, WORDS_AFTER_A_SPACE = (part.split() for part in WORDS.read_text().split("\n\n"))
MIXED = st.lists(
    st.one_of(
        st.sampled_from(WORDS_ANYWHERE),
        st.sampled_from([f" {word}" for word in (*WORDS_ANYWHERE, *WORDS_AFTER_A_SPACE)]),
        st.text(string.ascii_letters, max_size=8),
        st.text("hfgqzxjkvw", max_size=12),
        st.text(string.punctuation + string.digits, max_size=4),
        st.text(" \n\t\r", max_size=3),
        st.text(max_size=3),
    ),
    max_size=20,
).map("".join)


@hypothesis_settings(max_examples=1000, deadline=None)
@given(MIXED)
def test_known_words_among_anything_else_are_no_cheaper_than_they_are(text: str) -> None:
    assert real_tokens(text) <= count_tokens(text)


def test_each_known_word_is_one_token() -> None:
    for word in (*WORDS_ANYWHERE, *WORDS_AFTER_A_SPACE):
        assert len(tokenizer().encode(f" {word}").ids) == 1
    for word in WORDS_ANYWHERE:
        assert len(tokenizer().encode(word).ids) == 1
        assert all(real_tokens(f"{mark}{word}") <= 2 for mark in "'._-(\"\t")


@hypothesis_settings(max_examples=500, deadline=None)
@given(st.one_of(MIXED, st.text(max_size=300), st.text("你好 ", max_size=300)), st.integers(0, 400))
def test_a_cut_text_is_a_beginning_that_fits(text: str, most: int) -> None:
    cut = cut_to_tokens(text, most)
    assert cut == text or cut == "" or cut.endswith(" …")
    if cut:
        assert count_tokens(cut) <= most
        assert text.startswith(cut.removesuffix(" …"))
    if count_tokens(text) <= most:
        assert cut == text


def test_a_text_is_cut_where_it_must_be_and_not_long_before() -> None:
    for sample in SAMPLES.values():
        text = sample * 20
        cut = cut_to_tokens(text, 200)
        assert 200 - 40 <= count_tokens(cut) <= 200


def test_what_is_no_unicode_is_reckoned_and_cut_too() -> None:
    text = "lone \ud800 \udfff" * 50
    assert real_tokens(text) <= count_tokens(text)
    assert count_tokens(cut_to_tokens(text, 50)) <= 50
