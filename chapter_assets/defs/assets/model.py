"""The model group: the adapter of a finetune."""

import json

import dagster as dg

from chapter_assets.defs import checks, metadata
from chapter_assets.defs.config import FinetuneConfig
from chapter_assets.defs.partitions import finetune
from chapter_assets.defs.resources import StoreResource
from chapter_assets.lifecycle import finetunes
from chapter_assets.store import content_hash
from chapter_assets.training import card
from chapter_assets.training.training_set import check_settings
from chapter_assets.training.windows_table import window_settings

# 2: which languages the titles were learned from; 3: cohesion over spans of time; 4: bounds of position features
_CODE_VERSION = "4"


@dg.asset(
    partitions_def=finetune,
    deps=["training_set"],
    group_name="model",
    code_version=_CODE_VERSION,
    kinds={"pytorch", "huggingface"},
    pool="gpu",
    check_specs=[
        checks.spec("loss_is_finite", "lora_adapter", "No training or validation loss is NaN or infinite"),
        checks.spec("loss_fell", "lora_adapter", "The last training loss is below the first", blocking=False),
    ],
)
def lora_adapter(
    context: dg.AssetExecutionContext, storage: StoreResource, config: FinetuneConfig
) -> dg.MaterializeResult:
    """A LoRA adapter with its boundary head, trained on the training set; a killed run goes on where it was."""
    from chapter_assets.training.finetune import finetune_adapter

    key, settings, store = context.partition_key, storage.settings, storage.store
    recipe = config.recipe()
    training_set = store.read("training_set", key)
    check_settings(training_set.details["manifest"], window_settings(settings))
    inputs = content_hash([_CODE_VERSION, training_set.version, recipe.learned()])
    if store.made_from("lora_adapter", key, inputs) is None:
        work = store.work_folder("lora_adapter", key, inputs)
        with store.publish("lora_adapter", key, inputs) as draft:
            draft.version, draft.details = finetune_adapter(
                settings, training_set, recipe, work, draft.folder, finetunes.beating(store, key, context.log.info)
            )
            card.write_card(draft.folder, key, draft.details)
        store.drop_work("lora_adapter", key)
    finetunes.advance(store, key, "trained", context.run_id)
    artifact = store.read("lora_adapter", key)
    details = artifact.details
    log = json.loads((artifact.folder / "training_log.json").read_text())
    losses = card.losses(log)
    return dg.MaterializeResult(
        data_version=dg.DataVersion(artifact.version),
        check_results=[
            checks.result("loss_is_finite", "lora_adapter", card.all_finite(log), "A loss is no number: see the log"),
            checks.result(
                "loss_fell",
                "lora_adapter",
                len(losses) < 2 or losses[-1] < losses[0],
                f"The training loss went from {losses[:1]} to {losses[-1:]}",
                severity="WARN",
            ),
        ],
        metadata={
            "loss": metadata.image((artifact.folder / "loss.png").read_bytes(), "Training and validation loss by step"),
            "tokens_per_second": details["tokens_per_second"],
            "seconds": details["seconds"],
            "rows": details["counts"]["rows"],
            "videos_by_language": metadata.counts_table(details["counts"]["languages"]),
            "titles_not_learned": metadata.counts_table(details["counts"]["titles_not_learned"]),
            "resumed_at_step": details["resumed_at_step"],
            "recipe": recipe.model_dump(),
            "training_set": training_set.version,
            "card": dg.MetadataValue.md((artifact.folder / "README.md").read_text()),
            "folder": metadata.path(artifact.folder),
        },
    )
