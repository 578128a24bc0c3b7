"""The evaluation group: what every system predicts for held-out videos, and the report on it."""

from dataclasses import asdict

import dagster as dg
import pyarrow.compute as pc
import pyarrow.parquet as pq

from chapter_assets.chapters.chapterlist import Chapter, problems
from chapter_assets.defs import checks, metadata
from chapter_assets.defs.config import PredictionConfig
from chapter_assets.defs.partitions import finetune
from chapter_assets.defs.resources import StoreResource
from chapter_assets.lifecycle import finetunes
from chapter_assets.store import content_hash
from chapter_assets.training.training_set import check_settings
from chapter_assets.training.windows_table import window_settings

_CODE_VERSION = "3"  # 2: confidence and score of each list; phrases as they were said. 3: champion and anchor


@dg.asset(
    partitions_def=finetune,
    deps=["training_set", "lora_adapter"],
    group_name="evaluation",
    code_version=_CODE_VERSION,
    kinds={"parquet"},
    pool="gpu",
    check_specs=[
        checks.spec("every_list_valid", "chapter_predictions", "Starts rise within the video, all have titles"),
        checks.spec("all_covered", "chapter_predictions", "Every system has a list for every gate video"),
    ],
)
def chapter_predictions(
    context: dg.AssetExecutionContext, storage: StoreResource, config: PredictionConfig
) -> dg.MaterializeResult:
    """Chapters for every gate video by guesses, text-free control, base model, champion, anchor and the finetuned one.

    The finetuned one also predicts a few videos that have no chapters, so that the report can say which to label.
    """
    from chapter_assets.evaluation.predictions import judged_gold, predict_all
    from chapter_assets.evaluation.unlabelled import unlabelled_videos
    from chapter_assets.lifecycle.champion import adapter_of, opponents

    key, settings, store = context.partition_key, storage.settings, storage.store
    training_set, adapter = store.read("training_set", key), store.read("lora_adapter", key)
    check_settings(training_set.details["manifest"], window_settings(settings))
    against = opponents(store, key)
    pinned = {system: asdict(found) for system, found in against.items()}
    inputs = content_hash([_CODE_VERSION, training_set.version, adapter.version, config.zero_shot, pinned])
    if store.made_from("chapter_predictions", key, inputs) is None:
        work = store.work_folder("chapter_predictions", key, inputs)
        with store.publish("chapter_predictions", key, inputs) as draft:
            shards = [shard["key"] for shard in training_set.details["manifest"]["shards"]]
            note = finetunes.beating(store, key, context.log.info)
            unlabelled = unlabelled_videos(store, shards, note)
            folders = {system: adapter_of(store, found).folder for system, found in against.items()}
            table = predict_all(
                settings, training_set, adapter.folder, config.zero_shot, work, note, unlabelled, folders
            )
            pq.write_table(table, draft.folder / "predictions.parquet")
            timeless = table.drop_columns(["seconds"])  # the answer is the same, however long it took
            draft.version = content_hash([timeless.to_pylist(), pinned])
            draft.details = {"adapter": adapter.version, "against": pinned}
        store.drop_work("chapter_predictions", key)
    artifact = store.read("chapter_predictions", key)
    table = artifact.table("predictions")
    rows = table.to_pylist()
    broken = [
        f"{row['system']} {row['video_id']}: {found[0]}"
        for row in rows
        if (found := problems([Chapter(**c) for c in row["chapters"]], row["duration"]))
    ]
    systems = pc.value_counts(table.filter(pc.field("split") == "gate")["system"]).to_pylist()
    expected = len(judged_gold(training_set, "gate"))
    return dg.MaterializeResult(
        data_version=dg.DataVersion(artifact.version),
        check_results=[
            checks.result("every_list_valid", "chapter_predictions", not broken, "; ".join(broken[:5])),
            checks.result(
                "all_covered",
                "chapter_predictions",
                bool(rows) and all(s["counts"] == expected for s in systems),
                f"{expected} gate videos, but {systems}",
            ),
        ],
        metadata={
            "videos": expected,
            "predictions": len(rows),
            "judged_against": {system: found.finetune for system, found in against.items()},
            "unlabelled": sum(row["split"] == "unlabelled" for row in rows),
            "preview": metadata.preview(
                table.filter(pc.field("system") == "finetuned"),
                ["video_id", "title", "chapters", "expected_f1", "score", "seconds"],
            ),
            "repaired": sum(not row["valid_before_repair"] for row in rows),
            "folder": metadata.path(artifact.folder),
        },
    )


@dg.asset(
    partitions_def=finetune,
    deps=["training_set", "lora_adapter", "chapter_predictions"],
    group_name="evaluation",
    code_version=_CODE_VERSION,
    kinds={"html"},
    check_specs=[
        checks.spec("reads_the_text", "eval_report", "F1 is above the text-free control's", blocking=False),
    ],
)
def eval_report(context: dg.AssetExecutionContext, storage: StoreResource) -> dg.MaterializeResult:
    """How good the finetune is next to every guess and the text-free control, with intervals: JSON and an HTML page."""
    from chapter_assets.evaluation.predictions import judged_gold
    from chapter_assets.evaluation.report import plots, report_markdown, write_report
    from chapter_assets.evaluation.table import evaluate_systems, text_table

    key, store = context.partition_key, storage.store
    training_set, adapter = store.read("training_set", key), store.read("lora_adapter", key)
    predicted = store.read("chapter_predictions", key)
    predictions, gold = predicted.table("predictions"), judged_gold(training_set, "gate")
    inputs = content_hash([_CODE_VERSION, training_set.version, adapter.version, predicted.version])
    if store.made_from("eval_report", key, inputs) is None:
        with store.publish("eval_report", key, inputs) as draft:
            report = evaluate_systems(predictions, gold, "gate")
            about = {
                "finetune": key,
                "base model": adapter.details["manifest"]["settings"]["base_model"],
                "training set": training_set.version,
                "shards": ", ".join(shard["key"] for shard in adapter.details["manifest"]["shards"]),
                "adapter": adapter.version,
                "recipe": adapter.details["recipe"],
                "training seconds": adapter.details["seconds"],
            }
            write_report(report, predictions, gold, about, draft.folder)
            draft.version = content_hash([inputs, "report"])
            draft.details = {
                "report": report,
                "training_set": training_set.version,
                "chapter_predictions": predicted.version,
            }
    finetunes.advance(store, key, "evaluated", context.run_id)
    artifact = store.read("eval_report", key)
    report = artifact.details["report"]
    for line in text_table(report).splitlines():
        context.log.info(line)
    skill = report["systems"].get("finetuned", {}).get("skill") if report["systems"] else None
    return dg.MaterializeResult(
        data_version=dg.DataVersion(artifact.version),
        check_results=[
            checks.result(
                "reads_the_text",
                "eval_report",
                skill is not None and (skill["low"] or 0) > 0,
                report["verdict"],
                severity="WARN",
            )
        ],
        metadata={
            "report": dg.MetadataValue.md(report_markdown(report)),
            **{name: metadata.image(png, name) for name, png in plots(report).items()},
            "page": dg.MetadataValue.path(str(artifact.folder / "report.html")),
            "folder": metadata.path(artifact.folder),
        },
    )
