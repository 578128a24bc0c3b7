"""The knobs of one finetune. What shapes the windows is a setting of the deployment instead (settings.py)."""

from pydantic import BaseModel, Field


class Recipe(BaseModel):
    """How one adapter is trained; recorded with the result."""

    epochs: float = Field(2.0, gt=0, description="Passes over the training set")
    lora_rank: int = Field(16, ge=1, description="LoRA rank r, on all linear layers of the adapted blocks")
    lora_blocks: float = Field(
        0.4,
        gt=0,
        le=0.4,
        description="Share of the transformer blocks that are adapted, from the last one down: the boundary "
        "head reads through the others, which stay as they are",
    )
    lora_alpha: int = Field(32, ge=1, description="LoRA alpha; the update is scaled by alpha / r")
    lora_dropout: float = Field(0.0, ge=0, lt=1, description="Dropout before the LoRA matrices (any costs a quarter)")
    learning_rate: float = Field(1e-3, gt=0, description="Peak learning rate of the LoRA matrices")
    warmup_share: float = Field(0.1, ge=0, lt=1, description="Share of the steps in which the rate climbs to its peak")
    weight_decay: float = Field(0.01, ge=0, description="Weight decay of AdamW")
    batch_size: int = Field(1, ge=1, description="Rows in one forward pass (on a CPU more than 1 buys nothing)")
    gradient_accumulation: int = Field(8, ge=1, description="Forward passes before one optimizer step")
    gradient_checkpointing: bool = Field(False, description="Recompute activations: half the memory, a third slower")
    title_share: float = Field(1.0, ge=0, le=1, description="Share of the training chapters whose titles are learned")
    evaluations_per_epoch: int = Field(2, ge=1, description="Validation losses, and checkpoints, in one epoch")
    seed: int = Field(0, ge=0, description="Seed of initial weights, order of rows and dropout")
    report_to: str = Field("none", description="A tracker that transformers knows: none, tensorboard, wandb, mlflow, …")

    def learned(self) -> dict[str, float | int]:
        """The knobs that shape what is learned; watching it with a tracker does not."""
        return self.model_dump(exclude={"report_to"})
