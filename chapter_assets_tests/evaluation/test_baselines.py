import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chapter_assets.chapters.chapterlist import Chapter, problems
from chapter_assets.evaluation.baselines import best_spacing, guess, guesses
from chapter_assets_tests.made_up import chapters_at, transcript

TALK = transcript(
    [5, 40, 65, 90],
    ["flour flour and water", "the oven gets hot", "steam in the oven, steam", "we eat the bread"],
    duration=120.5,
)


def starts(chapters: list[Chapter]) -> list[float]:
    return [c.start for c in chapters]


def test_the_guesses_are_where_their_names_say() -> None:
    found = {name: guess(TALK, times(TALK.duration)) for name, times in guesses(40).items()}
    assert starts(found["one_chapter"]) == [0]
    assert starts(found["three_equal"]) == [0, 40, 80]
    assert starts(found["equal_spacing"]) == [0, 40, 80, 120]
    assert set(found) == {"one_chapter", "three_equal", "equal_spacing"}


def test_a_guess_is_titled_from_the_text_it_covers() -> None:
    first, second = guess(TALK, [0.0, 60.0])
    assert "flour" in first.title.casefold()
    assert "steam" in second.title.casefold()


def test_a_guess_past_the_last_words_has_a_title_too() -> None:
    found = guess(TALK, [0.0, 100.0, 110.0])
    assert [c.title for c in found[1:]] == ["…", "…"]
    assert problems(found, TALK.duration) == []


def test_times_in_one_second_or_past_the_end_are_one_chapter_or_none() -> None:
    assert starts(guess(TALK, [0.0, 30.2, 30.9, 120.4, 121.0])) == [0, 30, 120]


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.floats(0, 5000), min_size=1, max_size=12).map(sorted),
    st.floats(0.1, 100),
    st.sampled_from([15.0, 90.0, 900.0]),
)
def test_every_guess_is_a_valid_list_for_any_video(begins: list[float], rest: float, spacing: float) -> None:
    video = transcript(begins, duration=begins[-1] + rest)
    for times in guesses(spacing).values():
        chapters = guess(video, times(video.duration))
        assert problems(chapters, video.duration) == []
        assert chapters[0].start == 0
        assert all(c.start == math.floor(c.start) for c in chapters)


@pytest.mark.parametrize("spacing", [15, 60, 240])
def test_the_best_spacing_is_the_one_that_the_gold_was_made_with(spacing: int) -> None:
    videos = {
        f"v{n}": (float(duration), chapters_at(*range(0, duration, spacing)))
        for n, duration in enumerate((601, 1234, 3000))
    }
    assert best_spacing(videos) == spacing


def test_the_best_spacing_is_best_for_the_mean_of_all_videos() -> None:
    one = {"a": (600.0, chapters_at(*range(0, 600, 60)))}
    many = {f"b{i}": (600.0, chapters_at(*range(0, 600, 120))) for i in range(5)}
    assert best_spacing(one | many) == 120
