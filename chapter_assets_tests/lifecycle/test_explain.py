"""The chain from a decision back to files and users, on a real run with a tiny model."""

import json

import pytest

from chapter_assets.errors import InputError
from chapter_assets.lifecycle.explain import as_text, explain_finetune, explain_prediction, explain_video
from chapter_assets.store import file_hash
from chapter_assets_tests.conftest import Deployment, failure
from chapter_assets_tests.feedback.samples import ROOT


def test_from_a_decision_one_walks_back_to_the_files_and_the_users(deployment: Deployment) -> None:
    deployment.add_sample()
    assert deployment.run("ingest_corpus", "sample").success
    batch = deployment.feedback / "sample-1.jsonl"
    batch.parent.mkdir(exist_ok=True)
    batch.write_text((ROOT / "feedback" / "sample-1.jsonl").read_text())
    assert deployment.run("ingest_feedback", "sample-1").success
    fast = {
        "lora_adapter": {"config": {"epochs": 1, "evaluations_per_epoch": 1}},
        "chapter_predictions": {"config": {"zero_shot": False}},
    }
    done = deployment.run("finetune", "ft-0001", fast)
    assert done.success, failure(done)

    chain = explain_finetune(deployment.store, "ft-0001")
    json.dumps(chain)
    assert chain["life"]["started"] == "by hand"
    assert chain["decision"]["promoted"] is False
    (shard,) = chain["training_set"]["shards"]
    assert f"sha256 {file_hash(deployment.corpus / 'sample' / 'asrs.json')[:12]}" in " ".join(shard["files"])
    (said,) = chain["training_set"]["feedback"]
    assert (said["key"], said["file"]) == ("sample-1", str(batch))
    assert len(said["records_by_user"]) == 3
    assert chain["training_set"]["version"] == deployment.store.read("training_set", "ft-0001").version[:12]
    told = "\n".join(as_text(chain))
    assert "started: by hand" in told
    assert str(batch) in told

    records = deployment.store.read("feedback", "sample-1").table("feedback").to_pylist()
    edited = next(row for row in records if row["verdict"] == "edit" and row["split"] == "train")
    of_video = explain_video(deployment.store, edited["video_id"])
    assert of_video["shards"]["sample"]["split"] == "train"
    assert set(of_video["finetunes"]["ft-0001"]["train"]) == {edited["feedback_id"], "the corpus"}
    assert any(edited["user"] in line for line in of_video["said"])
    of_prediction = explain_prediction(deployment.store, edited["prediction_id"])
    assert of_prediction["video"] == edited["video_id"]
    assert of_prediction["made_by"]["finetune"] == "ft-0001"


def test_what_nobody_knows_is_said_to_be_unknown(deployment: Deployment) -> None:
    for explain in (explain_finetune, explain_prediction, explain_video):
        with pytest.raises(InputError, match="ft-0404"):
            explain(deployment.store, "ft-0404")
