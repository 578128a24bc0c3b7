import math
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import chapter_assets
from chapter_assets.chapters import metrics, title_metrics
from chapter_assets.chapters.chapterlist import Chapter, tidy
from chapter_assets.errors import InputError

Videos = dict[str, tuple[float, list[Chapter]]]
Predictions = dict[str, list[Chapter]]


def at(*starts: float) -> list[Chapter]:
    return [Chapter(start, f"chapter {i}") for i, start in enumerate(starts)]


def titled(*titles: str) -> list[Chapter]:
    return [Chapter(10 * i, title) for i, title in enumerate(titles)]


HUNDRED: Videos = {"a": (100, at(0, 30, 70)), "b": (100, at(0, 30, 70))}
FIVE: Videos = {
    "moved": (
        300.5,
        [Chapter(0, "Intro and welcome"), Chapter(60, "How to knead the dough"), Chapter(185, "In the oven")],
    ),
    "late start": (
        120.0,
        [Chapter(12, "What is a network?"), Chapter(50, "Training it"), Chapter(90, "Results, thanks")],
    ),
    "too many": (
        600.0,
        [Chapter(0, "Opening"), Chapter(240, "Second half"), Chapter(480, "Questions of the audience")],
    ),
    "missing": (90.0, [Chapter(0, "One"), Chapter(45, "Two")]),
    "whole": (75.9, [Chapter(0, "The whole talk")]),
}
FIVE_PREDICTED: Predictions = {
    "moved": [Chapter(0, "Intro"), Chapter(64, "How to knead dough"), Chapter(180, "Out of the oven")],
    "late start": [Chapter(10, "Neural networks"), Chapter(50, "Training it"), Chapter(101, "Thanks")],
    "too many": [
        *(Chapter(0, "Opening"), Chapter(120, "First half"), Chapter(240, "Second half")),
        *(Chapter(300, "Second half"), Chapter(482, "Audience questions")),
    ],
    "whole": [Chapter(0, "The whole talk")],
}


def test_the_figures_worked_out_by_hand_come_out() -> None:
    shifted = metrics.evaluate(HUNDRED, {"a": at(0, 40, 70), "b": at(0, 30, 70)})
    assert (shifted["f1"], shifted["tiou"]) == pytest.approx((83.33, 91.67), abs=0.01)
    late = metrics.evaluate(HUNDRED, {"a": at(10, 40), "b": at(0, 30, 70)})
    assert (late["f1"], late["tiou"]) == pytest.approx((50, 75), abs=0.01)


@pytest.mark.parametrize("nothing", [{}, {"b": []}, {"b": at(100, 250)}])
def test_a_missing_or_empty_or_unusable_prediction_scores_0_only_in_the_all_figures(nothing: Predictions) -> None:
    table = metrics.evaluate(HUNDRED, {"a": at(0, 30, 70), **nothing})
    assert (table["f1"], table["f1_all"]) == pytest.approx((100, 50))
    assert (table["tiou"], table["tiou_all"]) == pytest.approx((100, 50))
    assert (table["videos"], table["missing"], table["coverage"]) == (2, 1, 0.5)


def test_five_videos_score_as_the_published_formulas_say() -> None:
    expected = {
        **{"f1": 73.33, "precision": 71.46, "recall": 76.46, "tiou": 87.10, "f1_all": 58.67, "tiou_all": 69.68},
        **{"f1@0.50": 87.50, "f1@0.65": 81.25, "f1@0.80": 68.75, "f1@0.95": 39.58},
        **{"P@3s": 38.89, "R@3s": 55.56, "P@5s": 55.56, "R@5s": 72.22, "P@10s": 72.22, "R@10s": 88.89},
        **{"P@3s_all": 29.17, "R@3s_all": 41.67, "chapter_count_mae": 0.5, "coverage": 0.8, "repeated_titles": 5.0},
        **{"videos": 5, "missing": 1, "distance_skipped": 1, "not_in_gold": 0},
    }
    table = metrics.evaluate(FIVE, FIVE_PREDICTED)
    assert {key: table[key] for key in expected} == pytest.approx(expected, abs=0.005)


def test_a_table_of_a_slice_is_the_table_of_its_videos_alone() -> None:
    figures = metrics.score_videos(FIVE, FIVE_PREDICTED)
    part = {video: FIVE[video] for video in ("moved", "missing")}
    alone = metrics.evaluate(part, {"moved": FIVE_PREDICTED["moved"]})
    assert {**metrics.summarize(figures[video] for video in part), "not_in_gold": 0} == pytest.approx(
        alone, nan_ok=True
    )


def test_times_are_floored_to_the_second_and_the_duration_is_not() -> None:
    assert metrics.score_video(at(0, 30, 99), at(0.9, 30.99, 99.2), 99.5)["f1"] == pytest.approx(100)


