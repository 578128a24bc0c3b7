from itertools import pairwise

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from chapter_assets.errors import InputError
from chapter_assets.windows.cutting import cut, most_central


@st.composite
def cuttable(draw: st.DrawFn) -> tuple[list[int], int, float]:
    """Costs of segments, a budget that the dearest one just fits or more, an overlap."""
    budget = draw(st.integers(1, 60))
    costs = draw(st.lists(st.integers(0, budget), min_size=1, max_size=60))
    return costs, budget, draw(st.floats(0, 0.75))


@settings(deadline=None)
@given(cuttable())
def test_windows_cover_every_segment_within_the_budget_and_always_go_on(case: tuple[list[int], int, float]) -> None:
    costs, budget, overlap = case
    windows = cut(costs, budget, overlap)
    assert windows[0].start == 0
    assert windows[-1].stop == len(costs)
    for window in windows:
        assert len(window) > 0
        assert sum(costs[i] for i in window) <= budget
    for before, after in pairwise(windows):
        assert before.start < after.start <= before.stop <= after.stop


@settings(deadline=None)
@given(cuttable())
def test_a_window_repeats_no_more_than_the_overlap_but_the_last_reaches_back_as_far_as_it_can(
    case: tuple[list[int], int, float],
) -> None:
    costs, budget, overlap = case
    windows = cut(costs, budget, overlap)
    for before, after in pairwise(windows[:-1]):
        assert sum(costs[after.start : before.stop]) <= overlap * budget
    last = windows[-1]
    assert last.start == 0 or sum(costs[last.start - 1 : last.stop]) > budget


@settings(deadline=None)
@example(([1] * 100 + [90], 100, 0.75))
@given(cuttable())
def test_no_window_lies_inside_another(case: tuple[list[int], int, float]) -> None:
    windows = cut(*case)
    assert all(before.stop < after.stop for before, after in pairwise(windows))


@pytest.mark.parametrize(
    ("overlap", "expected"),
    [
        (0.0, [(0, 20), (20, 40), (30, 50)]),
        (0.25, [(0, 20), (15, 35), (30, 50)]),
        (0.75, [(0, 20), (5, 25), (10, 30), (15, 35), (20, 40), (25, 45), (30, 50)]),
    ],
)
def test_equal_segments_are_cut_with_the_overlap_asked_for(overlap: float, expected: list[tuple[int, int]]) -> None:
    assert [(w.start, w.stop) for w in cut([1] * 50, 20, overlap)] == expected


def test_what_fits_one_window_is_one_window() -> None:
    assert cut([3, 4, 3], 10, 0.5) == [range(0, 3)]
    assert cut([], 10, 0.5) == []


def test_a_segment_that_just_fits_has_its_window_and_one_over_the_budget_is_named() -> None:
    assert cut([3, 10, 3], 10, 0.5) == [range(0, 1), range(1, 2), range(2, 3)]
    with pytest.raises(InputError, match="Segment 1 takes 11 tokens and a window has room for 10") as caught:
        cut([3, 11, 3], 10, 0.5)
    assert "CHAPTER_ASSETS_WINDOW_TOKENS" in caught.value.remedy


def test_a_segment_belongs_to_the_window_that_shows_more_around_it() -> None:
    #                 0 .. 5 are seen by the first only; then it shows 3 2 1 0 after them, the second 0 1 2 3 before
    assert most_central([range(0, 10), range(6, 16)]) == [0] * 8 + [1] * 8
    assert most_central([range(0, 9), range(6, 16)]) == [0] * 8 + [1] * 8  # 7: one on its short side in both
    assert most_central([range(0, 4)]) == [0, 0, 0, 0]
    assert most_central([]) == []


@settings(deadline=None)
@given(cuttable())
def test_no_other_window_shows_more_around_a_segment_than_its_own(case: tuple[list[int], int, float]) -> None:
    windows = cut(*case)
    count = len(case[0])

    def seen_around(window: range, index: int) -> int:
        before = count if window.start == 0 else index - window.start
        after = count if window.stop == count else window.stop - 1 - index
        return min(before, after)

    owner = most_central(windows)
    assert len(owner) == count
    for index, number in enumerate(owner):
        assert index in windows[number]
        best = max(seen_around(w, index) for w in windows if index in w)
        assert seen_around(windows[number], index) == best
        assert not any(seen_around(w, index) == best for w in windows[:number] if index in w)
