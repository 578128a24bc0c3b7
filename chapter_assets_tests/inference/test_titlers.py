import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chapter_assets.inference.engine import TransformersEngine
from chapter_assets.inference.phrases import best_phrases
from chapter_assets.inference.titlers import (
    MOST_TITLE_WORDS,
    LexicalTitler,
    ModelTitler,
    chapter_segments,
    extractive_title,
    tidy_title,
)
from chapter_assets.windows.prompts import PromptBuilder
from chapter_assets_tests.made_up import transcript


@pytest.mark.parametrize(
    ("raw", "title"),
    [
        ("Kneading the dough", "Kneading the dough"),
        ("  Kneading\tthe   dough \n", "Kneading the dough"),
        ("Title: Kneading", "Kneading"),
        ("The title is: Kneading", "Kneading"),
        ("Chapter title: Kneading", "Kneading"),
        ("Here is the title: Kneading", "Kneading"),
        ("Sure! Here is a title: Kneading", "Kneading"),
        ('"Kneading"', "Kneading"),
        ("“Kneading”", "Kneading"),
        ("**Kneading**", "Kneading"),
        ("# Kneading", "Kneading"),
        ("- Kneading", "Kneading"),
        ("00:01:05 Kneading", "Kneading"),
        ("[1:05] - Kneading", "Kneading"),
        ("Kneading (01:05)", "Kneading"),
        ("Kneading.", "Kneading"),
        ("Kneading, part 2:", "Kneading, part 2"),
        ("What is gluten?", "What is gluten?"),
        ("\n\n  Kneading\nIn this chapter the dough is kneaded.", "Kneading"),
        ("Kneading\x00\x07 the\u202edough\u200b", "Kneading thedough"),
        ("Kneading\u2028the dough", "Kneading"),
        ("00:01:05", ""),
        ("", ""),
        (" \n\t\n", ""),
        ("Title:", ""),
        ("…", "…"),
        ("«Введение»", "«Введение»"),
    ],
)
def test_a_title_is_freed_of_all_that_is_put_around_it(raw: str, title: str) -> None:
    assert tidy_title(raw) == title


@pytest.mark.parametrize(
    "raw", ["Here is the title:\nKneading", "Sure! Here is a title:\n\nKneading", "00:01:05\nKneading"]
)
def test_a_title_on_the_line_after_the_preamble_is_found(raw: str) -> None:
    assert tidy_title(raw) == "Kneading"


@pytest.mark.parametrize("raw", ["Sure, why not", "Sure. The one thing that works"])
def test_a_title_that_begins_like_a_preamble_stays(raw: str) -> None:
    assert tidy_title(raw) == raw


def test_a_full_stop_after_the_closing_quote_does_not_keep_the_quote() -> None:
    assert tidy_title('"Kneading".') == "Kneading"


@settings(deadline=None)
@given(st.text())
def test_whatever_a_model_says_becomes_one_short_line(raw: str) -> None:
    title = tidy_title(raw)
    assert title == " ".join(title.split())
    assert len(title.split()) <= MOST_TITLE_WORDS
    assert len(title.splitlines()) <= 1


def test_a_chapters_text_goes_from_its_start_to_the_next_one() -> None:
    video = transcript([0, 10, 20, 30, 40], ["a", "b", "c", "d", "e"])
    parts = [[s.text for s in segments] for segments in chapter_segments(video, [1, 2, 4])]
    assert parts == [["b"], ["c", "d"], ["e"]]


@pytest.mark.parametrize("text", ["今日は 料理の話です", "one two three four five six seven", "  spaced\n out ", "🎵"])
def test_an_extractive_title_is_the_first_six_words(text: str) -> None:
    assert extractive_title(text) == " ".join(text.split()[:6])
    assert extractive_title("") == "…"


def test_a_text_without_spaces_does_not_become_one_endless_title() -> None:
    assert len(extractive_title("今日はいい天気ですね" * 50)) <= 100
    (title,) = LexicalTitler().titles(transcript([0], ["今日はいい天気ですね" * 50]), [0])
    assert len(title) <= 100
    assert len(tidy_title("今日はいい天気ですね" * 50)) <= 100


def lexical(*texts: str) -> list[str]:
    return LexicalTitler().titles(transcript([10.0 * i for i in range(len(texts))], texts), list(range(len(texts))))


def test_a_lexical_title_says_what_sets_the_chapter_apart() -> None:
    titles = lexical(
        "today flour and water, then more flour and water, all flour and water",
        "today the oven gets hot, the oven needs steam, a hot oven",
        "today we eat",
    )
    assert "flour" in titles[0].lower()
    assert "oven" in titles[1].lower()
    assert not any("today" in title.lower() for title in titles[:2])


def test_a_text_of_stop_words_alone_is_titled_with_its_first_words() -> None:
    assert lexical("the and of it is to be", "to be or not") == ["the and of it is to", "to be or not"]
    assert lexical("the and of", "dogs bark at dogs")[0] == "the and of"
    assert lexical("🎵🎵", "♪") == ["🎵🎵", "♪"]


@pytest.mark.parametrize(
    "texts",
    [
        ("هذا الفصل الأول عن السياسة والسياسة", "والآن نتحدث عن الاقتصاد العالمي"),
        ("今日は天気がいいですね。散歩しましょう。", "次は料理の話です。"),
        ("Сегодня говорим о машинах и двигателях", "А теперь о кошках и собаках"),
    ],
    ids=["arabic", "japanese", "cyrillic"],
)
def test_other_scripts_are_titled_with_words_of_their_own(texts: tuple[str, str]) -> None:
    for title, text in zip(lexical(*texts), texts, strict=True):
        assert title
        assert all(word in text.casefold() for word in title.casefold().split())


