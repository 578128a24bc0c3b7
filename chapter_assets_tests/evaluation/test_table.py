import json

import pytest

from chapter_assets.chapters import metrics
from chapter_assets.chapters.chapterlist import Chapter
from chapter_assets.errors import InputError
from chapter_assets.evaluation.table import LABELS, evaluate_systems, markdown_table, text_table
from chapter_assets_tests.evaluation.made_up import at, many, row, table

HITS = {"one_chapter": 0.1, "three_equal": 0.2, "equal_spacing": 0.15, "control": 0.3, "finetuned": 0.9}
TWO = {"a": (100.0, at(0, 30, 70)), "b": (100.0, at(0, 30, 70))}


def report_of(videos=24, hits=HITS, **options):
    gold, rows = many(videos, hits, **options)
    return evaluate_systems(table(rows), gold)


def test_a_clearly_better_model_is_called_better_with_its_numbers():
    report = report_of()
    skill = report["systems"]["finetuned"]["skill"]
    assert report["outcome"] == "better"
    assert report["verdict"] == (
        f"The finetuned model is better than the text-free control by {skill['value']:+.1f} F1 "
        f"(95 % interval {skill['low']:+.1f} to {skill['high']:+.1f}) on 24 videos of 24 channels."
    )


def test_a_model_like_the_control_is_not_called_better():
    report = report_of(hits=HITS | {"finetuned": 0.3, "three_equal": 0.0, "one_chapter": 0.0, "equal_spacing": 0.0})
    assert report["outcome"] == "not_shown"
    assert "is not shown to be better than the text-free control: " in report["verdict"]


def test_a_model_below_the_control_is_called_worse_and_a_guess_that_it_does_not_beat_is_named():
    report = report_of(hits=HITS | {"control": 0.9, "finetuned": 0.1})
    assert report["outcome"] == "worse"
    assert "is worse than the text-free control: -" in report["verdict"]
    assert "it is not shown to beat the best guess, three equal chapters (" in report["verdict"]


def test_the_same_lists_as_the_control_are_no_skill_with_a_zero_wide_interval():
    gold, rows = many(12, {"control": 0.5})
    report = evaluate_systems(table(rows + [r | {"system": "finetuned"} for r in rows]), gold)
    assert report["systems"]["finetuned"]["skill"] == {"value": 0.0, "low": 0.0, "high": 0.0}
    assert report["outcome"] == "not_shown"
    assert ": 0.0 F1 (95 % interval 0.0 to 0.0)" in report["verdict"]


@pytest.mark.parametrize("missing", [[], [row("finetuned", "b", [])]], ids=["no row", "no chapter in it"])
def test_a_missing_prediction_counts_as_zero(missing):
    rows = [row("control", v, gold) for v, (_, gold) in TWO.items()]
    report = evaluate_systems(table([*rows, row("finetuned", "a", at(0, 30, 70)), *missing]), TWO)
    finetuned = report["systems"]["finetuned"]
    assert finetuned["f1_all"]["value"] == 50
    assert finetuned["f1"] == 100
    assert finetuned["coverage"] == 0.5
    assert finetuned["skill"]["value"] == -50
    assert finetuned["mean_chapters"] == 3
    assert [v["f1"]["finetuned"] for v in report["videos"]] == [100, 0]


def test_a_system_that_predicted_only_elsewhere_is_listed_with_nothing():
    rows = [row("control", "a", at(0, 40)), row("finetuned", "x", at(0), split="validation")]
    finetuned = evaluate_systems(table(rows), TWO)["systems"]["finetuned"]
    assert finetuned["coverage"] == 0
    assert finetuned["f1_all"]["value"] == 0
    assert finetuned["valid_before_repair"] is None


def test_the_figures_are_those_of_the_metrics_module():
    gold, rows = many(30, HITS)
    report = evaluate_systems(table(rows), gold)
    chapters = {
        r["video_id"]: [Chapter(c["start"], c["title"]) for c in r["chapters"]]
        for r in rows
        if r["system"] == "finetuned"
    }
    expected = metrics.evaluate(gold, chapters)
    ours = report["systems"]["finetuned"]
    for key in metrics.SCORES:
        assert ours[f"{key}_all"]["value"] == pytest.approx(expected[f"{key}_all"], abs=1e-4)
        assert ours[key] == pytest.approx(expected[key], abs=1e-4)
    assert ours["f1_all"]["low"] < ours["f1_all"]["value"] < ours["f1_all"]["high"]
    over_thresholds = [ours[f"f1@{t:.2f}_all"]["value"] for t in metrics.THRESHOLDS]
    assert sum(over_thresholds) / 10 == pytest.approx(ours["f1_all"]["value"], abs=1e-3)


def test_skill_of_the_control_and_the_lead_of_the_best_guess_over_itself_are_no_figures():
    systems = report_of()["systems"]
    assert systems["control"]["skill"] is None
    assert systems["three_equal"]["over_best_guess"] is None
    assert systems["three_equal"]["skill"]["value"] == -systems["control"]["over_best_guess"]["value"]


