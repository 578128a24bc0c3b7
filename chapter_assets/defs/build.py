"""Puts the definitions together, from explicit lists."""

import dagster as dg

from chapter_assets.defs.assets.corpus import corpus_tables, raw_vidchapters
from chapter_assets.defs.assets.evaluation import chapter_predictions, eval_report
from chapter_assets.defs.assets.feedback import feedback, feedback_windows
from chapter_assets.defs.assets.model import lora_adapter
from chapter_assets.defs.assets.promotion import champion, promotion
from chapter_assets.defs.assets.training import training_set, training_windows
from chapter_assets.defs.jobs import finetune_job, ingest_corpus, ingest_feedback
from chapter_assets.defs.log import console
from chapter_assets.defs.resources import StoreResource
from chapter_assets.defs.sensors import discover_sensor, retrain, retrain_weekly

ASSETS = [
    raw_vidchapters,
    corpus_tables,
    feedback,
    training_windows,
    feedback_windows,
    training_set,
    lora_adapter,
    chapter_predictions,
    eval_report,
    promotion,
    champion,
]
JOBS = [ingest_corpus, ingest_feedback, finetune_job]
SENSORS = [retrain, discover_sensor(JOBS)]
SCHEDULES = [retrain_weekly]


def build_definitions(**overrides: object) -> dg.Definitions:
    """Fresh definitions; `overrides` replace resources by name (for tests and other deployments)."""
    return dg.Definitions(
        assets=ASSETS,
        jobs=JOBS,
        sensors=SENSORS,
        schedules=SCHEDULES,
        resources={"storage": StoreResource(), **overrides},
        # Steps follow each other in one process: a model is loaded once, and two cores are busy with one step anyway.
        executor=dg.in_process_executor,
        loggers={"console": console},
    )
