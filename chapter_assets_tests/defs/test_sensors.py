"""The sensors' ticks, evaluated for real on an instance, with feedback whose windows are made up."""

import json
import socket
import uuid
from typing import Any

import dagster as dg

from chapter_assets.defs import partitions
from chapter_assets.defs.retraining import limits_of, settle_finetunes
from chapter_assets.defs.run import finetune_key
from chapter_assets.defs.sensors import discover_sensor
from chapter_assets.lifecycle import finetunes as states
from chapter_assets.settings import Settings
from chapter_assets.training.recipe import Recipe
from chapter_assets_tests.conftest import Deployment
from chapter_assets_tests.lifecycle.made_up import make


def add_batches(deployment: Deployment, *names: str, edits: int = 10, version: str = "1") -> None:
    """Feedback batches with windows, registered; and a corpus shard, without which nothing starts."""
    counts = {"edits": edits, "accepts": 500, "rejects": 0, "windows": 7}
    make(deployment.store, "training_windows", "sample", {"settings": {"base_model_hash": "model"}})
    for name in names:
        make(deployment.store, "feedback_windows", name, {"counts": counts}, version)
    deployment.instance.add_dynamic_partitions("feedback_batch", list(names))


def tick(deployment: Deployment, name: str = "retrain", cursor: str | None = None) -> Any:
    context = dg.build_sensor_context(
        instance_ref=deployment.instance.get_ref(), definitions=deployment.definitions, cursor=cursor
    )
    return deployment.definitions.resolve_sensor_def(name).evaluate_tick(context)


def why_not(tick: Any) -> str:
    assert not tick.run_requests
    return str(tick.skip_message)


def start(deployment: Deployment, tick: Any, status: dg.DagsterRunStatus = dg.DagsterRunStatus.STARTED) -> str:
    """What the daemon does with a tick's answer; the run is not executed."""
    (request,) = tick.run_requests
    for wanted in tick.dynamic_partitions_requests:
        deployment.instance.add_dynamic_partitions(wanted.partitions_def_name, list(wanted.partition_keys))
    tags = dict(request.tags) | {"dagster/run_key": request.run_key}
    run = dg.DagsterRun(job_name="finetune", run_id=str(uuid.uuid4()), status=status, tags=tags)
    return deployment.instance.add_run(run).run_id


def test_below_the_thresholds_the_tick_says_how_much_is_missing(deployment: Deployment) -> None:
    add_batches(deployment, "fb-1", "fb-2", edits=20)
    assert why_not(tick(deployment)) == "2 of 3 batches, 40 of 200 edits pending"


def test_without_a_shard_there_is_nothing_to_judge_a_finetune_on(deployment: Deployment) -> None:
    assert "No corpus shard has training windows" in why_not(tick(deployment))


def test_enough_feedback_asks_for_a_numbered_finetune_its_key_and_its_recipe(deployment: Deployment) -> None:
    add_batches(deployment, "fb-1", "fb-2", "fb-3")
    deployment.instance.add_dynamic_partitions("finetune", ["ft-0006"])
    answer = tick(deployment, cursor="no cursor at all {")
    (request,) = answer.run_requests
    assert request.partition_key == "ft-0007"
    assert request.run_config["ops"]["lora_adapter"]["config"] == Recipe().model_dump()
    assert request.tags["chapter_assets/attempt"] == "1"
    assert request.tags["chapter_assets/why"] == "3 of 3 batches, 30 of 200 edits pending"
    assert request.tags["dagster/partition"] == "ft-0007"
    (key,) = answer.dynamic_partitions_requests
    assert (key.partitions_def_name, list(key.partition_keys)) == ("finetune", ["ft-0007"])
    (finetune,) = states.read_all(deployment.store)
    assert request.run_key == f"{finetune.evidence.hash}-1"
    assert finetune.evidence.batches == (("fb-1", "1"), ("fb-2", "1"), ("fb-3", "1"))
    assert finetune.evidence.base_model == "model"


