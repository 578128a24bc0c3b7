"""The whole graph on one shard, from a program: what `chapter-assets run` and `make demo` do."""

from pathlib import Path
from typing import Any

import dagster as dg

from chapter_assets.defs.build import build_definitions
from chapter_assets.errors import ChapterAssetsError, InputError
from chapter_assets.lifecycle import finetunes
from chapter_assets.settings import Settings
from chapter_assets.store import Store, check_partition_key
from chapter_assets.training.recipe import Recipe
from chapter_assets.training.training_set import manifest_of
from chapter_assets.training.windows_table import window_settings
from chapter_assets.transcripts.corpus import ShardFiles, find_shard


def link_corpus(folder: Path, corpus_dir: Path) -> str:
    """Make `folder` (chapters.json, asrs.json) a shard named after it, by a link; returns the shard's key."""
    if not folder.is_dir():
        raise InputError(f"There is no folder {folder}", "Give the folder that holds chapters.json and asrs.json")
    key = check_partition_key(folder.resolve().name)
    files: ShardFiles = find_shard(folder.resolve().parent, key)
    link = corpus_dir / key
    if link.resolve() != files.chapters.parent:
        if link.exists() or link.is_symlink():
            raise InputError(f"There is another shard called {key}: {link.resolve()}", "Rename one of the two folders")
        corpus_dir.mkdir(parents=True, exist_ok=True)
        link.symlink_to(files.chapters.parent, target_is_directory=True)
    return key


def finetune_key(instance: dg.DagsterInstance, settings: Settings, shard: str, recipe: Recipe) -> str:
    """The finetune that has just these windows and this recipe, finished or begun; else the next free number."""
    store = Store(settings.store_dir)
    manifest = manifest_of(store, [shard], window_settings(settings))
    wanted = recipe.learned()
    known = sorted(instance.get_dynamic_partitions("finetune"))
    started = finetunes.read_all(store)
    waiting = {f.key for f in started if not (f.by_hand or f.frozen)}  # claimed by the sensor, for a set of its own
    for key in known:
        if key in waiting:
            continue
        set_details, adapter = store.details("training_set", key), store.details("lora_adapter", key)
        if set_details.get("manifest", manifest) == manifest and adapter.get("recipe", wanted) == wanted:
            return key
    return finetunes.next_key([*known, *(f.key for f in started)])


def run_graph(
    instance: dg.DagsterInstance, shard: str, key: str | None, recipe: Recipe, zero_shot: bool
) -> tuple[str, dict[str, Any]]:
    """Ingest `shard`, finetune on it, evaluate; returns the finetune's key and its report.

    Assets whose inputs did not change come back at once. Raises ChapterAssetsError with the cause when a step fails.
    """
    definitions = build_definitions()
    settings = Settings()
    _execute(definitions, "ingest_corpus", instance, shard, {})
    key = key or finetune_key(instance, settings, shard, recipe)
    instance.add_dynamic_partitions("finetune", [check_partition_key(key)])
    config = {
        "training_set": {"config": {"shards": [shard], "batches": []}},
        "lora_adapter": {"config": recipe.model_dump()},
        "chapter_predictions": {"config": {"zero_shot": zero_shot}},
    }
    _execute(definitions, "finetune", instance, key, config)
    return key, Store(settings.store_dir).details("eval_report", key)["report"]


def _execute(
    definitions: dg.Definitions, job: str, instance: dg.DagsterInstance, partition: str, ops: dict[str, Any]
) -> None:
    result = definitions.resolve_job_def(job).execute_in_process(
        instance=instance,
        partition_key=partition,
        run_config={"ops": ops, "loggers": {"console": {"config": {}}}},
        raise_on_error=False,
    )
    if result.success:
        return
    for check in result.get_asset_check_evaluations():
        if not check.passed and check.severity == dg.AssetCheckSeverity.ERROR:
            raise ChapterAssetsError(
                f"{check.asset_key.to_user_string()} {partition} failed {check.check_name}: {check.description}",
                f"The run {result.run_id} is in the UI (`make ui`)",
            )
    for event in result.filter_events(lambda e: e.is_step_failure):
        failure = event.step_failure_data
        error = failure.error.cause or failure.error if failure.error else None
        message = error.message.strip() if error else "unknown"
        raise ChapterAssetsError(
            f"{event.step_key} {partition} failed: {message}", f"The run {result.run_id} is in the UI (`make ui`)"
        )
    raise ChapterAssetsError(f"{job} {partition} failed", f"The run {result.run_id} is in the UI (`make ui`)")