def test_each_list_gets_its_own_segment_from_0() -> None:
    figures = metrics.score_video(at(50), at(25), 100)
    # (0, 50), (50, 100) against (0, 25), (25, 100): IoU 0.5 - 5e-10 and 50/75
    assert figures["f1@0.50"] == pytest.approx(50)
    assert figures["f1@0.70"] == 0
    assert figures["tiou"] == pytest.approx(100 * (2 / 3 + 1 / 2) / 2)


def test_chapters_past_the_end_or_in_one_second_or_without_a_time_are_dropped_and_counted() -> None:
    figures = metrics.score_video(at(0, 30, 70), at(0, 30, 30.5, 70, 100, 1e300, math.inf, -1, math.nan), 100)
    assert figures["f1"] == pytest.approx(100)
    assert [figures[reason] for reason in metrics.DROPPED] == [3, 2, 1]
    assert metrics.score_video(at(0, 30, 70, 70.5, 120), at(0, 30, 70), 100)["gold_dropped"] == 2


def test_a_start_is_found_when_it_is_nearer_than_the_distance_and_0_is_not_a_start() -> None:
    figures = metrics.score_video(at(0, 20, 60), at(0, 23, 64, 90), 100)
    assert (figures["P@3s"], figures["R@3s"]) == (0, 0)
    assert (figures["P@5s"], figures["R@5s"]) == pytest.approx((200 / 3, 100))


def test_a_video_with_no_usable_gold_is_left_out_and_counted() -> None:
    table = metrics.evaluate({**HUNDRED, "c": (10, at(40))}, {video: at(0, 30, 70) for video in "abc"})
    assert (table["f1_all"], table["no_gold"], table["gold_dropped"]) == pytest.approx((100, 1, 1))


def test_a_mean_over_nothing_is_nan_and_never_0() -> None:
    table = metrics.evaluate(HUNDRED, {})
    assert math.isnan(table["f1"])
    assert table["f1_all"] == 0


def test_predictions_of_other_videos_are_counted_and_of_only_other_videos_refused() -> None:
    assert metrics.evaluate(HUNDRED, {"a": at(0), "z": at(0)})["not_in_gold"] == 1
    with pytest.raises(InputError, match=r"None of the 1 predicted videos \(such as 'z'\)"):
        metrics.evaluate(HUNDRED, {"z": at(0)})


@pytest.mark.parametrize("duration", [0, -3, math.nan, math.inf])
def test_a_duration_that_is_none_is_refused_with_the_video_named(duration: float) -> None:
    with pytest.raises(InputError, match="Video 'a': The duration"):
        metrics.evaluate({"a": (duration, at(0))}, {"a": at(0)})


def test_words_are_compared_without_case_and_punctuation() -> None:
    assert title_metrics.words("Who’s THERE? (part 2)") == ["who", "s", "there", "part", "2"]
    assert title_metrics.words("नमस्ते दुनिया!") == ["नमस्ते", "दुनिया"]
    assert title_metrics.words(" \n") == []


def test_a_title_of_symbols_only_equals_itself_and_nothing_else() -> None:
    gold = titled("🎉🎉", "???")
    assert metrics.score_video(gold, gold, 100)["soda_c_rougeL"] == pytest.approx(100)
    assert metrics.score_video(gold, titled("❤️", "!"), 100)["soda_c_rougeL"] == 0


def test_rouge_l_is_the_f_of_the_longest_common_subsequence() -> None:
    assert (
        title_metrics.rouge_l(
            title_metrics.words("Police killed the gunman"), title_metrics.words("police kill the gunman")
        )
        == 0.75
    )
    assert title_metrics.rouge_l(list("abcde"), list("cad")) == pytest.approx(2 * 2 / 8)
    assert title_metrics.rouge_l([], ["a"]) == title_metrics.rouge_l([], []) == 0


def test_soda_c_matches_in_order_only() -> None:
    swapped = metrics.score_video(titled("alpha", "beta"), titled("beta", "alpha"), 20)
    assert swapped["soda_c_rougeL"] == 0
    one_more = metrics.score_video(titled("alpha", "beta"), titled("alpha", "beta", "gamma"), 30)
    # (0, 10) and (10, 30) against (0, 10), (10, 20), (20, 30): 1 + 1/2 over 3 and over 2
    assert one_more["soda_c_rougeL"] == pytest.approx(100 * 2 * 1.5 / 5)


def test_cider_is_1000_for_long_distinct_titles_and_0_for_a_single_pair() -> None:
    long = titled("how to knead the dough", "why we let it rest")
    assert metrics.score_video(long, long, 100)["cider_plain"] == pytest.approx(1000)
    short = titled("alpha", "beta")  # of the four n-gram lengths they have one
    assert metrics.score_video(short, short, 100)["cider_plain"] == pytest.approx(250)
    assert metrics.score_video(long[:1], long[:1], 100)["cider_plain"] == 0


