"""The feedback group, run for real on an ephemeral instance."""

import json
from typing import Any

import dagster as dg
import pytest

from chapter_assets.defs.build import build_definitions
from chapter_assets_tests.conftest import Deployment, failure
from chapter_assets_tests.feedback.made_up import feedback_line, impression_line, transcript_line, write_batch
from chapter_assets_tests.feedback.samples import ROOT

TRANSCRIPT = transcript_line()
WHOLE = [TRANSCRIPT, impression_line(TRANSCRIPT), feedback_line()]


def add_batch(deployment: Deployment, key: str, lines: list[Any]) -> None:
    write_batch(deployment.feedback / f"{key}.jsonl", lines)


def data_version(deployment: Deployment, asset: str, key: str) -> str:
    found = deployment.instance.fetch_materializations(
        dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[key]), limit=1
    )
    return (found.records[0].asset_materialization.tags or {})["dagster/data_version"]


def failed_checks(result: dg.ExecuteInProcessResult) -> dict[str, str]:
    return {c.check_name: str(c.description) for c in result.get_asset_check_evaluations() if not c.passed}


def test_the_samples_become_windows_and_a_second_run_makes_nothing_again(deployment: Deployment) -> None:
    for path in sorted((ROOT / "feedback").glob("sample-*.jsonl")):
        add_batch(deployment, path.stem, [path.read_text()])
        result = deployment.run("ingest_feedback", path.stem)
        assert result.success, failure(result)
        assert failed_checks(result) == {}
        counts = deployment.store.details("feedback_windows", path.stem)["counts"]
        assert min(counts["edits"], counts["accepts"], counts["rejects"], counts["windows"], counts["pairs"]) > 0
        assert counts["refused"]["accept_held_out"] == 1
    made = {a: deployment.store.read(a, "sample-1") for a in ("feedback", "feedback_windows")}
    assert deployment.run("ingest_feedback", "sample-1").success
    for asset, before in made.items():
        assert deployment.store.read(asset, "sample-1").folder == before.folder
        assert data_version(deployment, asset, "sample-1") == before.version
    windows = made["feedback_windows"].table("feedback_windows").to_pylist()
    assert {row["source"] for row in windows} == {"feedback"}
    assert all(row["window_id"].startswith("fb-1-") for row in windows)


def test_another_weight_for_accepts_makes_the_windows_again_but_not_the_tables(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    add_batch(deployment, "b", [*WHOLE, feedback_line("f-2", verdict="accept", user="b")])
    assert deployment.run("ingest_feedback", "b").success
    before = {a: deployment.store.read(a, "b") for a in ("feedback", "feedback_windows")}
    monkeypatch.setenv("CHAPTER_ASSETS_ACCEPT_WEIGHT", "0.3")
    deployment.definitions = build_definitions()
    assert deployment.run("ingest_feedback", "b").success
    assert deployment.store.read("feedback", "b").folder == before["feedback"].folder
    after = deployment.store.read("feedback_windows", "b")
    assert after.version != before["feedback_windows"].version
    assert sorted(after.table("feedback_windows")["weight"].to_pylist()) == pytest.approx([0.3, 1.0])


def test_a_missing_or_empty_batch_fails_with_its_path_and_leaves_nothing(deployment: Deployment) -> None:
    missing = deployment.run("ingest_feedback", "nowhere")
    assert not missing.success
    assert str(deployment.feedback / "nowhere.jsonl") in failure(missing)
    add_batch(deployment, "empty", [])
    empty = deployment.run("ingest_feedback", "empty")
    assert "holds no record" in failure(empty)
    assert not deployment.store.exists("feedback", "empty")


def test_a_batch_of_which_no_verdict_can_be_used_stops_before_windows_and_says_why(deployment: Deployment) -> None:
    add_batch(deployment, "b", [line | {"schema_version": 7} for line in WHOLE])
    result = deployment.run("ingest_feedback", "b")
    assert list(failed_checks(result)) == ["some_kept"]
    assert "schema_version_unknown" in failed_checks(result)["some_kept"]
    assert deployment.store.read("feedback", "b").table("refused").num_rows == 3
    assert not deployment.store.exists("feedback_windows", "b")


def test_a_held_out_channel_is_held_out_in_feedback_whatever_the_batch_is_called(deployment: Deployment) -> None:
    for key in ("b_test", "b_val", "b"):
        add_batch(deployment, key, WHOLE)
        assert deployment.run("ingest_feedback", key).success
        assert deployment.store.read("feedback", key).table("videos")["split"].to_pylist() == ["train"]


def test_what_a_run_shows_tells_how_much_was_kept_and_refused(deployment: Deployment) -> None:
    add_batch(deployment, "b", [*WHOLE, json.dumps(WHOLE[2])[:40]])
    result = deployment.run("ingest_feedback", "b")
    shown = result.asset_materializations_for_node("feedback")[0].metadata
    assert (shown["in"].value, shown["kept"].value, shown["refused"].value) == (4, 3, 1)
    assert "cut_off" in str(shown["refused_preview"].value)
    shown = result.asset_materializations_for_node("feedback_windows")[0].metadata
    assert (shown["edits"].value, shown["windows"].value) == (1, 1)
    assert "f-1/000" in str(shown["preview"].value)