TALKS = {
    "german": (
        "Heute backen wir ein Brot. Für den Teig nehmen wir Mehl und Wasser, und dann ist der Teig bereit.",
        "Jetzt kommt der Ofen. Der Ofen muss heiß sein, und wir stellen eine Schale in den Ofen.",
        ["Teig", "Ofen"],
    ),
    "french": (
        "Nous parlons du vélo électrique. Le vélo électrique est pratique et la batterie est légère.",
        "Et maintenant les freins à disque. Les freins sont puissants et les freins à patins le sont moins.",
        ["Vélo électrique", "Freins"],
    ),
    "spanish": (
        "Los paneles solares se instalan en el tejado y los paneles solares dan luz.",
        "Una batería de litio es cara, pero la batería de litio dura más y la batería pesa poco.",
        ["Paneles solares", "Batería de litio"],
    ),
    "russian": (
        "Тормозные колодки нужно менять. Если тормозные колодки скрипят, то это плохой знак.",
        "Страховка стоит дорого, а для новой машины страховка дороже, чем для старой.",
        ["Тормозные колодки", "Страховка"],
    ),
    "hindi": (
        "सूर्य नमस्कार से शुरू करें और सूर्य नमस्कार रोज करें।",
        "अब हम नींद के बारे में बात करेंगे। अच्छी नींद के लिए मोबाइल से दूर रहें।",
        ["सूर्य नमस्कार", "नींद"],
    ),
    "japanese": (
        "今日は小麦粉でパンを作ります。小麦粉は強力粉がいいです。",
        "オーブンの話をします。オーブンは二百度に予熱してください。",
        ["小麦粉", "オーブン"],
    ),
    "chinese": (
        "今天说一下电动汽车。电动汽车的优点是省钱,电动汽车适合城市。",
        "接下来是保险。买保险的时候要注意,保险很贵。",
        ["电动汽车", "保险"],
    ),
    "thai": (
        "วันนี้เราจะนวดแป้ง แป้งต้องพัก แป้งใช้น้ำ",
        "เตาอบต้องร้อน ถ้าเตาอบไม่ร้อนพอ จะไม่ฟู",
        ["แป้ง", "เตาอบ"],
    ),
    "arabic": (
        "بطارية الليثيوم تخزن الكهرباء ولكن بطارية الليثيوم أغلى من غيرها",
        "التكلفة تختلف من مدينة إلى أخرى. التكلفة في المدينة أعلى",
        ["بطارية الليثيوم", "التكلفة"],
    ),
}


@pytest.mark.parametrize(("one", "other", "titles"), TALKS.values(), ids=list(TALKS))
def test_a_lexical_title_is_what_the_chapter_is_about_in_any_language(one: str, other: str, titles: list[str]) -> None:
    assert lexical(one, other) == titles


@pytest.mark.parametrize(
    ("text", "title"),
    [
        ("the iPhone is new and the iPhone is fast", "iPhone"),
        ("so Bitcoin fell and then Bitcoin rose", "Bitcoin"),
        ("we knead flour and water, yes flour and water", "Flour and water"),
        ("parlons de l'État et de l'État encore", "L'État"),
        ("don't don't don't do it with that engine", "Engine"),
    ],
)
def test_a_lexical_title_is_written_as_it_was_said_from_a_capital_on(text: str, title: str) -> None:
    assert lexical(text) == [title]


def test_a_lexical_title_does_not_reach_over_a_full_stop() -> None:
    assert lexical("we love winter. Summer rain is warm. we fear winter. Summer rain is cold") == ["Summer rain"]


@settings(deadline=None, max_examples=200)
@example(["ß١"])
@given(st.lists(st.text("abÉé'’- .iIſßあアー日本แงั가١𝔘", max_size=30) | st.text(max_size=30), min_size=1, max_size=4))
def test_whatever_is_said_a_phrase_stands_in_its_text(texts: list[str]) -> None:
    for phrase, text in zip(best_phrases(texts), texts, strict=True):
        first_said = [c for c in text if phrase.startswith(c.upper())]
        assert phrase in text or any(c + phrase.removeprefix(c.upper()) in text for c in first_said)
        assert phrase.strip() == phrase
        assert not phrase or any(map(str.isalpha, phrase))


def test_words_with_vowel_signs_stay_whole() -> None:
    texts = ("हिन्दी में अध्याय का शीर्षक", "दूसरा विषय खेल")
    for title, text in zip(lexical(*texts), texts, strict=True):
        assert set(title.split()) <= set(text.split())


def test_the_model_is_asked_chapter_by_chapter_with_the_titles_it_wrote_before(tiny_engine: TransformersEngine) -> None:
    builder = PromptBuilder(tiny_engine.tokenizer, timed=False)
    video = transcript([0, 10, 20, 30])
    titles = ModelTitler(tiny_engine, builder).titles(video, [0, 2])
    lines = builder.lines(video.segments)
    first = tiny_engine.write(builder.title_request(video.title, lines[:2], []), 24)
    earlier = [t for t in [tidy_title(first)] if t]
    assert titles == [first, tiny_engine.write(builder.title_request(video.title, lines[2:], earlier), 24)]


def test_a_title_that_is_cut_does_not_end_in_the_middle_of_a_phrase() -> None:
    long = "more ground clearance with a heavier duty or larger deer got into the tall grass"
    assert tidy_title(long) == "more ground clearance with a heavier duty or larger deer got"
    assert tidy_title("What the engine is for") == "What the engine is for"


def test_a_model_that_repeats_what_it_was_asked_has_written_no_title() -> None:
    assert tidy_title("Write a title for this") == ""
    assert tidy_title('"Write a title for this."\nThe engine') == "The engine"
