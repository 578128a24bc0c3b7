"""The jobs that people look for by name."""

import dagster as dg

from chapter_assets.defs.partitions import corpus_shard, feedback_batch, finetune

ingest_corpus = dg.define_asset_job(
    "ingest_corpus",
    selection=dg.AssetSelection.assets("raw_vidchapters", "videos", "transcripts", "chapters", "training_windows"),
    partitions_def=corpus_shard,
    description="One corpus shard: VidChapters JSON to tables to training windows.",
)

ingest_feedback = dg.define_asset_job(
    "ingest_feedback",
    selection=dg.AssetSelection.assets("feedback", "feedback_windows"),
    partitions_def=feedback_batch,
    description="One feedback batch: users' verdicts to tables to training windows.",
)

finetune_job = dg.define_asset_job(
    "finetune",
    selection=dg.AssetSelection.assets(
        *("training_set", "lora_adapter", "chapter_predictions", "eval_report", "promotion", "champion")
    ),
    partitions_def=finetune,
    description="One finetune: training set, adapter, predictions, report, and whether it serves.",
)
