"""The corpus group: VidChapters files to tables, shard by shard."""

import time
from collections.abc import Iterator
from contextlib import ExitStack

import dagster as dg

from chapter_assets.defs import checks, metadata
from chapter_assets.defs.partitions import corpus_shard
from chapter_assets.defs.resources import StoreResource
from chapter_assets.store import content_hash
from chapter_assets.training.splits import split_of
from chapter_assets.transcripts.corpus import find_or_fetch_shard, find_shard, ingest, shard_manifest

_TABLES = ("videos", "transcripts", "chapters")
_RAW_CODE_VERSION = "1"
_TABLES_CODE_VERSION = "2"  # 2: the language of each video


@dg.asset(partitions_def=corpus_shard, group_name="corpus", code_version=_RAW_CODE_VERSION, kinds={"json"})
def raw_vidchapters(context: dg.AssetExecutionContext, storage: StoreResource) -> dg.MaterializeResult:
    """The two JSON files of a shard (chapters, ASR): where they are, their size, hash and number of videos.

    Found in `data/corpus/<shard>/`, or fetched from the hub by the shard's name.
    """
    shard = context.partition_key
    settings = storage.settings
    manifest = shard_manifest(find_or_fetch_shard(settings.hub_dataset, shard, settings.corpus_dir))
    version = content_hash({kind: file["sha256"] for kind, file in manifest.items()})
    with storage.store.publish("raw_vidchapters", shard, version) as draft:
        draft.version, draft.details = version, {"files": manifest}
    return dg.MaterializeResult(
        data_version=dg.DataVersion(version),
        metadata={
            f"{kind}_{name}": dg.MetadataValue.path(value) if name == "path" else value
            for kind, file in manifest.items()
            for name, value in file.items()
        },
    )


@dg.multi_asset(
    name="corpus_tables",
    specs=[
        dg.AssetSpec(
            name,
            deps=[raw_vidchapters],
            group_name="corpus",
            code_version=_TABLES_CODE_VERSION,
            kinds={"parquet"},
            description=description,
        )
        for name, description in {
            "videos": "One row per video: title, channel, duration, language, split, counts, kept or why not.",
            "transcripts": "One row per segment of the kept videos: start and end in seconds, and the text.",
            "chapters": "One row per chapter of the kept videos: start in seconds, and the title.",
        }.items()
    ],
    partitions_def=corpus_shard,
    check_specs=[
        *(checks.spec("counts_add_up", name, "In = kept + refused, with a reason for each") for name in _TABLES),
        checks.spec("some_kept", "videos", "At least one video can be used"),
    ],
)
def corpus_tables(context: dg.AssetExecutionContext, storage: StoreResource) -> Iterator[dg.MaterializeResult]:
    """Both files in one streaming pass: memory does not grow with them, and nothing is written unless all is."""
    shard, settings, store = context.partition_key, storage.settings, storage.store
    raw = store.read("raw_vidchapters", shard)
    percents = (settings.validation_percent, settings.gate_percent, settings.audit_percent)
    inputs = content_hash([_TABLES_CODE_VERSION, raw.version, percents])
    if not all(store.made_from(name, shard, inputs) for name in _TABLES):
        began = time.perf_counter()
        with ExitStack() as stack:
            drafts = {name: stack.enter_context(store.publish(name, shard, inputs)) for name in _TABLES}
            folder = drafts["videos"].folder
            result = ingest(
                find_shard(settings.corpus_dir, shard),
                raw.details["files"],
                folder,
                shard,
                lambda channel: split_of(channel, shard, *percents),
                lambda n: context.log.info(f"{n} videos read"),
            )
            counted_as = {"videos": "videos", "transcripts": "segments", "chapters": "chapters"}
            for name, draft in drafts.items():
                if name != "videos":
                    (folder / f"{name}.parquet").rename(draft.folder / f"{name}.parquet")
                draft.version = result.versions[name]
                draft.details = {"counts": result.counts[counted_as[name]], "seconds": time.perf_counter() - began}
    for name in _TABLES:
        artifact = store.read(name, shard)
        counts = artifact.details["counts"]
        results = [checks.counts_add_up(name, counts)]
        if name == "videos":
            problem = f"All {counts['in']} videos were refused: {counts['refused']}"
            results.append(checks.result("some_kept", name, counts["kept"] > 0, problem))
        yield dg.MaterializeResult(
            asset_key=name,
            data_version=dg.DataVersion(artifact.version),
            check_results=results,
            metadata={
                "in": counts["in"],
                "kept": counts["kept"],
                "refused": sum(counts["refused"].values()),
                "counts": metadata.counts_table(counts),
                "preview": metadata.preview(artifact.head(name)),
                "seconds": artifact.details["seconds"],
                "folder": metadata.path(artifact.folder),
            },
        )
