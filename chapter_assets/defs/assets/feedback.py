"""The feedback group: sealed batches of users' verdicts to tables, and those to training windows."""

import time

import dagster as dg

from chapter_assets.defs import checks, metadata
from chapter_assets.defs.partitions import feedback_batch
from chapter_assets.defs.resources import StoreResource
from chapter_assets.feedback.batches import find_batch
from chapter_assets.feedback.intake import take_in
from chapter_assets.feedback.windows import write_feedback_windows
from chapter_assets.store import content_hash, file_hash
from chapter_assets.training.splits import split_of
from chapter_assets.training.windows_table import window_settings

_FEEDBACK_CODE_VERSION = "1"
_WINDOWS_CODE_VERSION = "1"


@dg.asset(
    partitions_def=feedback_batch,
    group_name="feedback",
    code_version=_FEEDBACK_CODE_VERSION,
    kinds={"parquet"},
    check_specs=[
        checks.spec("counts_add_up", "feedback", "Lines in = kept + refused, with a reason for each"),
        checks.spec("some_kept", "feedback", "At least one user's verdict can be used"),
    ],
)
def feedback(context: dg.AssetExecutionContext, storage: StoreResource) -> dg.MaterializeResult:
    """The verdicts of a sealed batch with what had been shown, its videos and transcripts, and what was refused."""
    batch, settings, store = context.partition_key, storage.settings, storage.store
    path = find_batch(settings.feedback_dir, batch)
    percents = (settings.validation_percent, settings.gate_percent, settings.audit_percent)
    inputs = content_hash([_FEEDBACK_CODE_VERSION, file_hash(path), percents])
    if store.made_from("feedback", batch, inputs) is None:
        began = time.perf_counter()
        with store.publish("feedback", batch, inputs) as draft:
            # By channel alone: a batch is no published shard, whatever it is called.
            result = take_in(path, draft.folder, lambda channel: split_of(channel, "", *percents))
            draft.version = result.version
            draft.details = {"counts": result.counts, "file": str(path), "seconds": time.perf_counter() - began}
    artifact = store.read("feedback", batch)
    counts = artifact.details["counts"]
    return dg.MaterializeResult(
        data_version=dg.DataVersion(artifact.version),
        check_results=[
            checks.counts_add_up("feedback", counts),
            checks.result(
                "some_kept",
                "feedback",
                counts["records"]["feedback"] > 0,
                f"None of {counts['in']} lines is a verdict that can be used: {counts['refused']}",
            ),
        ],
        metadata={
            "in": counts["in"],
            "kept": counts["kept"],
            "refused": sum(counts["refused"].values()),
            "counts": metadata.counts_table(counts),
            "preview": metadata.preview(
                artifact.head("feedback"), ["feedback_id", "finetune", "video_id", "verdict", "span_seen", "chapters"]
            ),
            "refused_preview": metadata.preview(artifact.head("refused")),
            "seconds": artifact.details["seconds"],
            "file": dg.MetadataValue.path(artifact.details["file"]),
            "folder": metadata.path(artifact.folder),
        },
    )


@dg.asset(
    partitions_def=feedback_batch,
    deps=[feedback],
    group_name="training",
    code_version=_WINDOWS_CODE_VERSION,
    kinds={"parquet"},
    check_specs=[
        checks.spec(
            "counts_add_up", "feedback_windows", "Verdicts in = with windows + without, with a reason for each"
        ),
        *checks.windows_specs("feedback_windows"),
    ],
)
def feedback_windows(context: dg.AssetExecutionContext, storage: StoreResource) -> dg.MaterializeResult:
    """Edited and accepted lists as training windows, seen where their user looked; pairs of rejected and chosen."""
    batch, settings, store = context.partition_key, storage.settings, storage.store
    shape = window_settings(settings)
    said = store.read("feedback", batch)
    inputs = content_hash([_WINDOWS_CODE_VERSION, said.version, shape, settings.accept_weight])
    if store.made_from("feedback_windows", batch, inputs) is None:
        began = time.perf_counter()
        with store.publish("feedback_windows", batch, inputs) as draft:
            draft.version, counts = write_feedback_windows(said, settings, draft.folder)
            draft.details = {
                "counts": counts,
                "settings": shape,
                "accept_weight": settings.accept_weight,
                "seconds": time.perf_counter() - began,
            }
    artifact = store.read("feedback_windows", batch)
    counts = artifact.details["counts"]
    return dg.MaterializeResult(
        data_version=dg.DataVersion(artifact.version),
        check_results=[
            checks.counts_add_up("feedback_windows", counts),
            *checks.windows_results("feedback_windows", counts, settings.window_tokens),
        ],
        metadata={
            **{name: counts[name] for name in ("edits", "accepts", "rejects", "windows", "pairs")},
            "counts": metadata.counts_table(counts),
            "settings": shape,
            "preview": metadata.preview(
                artifact.head("feedback_windows"),
                ["window_id", "split", "weight", "start", "end", "tokens", "chapters"],
            ),
            "pairs_preview": metadata.preview(artifact.head("pairs")),
            "seconds": artifact.details["seconds"],
            "folder": metadata.path(artifact.folder),
        },
    )
