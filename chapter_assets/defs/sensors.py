"""What starts runs by itself: thin shells over decisions made in `lifecycle/`. All are STOPPED until switched on."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import dagster as dg

from chapter_assets.defs import partitions
from chapter_assets.defs.jobs import finetune_job
from chapter_assets.defs.retraining import SECONDS, limits_of, next_finetune
from chapter_assets.lifecycle.discovery import Intake, Kind, dump_seen, intakes, load_seen, on_disk
from chapter_assets.settings import Settings

_PARTITIONS: dict[Kind, dg.DynamicPartitionsDefinition] = {
    "corpus_shard": partitions.corpus_shard,
    "feedback_batch": partitions.feedback_batch,
}
_INTAKE_JOBS: dict[Kind, str] = {"corpus_shard": "ingest_corpus", "feedback_batch": "ingest_feedback"}
_MOST_INTAKES = 25  # runs asked for in one tick; the next tick asks for the rest


@dg.sensor(
    job=finetune_job,
    minimum_interval_seconds=60,
    default_status=dg.DefaultSensorStatus.STOPPED,
    description="Starts a finetune when enough feedback is pending, tries a failed one again; a skip says why.",
)
def retrain(context: dg.SensorEvaluationContext) -> dg.SensorResult:
    """One tick; it keeps no cursor."""
    settings = Settings()
    answer = next_finetune(context.instance, settings, limits_of(settings))
    if isinstance(answer, dg.SkipReason):
        return dg.SensorResult(skip_reason=answer)
    return dg.SensorResult(
        run_requests=[answer],
        dynamic_partitions_requests=[partitions.finetune.build_add_request([str(answer.partition_key)])],
    )


@dg.schedule(
    job=finetune_job,
    cron_schedule="0 3 * * 1",
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.STOPPED,
    description="Mondays, 03:00 UTC: a finetune on whatever feedback is pending, however little.",
)
def retrain_weekly(context: dg.ScheduleEvaluationContext) -> dg.RunRequest | dg.SkipReason:
    """The sensor's tick from the first pending batch on."""
    settings = Settings()
    answer = next_finetune(context.instance, settings, replace(limits_of(settings), min_batches=1))
    if isinstance(answer, dg.RunRequest):  # a schedule cannot ask for a key
        context.instance.add_dynamic_partitions("finetune", [str(answer.partition_key)])
    return answer


def discover_sensor(jobs: Sequence[Any]) -> dg.SensorDefinition:
    """The sensor `discover`, which asks for intake by those of `jobs` that are for it, and files keys without one."""
    known = {job.name: job for job in jobs if job.name in _INTAKE_JOBS.values()}

    @dg.sensor(
        name="discover",
        jobs=list(known.values()),
        minimum_interval_seconds=60,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description="Registers new corpus shards and feedback files found on disk, and asks for their intake.",
    )
    def discover(context: dg.SensorEvaluationContext) -> dg.SensorResult:
        """One tick; the cursor only saves reading files again."""
        until = time.monotonic() + SECONDS
        found, unusable = on_disk(Settings())
        ours = [thing for thing in found if _INTAKE_JOBS[thing.kind] in known]
        asked, seen = intakes(ours, load_seen(context.cursor), _MOST_INTAKES, until)
        new = []
        for kind, definition in _PARTITIONS.items():
            registered = set(context.instance.get_dynamic_partitions(kind))
            if keys := [thing.key for thing in found if thing.kind == kind and thing.key not in registered]:
                new.append(definition.build_add_request(keys))
        waiting = sum(not now.asked for now in seen.values())
        skip = f"{len(found)} shards and feedback files, {waiting} of them to be looked at again; nothing to take in"
        if unusable:
            skip += f"; of no use: {'; '.join(unusable[:10])}"
        return dg.SensorResult(
            run_requests=[_request(intake) for intake in asked],
            dynamic_partitions_requests=new,
            cursor=dump_seen(seen),
            skip_reason=None if asked else skip,
        )

    return discover


def _request(intake: Intake) -> dg.RunRequest:
    return dg.RunRequest(
        job_name=_INTAKE_JOBS[intake.found.kind],
        partition_key=intake.found.key,
        run_key=f"{intake.found.name}/{intake.content}",
    )
