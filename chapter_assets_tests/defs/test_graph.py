"""The graph, run for real on an ephemeral instance with a tiny model."""

import json
import shutil

import pytest

from chapter_assets.lifecycle import champion
from chapter_assets.lifecycle import finetunes as states
from chapter_assets_tests.conftest import Deployment, failure

FAST = {
    "lora_adapter": {"config": {"epochs": 1, "evaluations_per_epoch": 1}},
    "chapter_predictions": {"config": {"zero_shot": True}},
}
FAST_ONLY = FAST | {"chapter_predictions": {"config": {"zero_shot": False}}}
JUDGED = ("champion", "finetuned")


def versions(deployment: Deployment, key: str) -> dict[str, str]:
    names = ("training_set", "lora_adapter", "chapter_predictions", "eval_report", "promotion")
    return {name: deployment.store.read(name, key).version for name in names}


def test_the_sample_goes_all_the_way_to_a_report_and_a_second_run_changes_nothing(deployment: Deployment) -> None:
    deployment.add_sample()
    assert deployment.run("ingest_corpus", "sample").success
    first = deployment.run("finetune", "ft-0001", FAST)
    assert first.success, failure(first)
    report = deployment.store.details("eval_report", "ft-0001")["report"]
    assert {"one_chapter", "three_equal", "equal_spacing", "control", "base_zero_shot", "finetuned"} == set(
        report["systems"]
    )
    assert all(check.passed or check.severity.value == "WARN" for check in first.get_asset_check_evaluations())
    finetune = states.find(deployment.store, "ft-0001")
    assert finetune is not None
    assert [step.state for step in finetune.history] == ["claimed", "set_frozen", "trained", "evaluated", "kept"]
    assert (finetune.by_hand, finetune.runs) == (True, (first.run_id,))
    before = versions(deployment, "ft-0001")
    folders = {name: deployment.store.read(name, "ft-0001").folder for name in before}
    assert deployment.run("finetune", "ft-0001", FAST).success
    assert versions(deployment, "ft-0001") == before
    assert {name: deployment.store.read(name, "ft-0001").folder for name in before} == folders
    again = states.find(deployment.store, "ft-0001")
    assert again is not None
    assert again.history == finetune.history

    # A completed set never changes: damaged, it is rebuilt from the same shards; with another shard version, refused.
    shutil.rmtree(folders["training_set"] / "dataset")
    assert deployment.run("finetune", "ft-0001", FAST).success
    assert versions(deployment, "ft-0001") == before
    asrs = json.loads((deployment.corpus / "sample" / "asrs.json").read_text())
    asrs.pop(next(iter(asrs)))
    deployment.add_shard("sample", (deployment.corpus / "sample" / "chapters.json").read_text(), asrs)
    assert deployment.run("ingest_corpus", "sample").success
    shutil.rmtree(deployment.store.read("training_set", "ft-0001").folder / "dataset")
    refused = deployment.run("finetune", "ft-0001", FAST)
    assert not refused.success
    assert "A completed set never changes" in failure(refused)


def test_two_finetunes_with_one_seed_learn_the_same_weights(deployment: Deployment) -> None:
    deployment.add_sample()
    deployment.run("ingest_corpus", "sample")
    for key in ("ft-0001", "ft-0002"):
        result = deployment.run("finetune", key, FAST_ONLY)
        assert result.success, failure(result)
    assert versions(deployment, "ft-0001") == versions(deployment, "ft-0002")
    assert champion.read(deployment.store) is None
    assert "6 channels" in deployment.store.details("promotion", "ft-0001")["decision"]["reason"]

    champion.promote(deployment.store, "ft-0001", "as a start")
    for _ in range(2):  # its predictions, report and decision stay as they were made
        before = versions(deployment, "ft-0001")
        assert deployment.run("finetune", "ft-0001", FAST_ONLY).success
        assert versions(deployment, "ft-0001") == before
    other = deployment.run("finetune", "ft-0002", FAST_ONLY)
    assert other.success, failure(other)
    rows = deployment.store.read("chapter_predictions", "ft-0002").table("predictions").to_pylist()
    lists = {s: [r["chapters"] for r in rows if (r["system"], r["split"]) == (s, "gate")] for s in JUDGED}
    assert lists["champion"] == lists["finetuned"] != []  # one seed, one model
    assert deployment.store.details("chapter_predictions", "ft-0002")["against"]["champion"]["finetune"] == "ft-0001"
    assert deployment.store.details("eval_report", "ft-0002")["report"]["systems"]["champion"]["label"] == "Champion"
    assert not deployment.store.details("promotion", "ft-0002")["decision"]["promoted"]


def test_every_job_covers_its_group_and_no_edge_maps_partitions_by_accident(deployment: Deployment) -> None:
    graph = deployment.definitions.resolve_asset_graph()
    for key in graph.get_all_asset_keys():
        for parent in graph.get(key).parent_keys:
            if graph.get(parent).partitions_def != graph.get(key).partitions_def:
                mapping = graph.get_partition_mapping(key, parent)
                assert type(mapping).__name__ == "AllPartitionMapping", f"{parent} -> {key}"


@pytest.mark.parametrize(
    ("chapters", "asrs", "said"),
    [
        ("not json", "{}", "chapters.json"),
        ('{"a": {"duration": 10, "title"', "{}", "chapters.json"),
        ("[]", "{}", "chapters.json"),
    ],
)
def test_a_broken_file_fails_with_its_name_and_leaves_no_table(
    deployment: Deployment, chapters: str, asrs: str, said: str
) -> None:
    deployment.add_shard("broken", chapters, asrs)
    result = deployment.run("ingest_corpus", "broken")
    assert not result.success
    assert said in failure(result)
    assert not deployment.store.exists("videos", "broken")


def test_a_shard_of_refused_videos_stops_before_windows_and_says_why(deployment: Deployment) -> None:
    deployment.add_shard("mute", {"v": {"duration": 60, "title": "t", "chapters": {"0": "a"}}}, {})
    result = deployment.run("ingest_corpus", "mute")
    failed = [check for check in result.get_asset_check_evaluations() if not check.passed]
    assert [check.check_name for check in failed] == ["some_kept"]
    assert "no_asr" in str(failed[0].description)
    assert not deployment.store.exists("training_windows", "mute")


def test_a_partition_without_its_upstream_says_what_to_materialize(deployment: Deployment) -> None:
    result = deployment.run("finetune", "ft-0001")
    assert not result.success
    assert "No corpus shard has training windows" in failure(result)
    assert "chapter-assets register" in failure(result)


def test_an_unknown_base_model_is_named_with_the_ways_out(
    deployment: Deployment, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CHAPTER_ASSETS_BASE_MODEL", "no-such-model")
    deployment.add_sample()
    result = deployment.run("ingest_corpus", "sample")
    assert not result.success
    assert "Unknown base model 'no-such-model'" in failure(result)
