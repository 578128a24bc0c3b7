"""Run config: what the launchpad shows when a finetune is started."""

import dagster as dg
from pydantic import Field

from chapter_assets.training.recipe import Recipe


class FinetuneConfig(dg.Config, Recipe):
    """The recipe of one finetune."""

    def recipe(self) -> Recipe:
        """The plain values."""
        return Recipe(**{name: getattr(self, name) for name in Recipe.model_fields})


class TrainingSetConfig(dg.Config):
    """Which shards and which users' feedback a finetune learns from."""

    shards: list[str] = Field(default=[], description="Corpus shards to use; empty: all that have training windows")
    batches: list[str] | None = Field(
        default=None, description="Feedback batches to use; not given: all that have windows; an empty list: none"
    )


class PredictionConfig(dg.Config):
    """Which systems the report compares."""

    zero_shot: bool = Field(
        default=True, description="Also ask the base model as it comes for chapters (the slowest row of the table)"
    )
