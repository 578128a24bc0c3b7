import pytest
from hypothesis import given
from hypothesis import strategies as st

from chapter_assets.chapters.title_support import unsupported

SAID = "So Anna told us that in 1987 the NASA had five rockets, Größe egal, and Мария said привет."


@pytest.mark.parametrize(
    ("title", "missing"),
    [
        ("What Anna told about rockets", []),
        ("What Berta told about rockets", ["Berta"]),
        ("Rockets from Anna and from Berta", ["Berta"]),
        ("Berta talks", []),  # the first word has a capital anyway
        ("ESA builds rockets", ["ESA"]),
        ("the NASA builds rockets", []),
        ("an iPhone and an eBay", ["iPhone", "eBay"]),
        ("In 1987", []),
        ("In 1988, or 2 years later", ["1988", "2"]),
        ("5 rockets", []),  # five
        ("6 rockets", ["6"]),
        ("Wörter über Größe", []),
        ("wie GRÖSSE hilft, sagt Jürgen", ["Jürgen"]),
        ("как сказала Мария", []),
        ("как сказала Ольга", ["Ольга"]),
        ("١٢ الصواريخ", ["١٢"]),
        ("Where Every Word Has One Berta Hides", []),  # capitals mark no names there
        ("ALL IN CAPITALS", []),
        ("What I learned", []),
        ("火箭", []),
    ],
)
def test_names_and_numbers_that_nobody_said_are_found(title: str, missing: list[str]) -> None:
    assert unsupported(title, SAID) == missing


def test_a_part_of_a_word_supports_nothing() -> None:
    assert unsupported("what was said about Ann in 198", SAID) == ["Ann", "198"]


@pytest.mark.parametrize("title", ["", "…", "🎓🎓", "_", "?!"])
def test_a_title_without_letters_claims_nothing(title: str) -> None:
    assert unsupported(title, "") == unsupported(title, SAID) == []


@given(st.text(max_size=60))
def test_a_title_that_was_said_as_it_stands_is_supported(title: str) -> None:
    assert unsupported(title, f"so {title} then") == []
