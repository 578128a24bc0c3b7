from dataclasses import replace

import pytest

from chapter_assets.chapters.chapterlist import Chapter
from chapter_assets.inference.score import ListScore, score_list
from chapter_assets_tests.made_up import transcript

TALK = transcript(
    [0, 30, 60, 90], ["flour and water", "then Anna came", "the oven at 220", "and we ate"], title="Bread"
)
GOOD = [Chapter(0, "Flour and water"), Chapter(30, "How Anna came"), Chapter(60, "Oven at 220")]


def score(*chapters: Chapter, expected: float = 80.0, valid: bool = True) -> ListScore:
    return score_list(TALK, chapters or GOOD, expected, valid)


def test_a_list_without_fault_scores_its_expected_f1() -> None:
    assert score() == ListScore(80, 80, 1, 1, 1, 1, 1)


@pytest.mark.parametrize(
    ("chapters", "part", "share"),
    [
        (GOOD[1:], "covered", 0.7),  # 70 of 100 s
        ([*GOOD[:2], Chapter(60, "Oven with Hans")], "supported", 2 / 3),
        ([*GOOD[:2], Chapter(60, "Oven at 250")], "supported", 2 / 3),
        ([*GOOD[:2], Chapter(60, "flour and WATER!")], "distinct", 2 / 3),
        ([*GOOD, Chapter(97, "And we ate")], "plausible_lengths", 3 / 4),
    ],
)
def test_each_fault_marks_down_its_own_part_and_the_total(chapters: list[Chapter], part: str, share: float) -> None:
    found = score(*chapters)
    assert getattr(found, part) == pytest.approx(share)
    assert replace(found, total=80, **{part: 1}) == ListScore(80, 80, 1, 1, 1, 1, 1)
    assert found.total == pytest.approx(80 * (1 - 0.1 * (1 - share)))


def test_an_answer_that_needed_repair_scores_less() -> None:
    assert score(valid=False).total == pytest.approx(72)


def test_a_list_with_every_fault_that_is_expected_to_be_right_beats_a_faultless_one_that_is_not() -> None:
    bad = [Chapter(96, "The long talk of Hans"), Chapter(98, "The long talk of Hans")]
    assert score(*bad, expected=80, valid=False).total > score(expected=30).total
    assert score(*bad, expected=80, valid=False).total >= 40


@pytest.mark.parametrize("text", ["...", "x"])
def test_a_video_of_one_short_segment_and_one_chapter_has_a_score(text: str) -> None:
    video = transcript([0], [text], duration=2)
    assert score_list(video, [Chapter(0, "…")], 100, True).total == 100
    silent = transcript([0], [text], duration=0.0)
    assert score_list(replace(silent, duration=2.0), [Chapter(0, "…")], 100, True).covered == 1
