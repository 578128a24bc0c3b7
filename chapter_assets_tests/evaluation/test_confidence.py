import pytest

from chapter_assets.chapters.chapterlist import Chapter
from chapter_assets.evaluation.confidence import LEAST_RANKED, LISTED, belief, doubtful_titles, least_sure
from chapter_assets.evaluation.table import evaluate_systems
from chapter_assets_tests.evaluation.made_up import at, row, table


def of(video, chapters, confidences, expected=50.0, **more):
    return row("finetuned", video, chapters, confidences=confidences, expected_f1=expected, score=expected, **more)


def test_each_boundary_is_in_the_bin_of_its_confidence_and_right_when_gold_is_nearer_than_five_seconds():
    gold = {"a": (100.0, at(0, 30, 70))}
    rows = {"a": of("a", at(0, 34, 65, 90), [0.95, 1.0, 0.91, 0.0])}
    found = belief(rows, gold, {"a": 40.0})
    assert found["reliability"] == [
        {"low": 0.0, "high": 0.1, "boundaries": 1, "confidence": 0.0, "right": 0.0},
        {
            "low": 0.9,
            "high": 1.0,
            "boundaries": 3,
            "confidence": pytest.approx(2.86 / 3),
            "right": pytest.approx(2 / 3),
        },
    ]
    assert found["boundaries"] == 4
    assert found["calibration_error"] == pytest.approx(0.75 * (2.86 - 2) / 3)


def test_an_opening_is_right_by_an_opening_and_another_start_is_not():
    gold = {"a": (100.0, at(0, 50))}
    found = belief({"a": of("a", at(0, 3), [0.8, 0.2])}, gold, {"a": 1.0})
    assert [b["right"] for b in found["reliability"]] == [0.0, 1.0]  # 3 s: only the gold opening is near
    late = belief({"a": of("a", at(0), [0.8])}, {"a": (100.0, at(4, 50))}, {"a": 1.0})
    assert late["reliability"][0]["right"] == 1.0


def test_the_rank_correlation_is_one_for_the_same_order_minus_one_for_the_reverse_and_unknown_for_few():
    names = [f"v{i}" for i in range(LEAST_RANKED)]
    gold = {name: (100.0, at(0, 50)) for name in names}
    rows = {name: of(name, at(0), [0.5], expected=float(i)) for i, name in enumerate(names)}
    up = {name: float(i) ** 2 for i, name in enumerate(names)}
    assert belief(rows, gold, up)["expected_f1"]["rank_correlation"] == pytest.approx(1)
    down = {name: -value for name, value in up.items()}
    assert belief(rows, gold, down)["score"]["rank_correlation"] == pytest.approx(-1)
    few = dict(list(up.items())[1:])
    assert evaluate(gold, rows, few) is None
    flat = dict.fromkeys(names, 3.0)
    assert evaluate(gold, rows, flat) is None


def evaluate(gold, rows, f1):
    value = belief(rows, gold, f1)["expected_f1"]["rank_correlation"]
    return None if value != value else value


def test_rows_without_belief_have_no_figures():
    assert belief({"a": row("finetuned", "a", at(0))}, {"a": (100.0, at(0))}, {"a": 100.0}) is None
    assert belief({}, {"a": (100.0, at(0))}, {}) is None


def test_doubts_in_titles_are_counted():
    rows = [
        row(
            "finetuned",
            "a",
            [Chapter(0, "Flour"), Chapter(9, "flour!"), Chapter(20, "Oven")],
            unsupported=["1999", "Bo"],
        ),
        row(
            "finetuned",
            "b",
            [Chapter(0, "Flour")],
            unsupported=["Bo"],
            raw="Sure! Here it is: Flour\nTitle: Oven\nOven",
        ),
        row("finetuned", "c", []),
    ]
    assert doubtful_titles(rows) == {
        "titles": 4,
        "unsupported": 3,
        "unsupported_words": ["Bo", "1999"],
        "videos_with_unsupported": 2,
        "repeated": 1,
        "preambles": 2,
    }


def test_the_videos_of_the_lowest_expected_f1_are_to_be_labelled_and_unlabelled_ones_come_before_judged_ones():
    unlabelled = [of(f"u{i:02d}", at(0, 9), [0.5, 0.5], expected=float(30 - i)) for i in range(15)]
    found = least_sure(unlabelled, [of("judged", at(0), [0.5], expected=0.0)])
    assert found["kind"] == "unlabelled"
    assert found["looked_at"] == 15
    assert [v["video_id"] for v in found["videos"]] == [f"u{i:02d}" for i in range(14, 14 - LISTED, -1)]
    assert found["videos"][0]["chapters"] == 2
    assert least_sure([], [of("judged", at(0), [0.5], expected=0.0)])["kind"] == "judged"
    assert least_sure([], [row("finetuned", "a", at(0))]) is None


def test_unlabelled_videos_are_in_no_other_figure():
    gold = {"a": (100.0, at(0, 30, 70))}
    judged = [row("control", "a", at(0, 40)), of("a", at(0, 30), [0.9, 0.9])]
    more = of("u", at(0, 9), [0.1, 0.1], expected=3.0, split="unlabelled", unsupported=["Bo"])
    alone, beside = (evaluate_systems(table(rows), gold) for rows in (judged, [*judged, more]))
    assert {k: v for k, v in alone.items() if k != "to_label"} == {k: v for k, v in beside.items() if k != "to_label"}
    assert [v["video_id"] for v in beside["to_label"]["videos"]] == ["u"]
