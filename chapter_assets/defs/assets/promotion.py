"""The end of the evaluation group: the gate's decision on a finetune, and the champion."""

from dataclasses import asdict

import dagster as dg

from chapter_assets.defs import checks, metadata
from chapter_assets.defs.partitions import all_finetunes, finetune
from chapter_assets.defs.resources import StoreResource
from chapter_assets.errors import StoreError
from chapter_assets.lifecycle import finetunes
from chapter_assets.store import content_hash

_CODE_VERSION = "1"


@dg.asset(
    partitions_def=finetune,
    deps=["training_set", "lora_adapter", "chapter_predictions", "eval_report"],
    group_name="evaluation",
    code_version=_CODE_VERSION,
    kinds={"json"},
    check_specs=[
        checks.spec("nothing_missing", "promotion", "The finetune has a valid list for every gate video"),
        checks.spec("no_regression", "promotion", "Nothing that was compared may be worse by more than its margin"),
    ],
)
def promotion(context: dg.AssetExecutionContext, storage: StoreResource) -> dg.MaterializeResult:
    """Whether the finetune serves from now on: the gate's decision, its numbers and its reason."""
    from chapter_assets.lifecycle.gate import decision_markdown
    from chapter_assets.lifecycle.promotion import decide

    store, key = storage.store, context.partition_key
    decided = decide(store, key, storage.settings, _CODE_VERSION)
    artifact, decision = decided.artifact, decided.decision
    finetunes.advance(store, key, "promoted" if decision.promoted else "kept", context.run_id, decision.reason)
    context.log.info(decision.reason)
    without = [*decision.missing, *decision.invalid]
    return dg.MaterializeResult(
        data_version=dg.DataVersion(artifact.version),
        check_results=[
            checks.result("nothing_missing", "promotion", not without, f"Missing or invalid: {', '.join(without[:5])}"),
            checks.result("no_regression", "promotion", not decision.regressions, decision.reason, severity="WARN"),
        ],
        metadata={
            "promoted": decision.promoted,
            "decision": dg.MetadataValue.md(decision_markdown(decision, decided.against)),
            "level_spent": decision.level or 0.0,
            "judged": artifact.details["judged"],
            "rules": artifact.details["rules"],
            "folder": metadata.path(artifact.folder),
        },
    )


@dg.asset(
    deps=[dg.AssetDep("promotion", partition_mapping=all_finetunes)],
    group_name="evaluation",
    code_version=_CODE_VERSION,
    kinds={"json"},
    check_specs=[
        checks.spec("history_agrees", "champion", "The champion's file says what the last line of its history says"),
        checks.spec("adapter_whole", "champion", "The adapter that serves is there, and is the one that was promoted"),
    ],
)
def champion(storage: StoreResource) -> dg.MaterializeResult:
    """Which finetune serves, since when and why; `chapter-assets champion` changes it by hand."""
    from chapter_assets.lifecycle.champion import adapter_of, history, history_markdown, read

    store = storage.store
    serving, changes = read(store), history(store)
    problem = ""
    try:
        if serving is not None:
            adapter_of(store, serving.pinned)
    except StoreError as error:
        problem = str(error)
    last = changes[-1].champion if changes else None
    return dg.MaterializeResult(
        data_version=dg.DataVersion(content_hash(asdict(serving) if serving else None)),
        check_results=[
            checks.result(
                "history_agrees",
                "champion",
                serving == last,
                "It does not: run `chapter-assets champion recover`, which goes by the history",
            ),
            checks.result("adapter_whole", "champion", not problem, problem),
        ],
        metadata={
            "finetune": serving.finetune if serving else "none yet",
            **({"serves": asdict(serving)} if serving else {}),
            "history": dg.MetadataValue.md(history_markdown(changes)),
            "folder": metadata.path(store.root / "champion"),
        },
    )
