"""The command, as a person runs it: in a process of its own."""

import json
from pathlib import Path

import pytest

from chapter_assets.lifecycle.finetunes import claim, move
from chapter_assets.store import Store
from chapter_assets_tests.lifecycle.judged import finish
from chapter_assets_tests.lifecycle.made_up import NOW, evidence
from chapter_assets_tests.shell import SAMPLE, Shell

PREDICT = ("predict", "--chapters", "no.json", "--asrs", "no.json", "--out", "x.json")


@pytest.fixture
def shell(tmp_path: Path, tiny_model: Path) -> Shell:
    return Shell(tmp_path, tiny_model)


def test_a_perfect_prediction_scores_100_and_a_missing_one_counts_as_0_only_in_all(
    shell: Shell, tmp_path: Path
) -> None:
    gold = {v: {"duration": 100, "chapters": {"0": "a", "30": "b", "70": "c"}} for v in ("one", "two")}
    (tmp_path / "gold.json").write_text(json.dumps(gold))
    (tmp_path / "pred.json").write_text(json.dumps({"one": gold["one"]}))
    figures = json.loads(shell("evaluate", "--gold", "gold.json", "--pred", "pred.json", "--json").stdout)
    assert figures["f1"] == pytest.approx(100)
    assert figures["f1_all"] == pytest.approx(50)


def test_predict_gives_the_same_lists_whatever_the_answers_in_the_chapters_file(shell: Shell, tmp_path: Path) -> None:
    chapters = json.loads((SAMPLE / "chapters.json").read_text())
    for video in chapters.values():
        video["chapters"], video["description"] = {"1": "something else"}, "something else"
    (tmp_path / "blind.json").write_text(json.dumps(chapters))
    asrs = str(SAMPLE / "asrs.json")
    baseline = ("--baseline", "three_equal")
    shell("predict", "--chapters", str(SAMPLE / "chapters.json"), "--asrs", asrs, "--out", "a.json", *baseline)
    said = shell("predict", "--chapters", "blind.json", "--asrs", asrs, "--out", "b.json", *baseline).stderr
    assert (tmp_path / "a.json").read_text() == (tmp_path / "b.json").read_text()
    assert "39 in" in said
    assert "36 predicted" in said
    assert sum(int(part.split()[0]) for part in said.split(": ", 1)[1].split(", ")[1:]) == 39


@pytest.mark.parametrize(
    ("args", "said"),
    [
        (("predict", "--chapters", "no.json", "--asrs", "no.json", "--out", "x.json"), "no finished finetune"),
        (("predict", "--chapters", "no.json", "--asrs", "no.json", "--out", "x.json", "--baseline", "luck"), "luck"),
        ((*PREDICT, "--count", "0"), "Wish for a count of 1 or more"),
        ((*PREDICT, "--min-length", "-5"), "Wish for a least length of 0 s"),
        ((*PREDICT, "--granularity", "nan"), "Use a number above 0"),
        ((*PREDICT, "--baseline", "three_equal", "--count", "4"), "--baseline control"),
        ((*PREDICT, "--baseline", "equal_spacing:60", "--granularity", "2"), "--baseline control"),
        ((*PREDICT, "--baseline", "base_zero_shot", "--min-length", "30"), "--baseline control"),
        (("evaluate", "--gold", "no.json", "--pred", "no.json"), "no.json"),
        (("register", "nowhere"), "chapter-assets fetch nowhere"),
        (("register",), "There is no shard"),
        (("run", "--set", "rank=3"), "no knob of the recipe"),
        (("run", "--set", "epochs=-1"), "epochs"),
        (("run", "--corpus", "nowhere"), "There is no folder"),
        (("retry", "ft-0009", "--why", "mended"), "ft-0009 is unknown"),
        (("champion", "promote", "ft-0001", "--why", "x"), "lora_adapter ft-0001 was never made"),
        (("champion", "promote", "ft-0001"), "--why"),
        (("champion", "rollback", "--why", "x"), "no champion to go back to"),
        (("champion", "recover"), "no history"),
    ],
)
def test_a_mistake_is_answered_with_what_to_do_and_no_traceback(shell: Shell, args: tuple[str, ...], said: str) -> None:
    done = shell(*args, ok=False)
    assert said in done.stderr
    assert "Traceback" not in done.stderr


def test_a_finetune_that_was_given_up_is_listed_with_its_reason_and_can_be_tried_again(
    shell: Shell, tmp_path: Path
) -> None:
    store = Store(tmp_path / "data" / "store")
    claimed = claim(store, evidence("week-1", "week-2"), [], [], "2 of 2 batches", NOW)
    move(store, move(store, claimed, "failed", "out of memory", NOW), "abandoned", "failed once", NOW)
    (line,) = shell("finetunes").stdout.splitlines()
    assert line.startswith("ft-0001  abandoned      since 2026-03-01 12:00 UTC, attempt 1, 2 feedback batches")
    assert line.endswith(": failed once")
    assert "will be tried again" in shell("retry", "ft-0001", "--why", "more memory").stdout
    assert shell("finetunes").stdout.rstrip().endswith(": more memory")