def test_batches_that_are_not_registered_or_cannot_be_read_do_not_count(deployment: Deployment) -> None:
    add_batches(deployment, "fb-1", "fb-2", "fb-3")
    deployment.instance.delete_dynamic_partition("feedback_batch", "fb-1")
    (deployment.store.place("feedback_windows", "fb-2") / "current.json").write_text("{")
    assert why_not(tick(deployment)) == "1 of 3 batches, 10 of 200 edits pending; cannot be read: fb-2"


def test_a_tick_after_the_answer_waits_for_the_run_and_a_failed_run_is_tried_again(deployment: Deployment) -> None:
    add_batches(deployment, "fb-1", edits=300)
    first = tick(deployment)
    assert "its run is being started" in why_not(tick(deployment))
    run_id = start(deployment, first)
    assert "ft-0001 is in progress (claimed, attempt 1)" in why_not(tick(deployment))
    run = deployment.instance.get_run_by_id(run_id)
    assert run is not None
    deployment.instance.report_run_failed(run, "The machine went down")
    again = tick(deployment)
    (request,) = again.run_requests
    assert request.partition_key == "ft-0001"
    assert request.run_key.endswith("-2")
    assert request.tags["chapter_assets/why"] == "attempt 1 failed: The machine went down"


def test_a_cancelled_run_counts_as_failed(deployment: Deployment) -> None:
    add_batches(deployment, "fb-1", edits=300)
    start(deployment, tick(deployment), dg.DagsterRunStatus.CANCELED)
    assert len(tick(deployment).run_requests) == 1


def test_a_run_whose_process_was_killed_is_found_by_the_tick(deployment: Deployment) -> None:
    add_batches(deployment, "fb-1", edits=300)
    run_id = start(deployment, tick(deployment))
    deployment.instance.add_run_tags(run_id, {"chapter_assets/process": f"{socket.gethostname()}:1:1000"})
    settle_finetunes(deployment.instance, deployment.store, limits_of(Settings()))
    (finetune,) = states.read_all(deployment.store)
    assert (finetune.state, finetune.reason) == ("failed", "Its process is gone (killed, or the machine went down)")


def test_a_damaged_state_stops_the_sensor_and_no_other_run(deployment: Deployment) -> None:
    add_batches(deployment, "fb-1", edits=300)
    tick(deployment)
    path = deployment.store.root / "lifecycle" / "finetunes" / "ft-0001.json"
    path.write_text(path.read_text()[:100])
    assert f"{path} is damaged" in why_not(tick(deployment))
    deployment.store.place("training_windows", "sample").joinpath("current.json").unlink()
    deployment.add_sample()
    assert deployment.run("ingest_corpus", "sample").success


def test_a_run_by_hand_does_not_take_the_number_of_a_claim(deployment: Deployment) -> None:
    deployment.add_sample()
    assert deployment.run("ingest_corpus", "sample").success
    windows = deployment.store.read("training_windows", "sample").details
    add_batches(deployment, "fb-1", edits=300)
    make(deployment.store, "training_windows", "sample", windows)
    tick(deployment)
    assert finetune_key(deployment.instance, Settings(), "sample", Recipe()) == "ft-0002"
    deployment.instance.add_dynamic_partitions("finetune", ["ft-0001"])
    assert finetune_key(deployment.instance, Settings(), "sample", Recipe()) == "ft-0002"


def test_two_hundred_batches_are_one_finetune(deployment: Deployment) -> None:
    add_batches(deployment, *(f"fb-{number:03d}" for number in range(200)), edits=0)
    start(deployment, tick(deployment))
    (finetune,) = states.read_all(deployment.store)
    assert len(finetune.evidence.batches) == 200


def test_the_weekly_schedule_starts_on_the_little_that_is_pending(deployment: Deployment) -> None:
    schedule = deployment.definitions.resolve_schedule_def("retrain_weekly")

    def weekly() -> Any:
        context = dg.build_schedule_context(
            instance_ref=deployment.instance.get_ref(), repository_def=deployment.definitions.get_repository_def()
        )
        return schedule.evaluate_tick(context)

    add_batches(deployment)
    assert weekly().skip_message == "0 of 1 batches, 0 of 200 edits pending"
    add_batches(deployment, "fb-1", edits=1)
    (request,) = weekly().run_requests
    assert request.partition_key == "ft-0001"
    assert deployment.instance.get_dynamic_partitions("finetune") == ["ft-0001"]


