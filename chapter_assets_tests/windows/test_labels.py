from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chapter_assets.chapters.chapterlist import Chapter
from chapter_assets.windows.labels import nearest_start, snap, unfit_titles

STARTS = [0.0, 10.0, 20.0, 30.0]


@pytest.mark.parametrize(
    ("time", "expected"),
    [(0.0, 0), (4.9, 0), (5.1, 1), (10.0, 1), (14.0, 1), (16.0, 2), (29.0, 3), (30.0, 3), (500.0, 3)],
)
def test_a_time_goes_to_the_nearest_start(time: float, expected: int) -> None:
    assert nearest_start(STARTS, time) == expected


def test_between_two_starts_as_near_the_earlier_one_is_taken() -> None:
    assert nearest_start(STARTS, 5.0) == 0
    assert nearest_start(STARTS, 25.0) == 2


def test_of_segments_that_start_together_the_first_is_taken() -> None:
    assert nearest_start([0.0, 10.0, 10.0, 20.0], 8.0) == 1
    assert nearest_start([0.0, 10.0, 10.0, 20.0], 12.0) == 1


@pytest.mark.parametrize(
    ("first", "time", "expected"),
    [
        (60.0, 0.0, None),  # a minute of music: the chapter at 0 is not what is said after it
        (60.0, 29.0, None),
        (60.0, 31.0, 0),
        (1.0, 0.0, None),
        (0.9, 0.0, 0),  # the first words come at once
    ],
)
def test_a_chapter_nearer_to_the_start_of_the_video_than_to_the_first_segment_is_no_segments_start(
    first: float, time: float, expected: int | None
) -> None:
    assert nearest_start([first, first + 10], time) == expected


@settings(deadline=None)
@given(st.lists(st.integers(0, 500), min_size=1, max_size=30).map(sorted), st.floats(0, 600))
def test_no_start_is_nearer_than_the_one_that_is_found(starts: list[float], time: float) -> None:
    found = nearest_start(starts, time)
    distance = min(abs(s - time) for s in starts)
    if found is None:
        assert time < starts[0] - time
    else:
        assert abs(starts[found] - time) == distance


def test_of_two_chapters_on_one_segment_the_second_is_counted_as_lost() -> None:
    chapters = [Chapter(0, "a"), Chapter(9, "b"), Chapter(11, "c"), Chapter(30, "d")]
    placed, lost = snap(chapters, STARTS)
    assert placed == {0: chapters[0], 1: chapters[1], 3: chapters[3]}
    assert lost == {"on_a_taken_segment": 1}


def test_a_chapter_before_the_first_words_is_counted_as_lost() -> None:
    placed, lost = snap([Chapter(0, "music"), Chapter(63, "talk")], [60.0, 70.0])
    assert placed == {0: Chapter(63, "talk")}
    assert lost == {"before_the_first_segment": 1}


@settings(deadline=None)
@given(
    st.lists(st.integers(0, 300), min_size=1, max_size=30).map(sorted),
    st.lists(st.integers(0, 300), unique=True, max_size=30).map(sorted),
)
def test_every_chapter_is_placed_or_counted_and_their_order_stays(starts: list[float], times: list[float]) -> None:
    chapters = [Chapter(t, f"chapter {t}") for t in times]
    placed, lost = snap(chapters, starts)
    assert len(placed) + lost.total() == len(chapters)
    in_order = [placed[i] for i in sorted(placed)]
    assert all(a.start < b.start for a, b in pairwise(in_order))


@pytest.mark.parametrize(
    ("title", "reason"),
    [
        ("word " * 16, "title_too_long"),
        ("12:30 - 14:00", "title_without_letters"),
        ("The second part 1:02:30", "title_with_time"),
        ("at 9:30 we leave", "title_with_time"),
        ("Genesis 1:3", None),
        ("🎵 🎵", "title_without_letters"),
        ("Buy at https://example.com", "title_is_link"),
        ("www.example.com", "title_is_link"),
        ("opening", "title_repeated"),
        ("word " * 15, None),
        ("Заключение", None),
        ("結論", None),
    ],
)
def test_a_title_that_teaches_nothing_is_named_with_the_reason(title: str, reason: str | None) -> None:
    found = unfit_titles([Chapter(0, "Opening"), Chapter(10, title)])
    assert found == ({} if reason is None else {1: reason})


def test_the_first_of_repeated_titles_is_fit_and_all_later_ones_are_not() -> None:
    chapters = [Chapter(i, title) for i, title in enumerate(["Round", "Break", "ROUND", "Break", "round"])]
    assert unfit_titles(chapters) == {2: "title_repeated", 3: "title_repeated", 4: "title_repeated"}