def test_a_prediction_that_overlaps_too_little_lowers_cider() -> None:
    gold = titled("alpha", "beta", "gamma")
    extra = [*gold, Chapter(99, "delta")]  # IoU with gamma (80 s) 1/80; gamma's own 79/80
    assert metrics.score_video(gold, extra, 100)["cider_plain"] == pytest.approx(250 * 3 / 4)


def test_repeats_are_counted_after_the_first() -> None:
    assert metrics.score_video(at(0), titled("Part", "part!", "Part", "end"), 100)["repeated_titles"] == 50


def test_titles_are_compared_over_the_pairs_of_tiou_without_the_segments_put_in_front() -> None:
    gold = [Chapter(20, "the dough"), Chapter(60, "the oven")]
    assert metrics.score_video(gold, [Chapter(0, "x"), Chapter(20, "the dough"), *gold[1:]], 100)["rougeL"] == 100
    assert math.isnan(metrics.score_video(gold, [], 100)["rougeL"])


def test_without_java_scorers_the_published_titles_say_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pycocoevalcap", None)
    with pytest.raises(InputError, match=r"pycocoevalcap is not installed.*soda_c_rougeL"):
        metrics.evaluate(HUNDRED, {"a": at(0)}, published_titles=True)


def test_evaluate_loads_the_module_offline_and_gives_the_same_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    evaluate = pytest.importorskip("evaluate")

    def refused(*_: object) -> None:
        raise AssertionError("the network was asked")

    monkeypatch.setattr("socket.socket.connect", refused)
    folder = Path(chapter_assets.__file__).parent / "chapters" / "evaluate_module" / "chapter_metrics"
    module = evaluate.load(str(folder), cache_dir=str(tmp_path))

    def rows(lists: list[list[Chapter]]) -> list[dict[str, object]]:
        return [{"starts": [c.start for c in chapters], "titles": [c.title for c in chapters]} for chapters in lists]

    references = [
        {"duration": d, **row} for (d, _), row in zip(FIVE.values(), rows([c for _, c in FIVE.values()]), strict=True)
    ]
    table = module.compute(predictions=rows([FIVE_PREDICTED.get(video, []) for video in FIVE]), references=references)
    assert table == pytest.approx(metrics.evaluate(FIVE, FIVE_PREDICTED), nan_ok=True)


durations = st.builds(lambda s, rest: s + rest, st.integers(1, 30_000), st.sampled_from([0, 0.25, 0.998]))
any_lists = st.lists(st.builds(Chapter, st.floats() | st.floats(0, 100), st.text(max_size=12)), max_size=12)


@st.composite
def videos(draw: st.DrawFn) -> tuple[float, list[Chapter]]:
    """A duration and a valid gold list."""
    duration = draw(durations)
    starts = draw(st.sets(st.integers(0, math.ceil(duration) - 1), min_size=1, max_size=12))
    titles = st.text(min_size=1, max_size=12).filter(str.strip)
    return duration, [Chapter(start, draw(titles)) for start in sorted(starts)]


@given(any_lists, any_lists, durations)
def test_no_list_crashes_and_every_score_is_in_its_range(
    gold: list[Chapter], pred: list[Chapter], duration: float
) -> None:
    figures = metrics.score_video(gold, pred, duration)
    for key in metrics.SCORES:
        most = 1000 if key == "cider_plain" else 100
        assert math.isnan(figures[key]) or 0 <= figures[key] <= most + 1e-6, key
    assert figures["predicted_chapters"] + sum(figures[reason] for reason in metrics.DROPPED) == len(pred)


@given(videos())
def test_a_list_scores_100_against_itself(video: tuple[float, list[Chapter]]) -> None:
    duration, chapters = video
    figures = metrics.score_video(chapters, chapters, duration)
    for key in ("f1", "precision", "recall", "tiou", "soda_c_rougeL", "f1@0.50", "f1@0.95"):
        assert figures[key] == pytest.approx(100, abs=1e-4), key
    assert figures["rougeL"] == pytest.approx(100)
    assert figures["chapter_count_error"] == 0


@given(videos(), any_lists)
def test_gold_and_prediction_changing_places_swaps_precision_and_recall(
    video: tuple[float, list[Chapter]], other: list[Chapter]
) -> None:
    duration, chapters = video
    pred = [*other, Chapter(0, "start")]
    there, back = metrics.score_video(chapters, pred, duration), metrics.score_video(pred, chapters, duration)
    for one, two in [("precision", "recall"), ("f1", "f1"), ("soda_c_rougeL", "soda_c_rougeL")]:
        assert (there[one], there[two]) == pytest.approx((back[two], back[one]))


@given(any_lists, durations)
def test_what_can_be_scored_is_what_tidy_keeps_and_chapters_without_a_title(
    chapters: list[Chapter], duration: float
) -> None:
    named = [Chapter(c.start, c.title if c.title.strip() else "-") for c in chapters if not math.isnan(c.start)]
    kept, _ = metrics.usable(named, duration)
    assert kept == {int(c.start): c.title for c in tidy(named, duration)[0]}