def test_all_that_starts_runs_by_itself_is_stopped_until_somebody_starts_it(deployment: Deployment) -> None:
    repository = deployment.definitions.get_repository_def()
    automatic = [*repository.sensor_defs, *repository.schedule_defs]
    assert {a.name for a in automatic} == {"retrain", "discover", "retrain_weekly"}
    assert {a.default_status.value for a in automatic} == {"STOPPED"}


def keys_asked_for(tick: Any) -> dict[str, list[str]]:
    return {wanted.partitions_def_name: list(wanted.partition_keys) for wanted in tick.dynamic_partitions_requests}


def write_shard(deployment: Deployment, key: str, title: str = "t") -> None:
    folder = deployment.corpus / key
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "chapters.json").write_text(json.dumps({"v": {"duration": 60, "title": title}}))
    (folder / "asrs.json").write_text("{}")


def test_a_new_shard_is_registered_and_taken_in_once_it_lies_still(deployment: Deployment) -> None:
    write_shard(deployment, "new")
    first = tick(deployment, "discover")
    assert keys_asked_for(first) == {"corpus_shard": ["new"]}
    assert not first.run_requests
    deployment.instance.add_dynamic_partitions("corpus_shard", ["new"])
    second = tick(deployment, "discover", first.cursor)
    (request,) = second.run_requests
    assert (request.job_name, request.partition_key) == ("ingest_corpus", "new")
    assert not second.dynamic_partitions_requests
    assert "nothing to take in" in why_not(tick(deployment, "discover", second.cursor))


def test_changed_content_is_taken_in_again_and_a_lost_cursor_asks_for_the_same(deployment: Deployment) -> None:
    write_shard(deployment, "s")
    deployment.instance.add_dynamic_partitions("corpus_shard", ["s"])

    def asked(cursor: str | None) -> tuple[str, str]:
        first = tick(deployment, "discover", cursor)
        second = tick(deployment, "discover", first.cursor)
        (request,) = second.run_requests
        return request.run_key, second.cursor

    key, cursor = asked(None)
    assert asked("[1, {") == asked("[]") == asked('{"corpus_shard/s": 7}') == (key, cursor)
    write_shard(deployment, "s", "another")
    other, _ = asked(cursor)
    assert other != key


def write_feedback(deployment: Deployment, *names: str) -> None:
    folder = Settings().feedback_dir
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / f"{name}.jsonl").write_text("{}")


def test_a_half_shard_and_a_name_that_is_no_key_are_named_and_left(deployment: Deployment) -> None:
    (deployment.corpus / "half").mkdir(parents=True)
    write_feedback(deployment, "-", "week-1")
    answer = tick(deployment, "discover")
    assert keys_asked_for(answer) == {"feedback_batch": ["week-1"]}
    assert "half has no chapters.json" in why_not(answer)
    assert "'-' cannot be a partition key" in why_not(answer)


@dg.asset(partitions_def=partitions.feedback_batch)
def made_up_feedback() -> None: ...


def test_feedback_files_are_taken_in_by_the_job_for_them_so_many_at_a_time(deployment: Deployment) -> None:
    job = dg.define_asset_job("ingest_feedback", selection=[made_up_feedback])
    deployment.definitions = dg.Definitions(assets=[made_up_feedback], jobs=[job], sensors=[discover_sensor([job])])
    names = [f"week-{number:02d}" for number in range(30)]
    write_feedback(deployment, *names)
    deployment.instance.add_dynamic_partitions("feedback_batch", names)
    cursor, asked = tick(deployment, "discover").cursor, []
    for number in (25, 5, 0):
        answer = tick(deployment, "discover", cursor)
        assert len(answer.run_requests) == number
        asked += [request.partition_key for request in answer.run_requests]
        cursor = answer.cursor
    assert asked == names


def test_a_file_that_is_gone_takes_no_key_away(deployment: Deployment) -> None:
    deployment.instance.add_dynamic_partitions("corpus_shard", ["gone"])
    tick(deployment, "discover")
    assert deployment.instance.get_dynamic_partitions("corpus_shard") == ["gone"]
