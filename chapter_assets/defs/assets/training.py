"""The training group: tables to windows, windows to the training set of a finetune."""

import json
import time

import dagster as dg

from chapter_assets.defs import checks, metadata
from chapter_assets.defs.config import TrainingSetConfig
from chapter_assets.defs.partitions import all_batches, all_shards, corpus_shard, finetune
from chapter_assets.defs.resources import StoreResource
from chapter_assets.lifecycle import finetunes
from chapter_assets.store import Store, content_hash
from chapter_assets.training import training_set as sets
from chapter_assets.training.windows_table import window_settings, write_shard_windows

_CODE_VERSION = "1"


@dg.asset(
    partitions_def=corpus_shard,
    deps=["videos", "transcripts", "chapters"],
    group_name="training",
    code_version=_CODE_VERSION,
    kinds={"parquet"},
    check_specs=checks.windows_specs("training_windows"),
)
def training_windows(context: dg.AssetExecutionContext, storage: StoreResource) -> dg.MaterializeResult:
    """Each kept video of a shard cut into windows that fit the token budget, with the chapters that start in them."""
    shard, settings, store = context.partition_key, storage.settings, storage.store
    shape = window_settings(settings)
    versions = [store.read(name, shard).version for name in ("videos", "transcripts", "chapters")]
    inputs = content_hash([_CODE_VERSION, versions, shape])
    if store.made_from("training_windows", shard, inputs) is None:
        began = time.perf_counter()
        with store.publish("training_windows", shard, inputs) as draft:
            draft.version, counts = write_shard_windows(store, shard, settings, draft.folder, context.log.info)
            draft.details = {"counts": counts, "settings": shape, "seconds": time.perf_counter() - began}
    artifact = store.read("training_windows", shard)
    counts = artifact.details["counts"]
    return dg.MaterializeResult(
        data_version=dg.DataVersion(artifact.version),
        check_results=checks.windows_results("training_windows", counts, settings.window_tokens),
        metadata={
            "windows": counts["windows"],
            "tokens": counts["tokens"],
            "counts": metadata.counts_table(counts),
            "settings": shape,
            "preview": metadata.preview(
                artifact.head("training_windows"), ["window_id", "split", "start", "end", "tokens", "chapters"]
            ),
            "seconds": artifact.details["seconds"],
            "folder": metadata.path(artifact.folder),
        },
    )


@dg.asset(
    partitions_def=finetune,
    deps=[
        dg.AssetDep("training_windows", partition_mapping=all_shards),
        dg.AssetDep("videos", partition_mapping=all_shards),
        dg.AssetDep("transcripts", partition_mapping=all_shards),
        dg.AssetDep("chapters", partition_mapping=all_shards),
        dg.AssetDep("feedback", partition_mapping=all_batches),
        dg.AssetDep("feedback_windows", partition_mapping=all_batches),
    ],
    group_name="training",
    code_version=_CODE_VERSION,
    kinds={"arrow"},
    check_specs=[
        checks.spec("channels_apart", "training_set", "No channel is in two splits"),
        checks.spec("every_part_filled", "training_set", "Train, validation and gate each hold a window"),
    ],
)
def training_set(
    context: dg.AssetExecutionContext, storage: StoreResource, config: TrainingSetConfig
) -> dg.MaterializeResult:
    """The exact windows that one finetune sees and is judged on, frozen, with the manifest of where each came from."""
    key, settings, store = context.partition_key, storage.settings, storage.store
    if store.exists("training_set", key):
        manifest = store.details("training_set", key)["manifest"]
        sets.check_asked(manifest, key, config.shards or None, config.batches)
    else:
        ready = _ready(context, store, "feedback_batch", "feedback_windows")
        batches = finetunes.feedback_for(store, key, ready) if config.batches is None else config.batches
        manifest = sets.manifest_of(
            store,
            config.shards or _ready(context, store, "corpus_shard", "training_windows"),
            window_settings(settings),
            ready if batches is None else batches,
            {"per_user": settings.most_per_user, "per_video": settings.most_per_video}
            | {"per_channel": settings.most_per_channel},
        )
    finetunes.check_claim(store, key, manifest)
    version = sets.manifest_version(manifest)
    if store.made_from("training_set", key, version) is None:
        sets.check_unchanged(manifest, store)
        with store.publish("training_set", key, version) as draft:
            counts = sets.build_training_set(store, manifest, draft.folder, context.log.info)
            (draft.folder / "manifest.json").write_text(json.dumps(manifest, indent=1, sort_keys=True))
            draft.version, draft.details = version, {"counts": counts, "manifest": manifest}
    finetunes.advance(store, key, "set_frozen", context.run_id)
    artifact = store.read("training_set", key)
    counts, shared = artifact.details["counts"], sets.channels_in_two_parts(artifact)
    empty = [part for part, number in counts["windows"].items() if number == 0]
    return dg.MaterializeResult(
        data_version=dg.DataVersion(version),
        check_results=[
            checks.result("channels_apart", "training_set", not shared, f"In two parts: {', '.join(shared[:10])}"),
            checks.result(
                "every_part_filled",
                "training_set",
                not empty,
                f"Nothing in {', '.join(empty)}: channels are dealt out by a hash. Start another finetune with more "
                "shards or with larger shares (CHAPTER_ASSETS_VALIDATION_PERCENT, _GATE_PERCENT)",
            ),
        ],
        metadata={
            **{f"{part}_windows": number for part, number in counts["windows"].items()},
            "videos": metadata.counts_table(counts["videos"]),
            "tokens": metadata.counts_table(counts["tokens"]),
            "channels": metadata.counts_table(counts["channels"]),
            "manifest": dg.MetadataValue.json(manifest),
            "folder": metadata.path(artifact.folder),
        },
    )


def _ready(context: dg.AssetExecutionContext, store: Store, partitions: str, asset: str) -> list[str]:
    """The registered partitions whose windows are made."""
    return sorted(set(context.instance.get_dynamic_partitions(partitions)) & set(store.partitions(asset)))