def test_register_finds_feedback_batches_and_names_files_that_cannot_be_one(shell: Shell, tmp_path: Path) -> None:
    folder = tmp_path / "data" / "feedback"
    folder.mkdir()
    for name in ("week-1.jsonl", "week 2.jsonl", "week-3.jsonl.part"):
        (folder / name).write_text("{}\n")
    done = shell("register")
    assert done.stdout.splitlines() == ["feedback_batch week-1: registered"]
    assert "week 2.jsonl" in done.stderr
    assert "known already" in shell("register").stdout
    assert "  week-1: missing feedback, feedback_windows\n" in shell("status").stdout


def test_register_passes_over_folders_that_are_no_shard_and_says_so(shell: Shell, tmp_path: Path) -> None:
    corpus = tmp_path / "data" / "corpus"
    for folder, names in (("half", ("chapters",)), ("bad name", ("chapters", "asrs")), ("whole", ("chapters", "asrs"))):
        (corpus / folder).mkdir(parents=True)
        for name in names:
            (corpus / folder / f"{name}.json").write_text("{}")
    done = shell("register")
    assert "corpus_shard whole: registered" in done.stdout
    assert "half" not in done.stdout
    assert "bad name" not in done.stdout
    assert f"Not registered: {corpus / 'half'}" in done.stderr
    assert f"Not registered: {corpus / 'bad name'}" in done.stderr


def test_no_finetune_is_said_and_a_reason_of_many_lines_takes_one(shell: Shell, tmp_path: Path) -> None:
    assert shell("finetunes").stdout == "No finetune has begun yet\n"
    store = Store(tmp_path / "data" / "store")
    claimed = claim(store, evidence("week-1"), [], [], "1 of 1 batches", NOW)
    move(store, claimed, "failed", "out of memory\nat step 3", NOW)
    (line,) = shell("finetunes").stdout.splitlines()
    assert line.endswith("out of memory at step 3")


def test_help_teaches_every_command(shell: Shell) -> None:
    said = shell("--help").stdout
    for command in ("register", "fetch", "status", "finetunes", "retry", "run", "evaluate", "predict", "champion"):
        assert command in said
        assert "Usage" in shell(command, "--help").stdout


def test_a_person_promotes_rolls_back_and_reads_who_serves_and_why(shell: Shell, tmp_path: Path) -> None:
    store = Store(tmp_path / "data" / "store")
    for key in ("ft-0001", "ft-0002"):
        finish(store, key, hit=0.5)
    assert "no champion yet" in shell("champion", "show").stdout
    assert "ft-0001 serves" in shell("champion", "promote", "ft-0001", "--why", "reads well").stdout
    shell("champion", "promote", "ft-0002", "--why", "better titles")
    said = shell("champion", "show").stdout
    assert "ft-0002 serves since" in said
    assert "by hand: better titles" in said
    assert "anchor        ft-0001" in said
    shell("champion", "anchor", "ft-0002", "--why", "a new year")
    shell("champion", "rollback", "--why", "users complain")
    file = tmp_path / "data" / "store" / "champion" / "champion.json"
    file.write_text(file.read_text()[:50])
    assert "chapter-assets champion recover" in shell("champion", "show", ok=False).stderr
    assert "ft-0001 serves" in shell("champion", "recover").stdout
    told = [" ".join(line.split()[1:]) for line in shell("champion", "history").stdout.splitlines()]
    assert told == [
        "promoted ft-0001 by hand: reads well",
        "promoted ft-0002 by hand: better titles",
        "anchor set ft-0002 by hand: a new year",
        "rolled back ft-0001 by hand: users complain",
    ]


def test_predict_without_a_flag_takes_the_champion_and_not_the_newest_finetune(shell: Shell, tmp_path: Path) -> None:
    store = Store(tmp_path / "data" / "store")
    for key in ("ft-0001", "ft-0002"):
        finish(store, key, hit=0.5)  # no model in it, so that it is named when it cannot be loaded
    assert "lora_adapter/ft-0002" in shell(*PREDICT, ok=False).stderr.replace("\n", "")
    shell("champion", "promote", "ft-0001", "--why", "reads well")
    assert "lora_adapter/ft-0001" in shell(*PREDICT, ok=False).stderr.replace("\n", "")
    finish(store, "ft-0001", hit=0.9)
    assert "was promoted" in shell(*PREDICT, ok=False).stderr


def test_evaluate_leaves_out_gold_that_cannot_be_used_and_says_so(shell: Shell, tmp_path: Path) -> None:
    gold = {"a": {"duration": 60, "chapters": {"0": "x", "30": "y"}}, "b": {"duration": 0, "chapters": {"0": "z"}}}
    (tmp_path / "gold.json").write_text(json.dumps(gold))
    (tmp_path / "pred.json").write_text(json.dumps({"a": {"chapters": {"0": "x", "30": "y"}}, "c": {"chapters": {}}}))
    done = shell("evaluate", "--gold", "gold.json", "--pred", "pred.json", "--json")
    figures = json.loads(done.stdout, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))
    assert (figures["gold_refused"], figures["f1_all"]) == (1, 100.0)
    assert "'b'" in done.stderr
    (tmp_path / "pred.json").write_text(json.dumps({"c": {"chapters": {"0": "x"}}}))
    assert "No video of" in shell("evaluate", "--gold", "gold.json", "--pred", "pred.json", ok=False).stderr
