"""The language of a transcript, on short texts made for these tests."""

import pytest

from chapter_assets.transcripts.language import language_of
from chapter_assets.transcripts.segments import Segment

SAID = {
    "en": "Today we look at the new camera, and the night mode is what I like.",
    "de": "Heute backen wir gemeinsam ein Brot, und dann reden wir über den Ofen.",
    "fr": "Bonjour à tous, nous allons parler du vélo et de ses freins.",
    "es": "Hoy vamos a hablar de la energía solar y de las baterías en casa.",
    "ru": "Сегодня мы поговорим о ремонте двигателя и о тормозах машины.",
    "hi": "आज हम योग के बारे में बात करेंगे और फिर भोजन के बारे में।",
    "ja": "今日は小麦粉と水でパンを作ります。",
    "zh": "今天我们来说一下电动汽车和它的电池。",
    "ar": "اليوم نتحدث عن الطاقة الشمسية في المنزل ثم عن البطاريات.",
}


def said(*texts: str) -> str | None:
    return language_of(Segment(float(i), i + 1.0, text) for i, text in enumerate(texts))


@pytest.mark.parametrize(("language", "text"), SAID.items(), ids=list(SAID))
def test_one_sentence_tells_the_language(language: str, text: str) -> None:
    assert said(text) == language
    assert said(*text.split()) == language


@pytest.mark.parametrize(
    "text", ["", "ok", "Yeah. Yeah.", "you " * 200, "Go Brady! " * 9, "W" + "a" * 850, "♪ ♪ ♪", "12 13 14 00:15"]
)
def test_of_too_little_or_a_loop_no_language_is_guessed(text: str) -> None:
    assert said(text) is None


def test_the_middle_is_read_so_a_song_at_the_start_does_not_decide() -> None:
    assert said("la la la la, oh oh oh " * 50, *[SAID["de"]] * 60) == "de"
