"""What the retrain sensor and its weekly schedule share: from the instance and the store to the run to ask for."""

import time
from collections.abc import Iterable
from datetime import UTC, datetime

import dagster as dg

from chapter_assets.defs.runs import release_dead_runs
from chapter_assets.errors import StoreError
from chapter_assets.lifecycle import finetunes as states
from chapter_assets.lifecycle.finetunes import IN_PROGRESS, Finetune
from chapter_assets.lifecycle.retrain import (
    Asked,
    Batch,
    Limits,
    Run,
    Skip,
    View,
    carry_out,
    decide,
    run_key,
    settle,
)
from chapter_assets.settings import Settings
from chapter_assets.store import Store, content_hash
from chapter_assets.training.recipe import Recipe

SECONDS = 40.0  # of the 60 that Dagster gives a tick
_ENDED_BADLY = (dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED)


def limits_of(settings: Settings) -> Limits:
    """The deployment's limits."""
    return Limits(settings.min_edits, settings.min_batches, settings.max_attempts, settings.most_hours)


def next_finetune(instance: dg.DagsterInstance, settings: Settings, limits: Limits) -> dg.RunRequest | dg.SkipReason:
    """One tick: write down what has failed, decide, claim, and ask for the run; or why there is none."""
    began, store, now = time.monotonic(), Store(settings.store_dir), datetime.now(UTC)
    try:
        settle_finetunes(instance, store, limits, now)
        shard = store.newest("training_windows")
        if shard is None:
            return dg.SkipReason(
                "No corpus shard has training windows, so a finetune would have nothing to judge it on"
            )
        finetunes = states.read_all(store)
        batches, unreadable = _batches(instance, store, began + SECONDS)
        view = View(
            batches=batches,
            unreadable=unreadable,
            finetunes=finetunes,
            runs=_runs(instance, finetunes),
            # What the windows were made with: a finetune refuses to start with anything else.
            base_model=store.details("training_windows", shard)["settings"]["base_model_hash"],
            recipe=content_hash(Recipe().learned()),
        )
        answer = carry_out(store, decide(view, limits, now), instance.get_dynamic_partitions("finetune"), now)
    except (StoreError, TimeoutError) as error:
        return dg.SkipReason(str(error))
    return dg.SkipReason(answer.reason) if isinstance(answer, Skip) else _request(answer)


def _request(asked: Asked) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=asked.run_key,
        partition_key=asked.finetune,
        run_config={"ops": {"lora_adapter": {"config": Recipe().model_dump()}}},
        tags={"chapter_assets/attempt": str(asked.attempt), "chapter_assets/why": asked.reason},
    )


def settle_finetunes(
    instance: dg.DagsterInstance, store: Store, limits: Limits, now: datetime | None = None
) -> list[Finetune]:
    """End the runs of killed processes, and write down which finetunes have failed; returns those."""
    release_dead_runs(instance)
    finetunes = states.read_all(store)
    return settle(store, finetunes, _runs(instance, finetunes), limits, now or datetime.now(UTC))


def _batches(instance: dg.DagsterInstance, store: Store, until: float) -> tuple[list[Batch], list[str]]:
    """The registered batches with windows, and those that cannot be read; TimeoutError after `until`."""
    keys = sorted(set(instance.get_dynamic_partitions("feedback_batch")) & set(store.partitions("feedback_windows")))
    batches, unreadable = [], []
    for number, key in enumerate(keys):
        if time.monotonic() > until:
            raise TimeoutError(f"Only {number} of {len(keys)} feedback batches could be read in {SECONDS:.0f} s")
        try:
            windows = store.read("feedback_windows", key)
            batches.append(Batch(key, windows.version, int(windows.details["counts"]["edits"])))
        except (StoreError, KeyError, TypeError, ValueError):
            unreadable.append(key)
    return batches, unreadable


def _runs(instance: dg.DagsterInstance, finetunes: Iterable[Finetune]) -> dict[str, Run]:
    return {f.key: _run(instance, f) for f in finetunes if f.state in IN_PROGRESS}


def _run(instance: dg.DagsterInstance, finetune: Finetune) -> Run:
    """The runs of the current attempt as one: alive if any is, else ended well if any did."""
    by_key = dg.RunsFilter(tags={"dagster/run_key": run_key(finetune.evidence, finetune.attempt)})
    known = [*instance.get_runs(by_key), *(instance.get_run_by_id(run) for run in finetune.runs)]
    runs = [run for run in known if run is not None]
    if not runs:
        return Run("none")
    if any(not run.is_finished for run in runs):
        return Run("in_progress")
    if any(run.is_success for run in runs):
        return Run("succeeded")
    return Run("failed", _why(instance, runs[0].run_id))


def _why(instance: dg.DagsterInstance, run_id: str) -> str:
    """What made a run fail: the first failed step and its error, else what the instance says of the run's end."""
    kinds = {dg.DagsterEventType.STEP_FAILURE, dg.DagsterEventType.RUN_FAILURE, dg.DagsterEventType.RUN_CANCELED}
    for record in instance.get_records_for_run(run_id, of_type=kinds).records:
        event = record.event_log_entry.dagster_event
        if event is not None and event.is_step_failure:
            error = event.step_failure_data.error
            cause = error.cause or error if error else None
            message = (cause.message if cause else event.message) or "failed"
            return f"{event.step_key}: {message.strip().removeprefix('chapter_assets.errors.')}"
        if event is not None:
            return event.message or "its run failed"
    return "its run failed"