def test_effort_and_repairs_are_counted_over_the_rows_there_are():
    rows = [
        row("finetuned", "a", at(0, 40), seconds=1.0, valid_before_repair=False, repairs=["boundaries"]),
        row("finetuned", "b", at(0, 40), seconds=4.0),
    ]
    finetuned = evaluate_systems(table(rows), TWO)["systems"]["finetuned"]
    assert finetuned["valid_before_repair"] == 0.5
    assert finetuned["repaired"] == 0.5
    assert finetuned["seconds_per_video"] == 2.5
    assert finetuned["seconds_per_hour_of_video"] == pytest.approx(5 / (200 / 3600))


def test_slices_by_duration_and_shard_hold_every_video_once():
    durations = {"a": 179.0, "b": 180.0, "c": 4000.0, "d": 3599.0, "e": 100.0}
    gold = {name: (duration, at(0, 50)) for name, duration in durations.items()}
    rows = [
        row(system, name, at(0, 60), duration=gold[name][0], shard="long" if name in "cd" else "short")
        for name in gold
        for system in ("control", "finetuned")
    ]
    slices = evaluate_systems(table(rows), gold)["slices"]
    assert [(s["by"], s["label"], s["videos"]) for s in slices] == [
        ("duration", "under 3 min", 2),
        ("duration", "3 to 10 min", 1),
        ("duration", "30 to 60 min", 1),
        ("duration", "60 min and more", 1),
        ("shard", "long", 2),
        ("shard", "short", 3),
    ]
    assert slices[0]["systems"]["finetuned"]["skill"] == {"value": 0.0, "low": None, "high": None}
    assert slices[0]["systems"]["control"]["skill"] is None


def test_videos_of_one_channel_give_no_interval_and_the_verdict_says_that_nothing_can_be_shown():
    report = report_of(videos=9, videos_per_channel=9)
    finetuned = report["systems"]["finetuned"]
    assert finetuned["f1_all"]["low"] is None
    assert finetuned["skill"]["low"] is None
    assert finetuned["skill"]["value"] > 0
    assert report["outcome"] == "unknown"
    assert "cannot be shown" in report["verdict"]
    assert "9 videos of 1 channel," in report["verdict"]


def test_few_channels_are_a_caveat():
    assert report_of(videos=8)["verdict"].endswith("; with so few channels the doubt is larger than the interval.")


def test_without_a_control_nothing_is_said_about_understanding():
    hits = {name: hit for name, hit in HITS.items() if name != "control"}
    report = report_of(hits=hits)
    assert report["outcome"] == "unknown"
    assert "cannot be told, since the text-free control is not among" in report["verdict"]
    assert report["systems"]["finetuned"]["skill"] is None


def test_a_report_without_a_finetuned_model_says_so():
    assert report_of(hits={"three_equal": 0.5})["outcome"] == "unknown"


def test_a_split_without_videos_is_refused_with_what_to_do():
    gold, rows = many(3, HITS)
    with pytest.raises(
        InputError, match="No video of the split 'validation' can be judged: 0 have predictions"
    ) as error:
        evaluate_systems(table(rows), gold, "validation")
    assert "CHAPTER_ASSETS_VALIDATION_PERCENT" in error.value.remedy


def test_an_empty_table_is_refused():
    with pytest.raises(InputError, match="No video of the split 'gate'"):
        evaluate_systems(table([]), TWO)


def test_two_predictions_of_a_system_for_one_video_are_refused():
    with pytest.raises(InputError, match="'finetuned' has two predictions for video 'a'"):
        evaluate_systems(table([row("finetuned", "a", at(0)), row("finetuned", "a", at(0))]), TWO)


def test_what_cannot_be_judged_is_left_out_and_counted():
    gold = TWO | {"empty": (100.0, []), "alone": (100.0, at(0))}
    rows = [row("finetuned", name, at(0, 30)) for name in ("a", "b", "empty", "stranger")]
    report = evaluate_systems(table(rows), gold)
    head = report["head"]
    assert (head["videos"], head["no_gold"], head["not_in_gold"], head["gold_without_rows"]) == (2, 1, 1, 1)
    assert [v["video_id"] for v in report["videos"]] == ["a", "b"]


def test_systems_come_in_their_order_and_unknown_ones_after_them():
    gold, rows = many(6, {"another": 0.5, **dict(reversed(HITS.items()))})
    report = evaluate_systems(table(rows), gold)
    assert report["order"] == [*(name for name in LABELS if name in HITS), "another"]
    assert report["systems"]["another"]["label"] == "another"


def test_the_report_is_plain_json_and_depends_on_content_alone():
    gold, rows = many(12, HITS)
    report = evaluate_systems(table(rows), gold)
    assert json.loads(json.dumps(report, allow_nan=False)) == report
    assert evaluate_systems(table(rows[::-1]), dict(reversed(gold.items()))) == report


def test_the_terminal_table_is_aligned_and_fits_140_columns():
    gold, rows = many(12, HITS | {"base_zero_shot": 0.2, "a system with a name that never seems to end": 0.1})
    lines = text_table(evaluate_systems(table(rows), gold)).splitlines()
    assert max(map(len, lines)) <= 140
    assert len(lines) == 3 + 7
    assert len({line.rindex(line.split()[-1]) + len(line.split()[-1]) for line in lines}) == 1


def test_the_markdown_table_has_a_row_for_each_system_and_the_finetuned_one_is_bold():
    lines = markdown_table(report_of()).splitlines()
    assert len(lines) == 2 + 5
    assert len({line.count("|") for line in lines}) == 1
    assert lines[-1].startswith("| **Finetuned** | **")
