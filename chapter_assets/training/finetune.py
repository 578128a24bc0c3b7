"""The finetune: the boundary head on what the base model reads, and a LoRA that writes titles, through TRL and PEFT.

On a GPU with the `gpu` extra, Unsloth loads the model; everything else is the same.
"""

import csv
import importlib.util
import json
import os
import shutil
import sys
import time
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from chapter_assets.errors import InputError
from chapter_assets.inference.adapters import CHOOSER_FILE, write_chooser
from chapter_assets.inference.base_models import (
    BaseModel,
    fast_dtype,
    find_base_model,
    load_causal_lm,
    load_tokenizer,
)
from chapter_assets.inference.decoder import Priors
from chapter_assets.inference.engine import TransformersEngine
from chapter_assets.inference.head import read_states
from chapter_assets.settings import Settings
from chapter_assets.store import Artifact, content_hash, file_hash
from chapter_assets.training.boundaries import FittedControl, FittedHead, fit_control, fit_head, read_videos
from chapter_assets.training.card import draw_losses
from chapter_assets.training.examples import Row, answer_rows, count_languages, title_rows
from chapter_assets.training.recipe import Recipe
from chapter_assets.training.training_set import load_windows
from chapter_assets.windows.prompts import PromptBuilder
from chapter_assets.windows.window import Window

_JUDGED_ROWS = 48  # enough to see the loss fall; more only costs time
Note = Callable[[str], None]


def finetune_adapter(
    settings: Settings, training_set: Artifact, recipe: Recipe, work: Path, out: Path, note: Note
) -> tuple[str, dict[str, Any]]:
    """Finetune on a training set into the folder `out`; returns the hash of what was learned, and details.

    `work` keeps checkpoints, from which a killed run goes on. The validation part chooses the checkpoint; the head,
    its calibration and the decoder's priors come from cross-fitting over both parts. Raises InputError when there is
    nothing to learn from.
    """
    began = time.perf_counter()
    train, validation = load_windows(training_set, "train"), load_windows(training_set, "validation")
    if not any(window.chapters for window in train):
        raise InputError(
            "The training set has no window with a chapter in its training part",
            "Add shards, or lower CHAPTER_ASSETS_VALIDATION_PERCENT, _GATE_PERCENT and _AUDIT_PERCENT",
        )
    if not validation:
        raise InputError("The training set has no validation part", "Start another finetune with more shards")
    base = find_base_model(settings.base_model, settings.base_models_dir)
    tokenizer = load_tokenizer(base)
    timed = settings.chooser == "generate"
    builder = PromptBuilder(tokenizer, timed)
    window = (settings.window_tokens, settings.window_overlap)
    not_learned: Counter[str] = Counter()
    if timed:
        rows, judged = answer_rows(builder, train), answer_rows(builder, validation)
    else:
        rows = title_rows(builder, train, recipe.title_share, recipe.seed, not_learned)
        judged = title_rows(builder, validation, 1.0, recipe.seed, Counter())
    if not rows:
        raise InputError(
            f"No title in the training part is fit to learn: {dict(not_learned)}",
            "Add videos whose chapters have titles in words",
        )
    head, control = _fit_boundaries(base, tokenizer, builder, window, [*train, *validation], read=not timed, note=note)
    os.environ.setdefault("TENSORBOARD_LOGGING_DIR", str(settings.store_dir / "tracking" / str(training_set.partition)))
    judged = judged[:: max(1, len(judged) // _JUDGED_ROWS)]
    log, speed, resumed_at = _train_lora(base, tokenizer, rows, judged, recipe, work, out, note)
    priors = head.priors if head is not None else Priors()
    boundary_head = head.head if head is not None else None
    languages = count_languages(train)
    write_chooser(
        out,
        base,
        builder.fingerprint,
        window,
        boundary_head,
        priors,
        control.weights,
        control.bounds,
        control.priors,
        languages,
    )
    _write_log(out, log)
    draw_losses(log, out / "loss.png")
    learned = sorted(p for p in out.iterdir() if p.suffix == ".safetensors" or p.name == CHOOSER_FILE)
    return content_hash([file_hash(path) for path in learned]), {
        "counts": {
            "rows": len(rows),
            "windows": len(train),
            "languages": languages,
            "titles_not_learned": dict(not_learned),
        },
        "control_loss": control.loss,
        "head_loss": head.loss if head is not None else None,
        "seconds": round(time.perf_counter() - began, 1),
        "tokens_per_second": round(speed, 1),
        "resumed_at_step": resumed_at,
        "recipe": recipe.learned(),
        "training_set": training_set.version,
        "manifest": training_set.details["manifest"],
    }


def _fit_boundaries(
    base: BaseModel,
    tokenizer: Any,
    builder: PromptBuilder,
    window: tuple[int, float],
    windows: Sequence[Window],
    read: bool,
    note: Note,
) -> tuple[FittedHead | None, FittedControl]:
    """The head (if the model is to `read`) and the text-free control."""
    engine = TransformersEngine(load_causal_lm(base, fast_dtype()), tokenizer) if read else None
    videos = read_videos(windows, None if engine is None else lambda t: read_states(engine, builder, t, *window), note)
    control = fit_control(videos)
    note(f"text-free control: loss {control.loss:.4f} a segment on held-out channels")
    if engine is None:
        return None, control
    head = fit_head(videos)
    note(f"boundary head: loss {head.loss:.4f}")
    return head, control


def _train_lora(
    base: BaseModel,
    tokenizer: Any,
    rows: list[Row],
    judged: list[Row],
    recipe: Recipe,
    work: Path,
    out: Path,
    note: Note,
) -> tuple[list[dict[str, float]], float, int]:
    """Train a LoRA on `rows` and save it to `out`; returns the loss log, tokens/s, and the step it resumed at."""
    trainer = _trainer(_load_trainable(base, recipe), tokenizer, rows, judged, recipe, work, note)
    started = time.perf_counter()
    resumed_at = _resume(trainer, work)
    seconds = time.perf_counter() - started  # validation and checkpoints included
    trainer.model.save_pretrained(out, safe_serialization=True)
    done = (trainer.state.global_step - resumed_at) / max(trainer.state.max_steps, 1)
    tokens = sum(len(row["input_ids"]) for row in rows) * recipe.epochs * done
    log = [entry for entry in trainer.state.log_history if "loss" in entry or "eval_loss" in entry]
    return log, tokens / seconds, resumed_at


def _load_trainable(base: BaseModel, recipe: Recipe) -> Any:
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import set_seed

    set_seed(recipe.seed)
    if torch.cuda.is_available() and importlib.util.find_spec("unsloth"):
        from unsloth import FastLanguageModel

        model, _ = FastLanguageModel.from_pretrained(base.location, dtype=fast_dtype(), load_in_4bit=False)
    else:
        model = load_causal_lm(base, fast_dtype())
    blocks = model.config.num_hidden_layers
    adapted = max(1, int(blocks * recipe.lora_blocks))
    config = LoraConfig(
        r=recipe.lora_rank,
        lora_alpha=recipe.lora_alpha,
        lora_dropout=recipe.lora_dropout,
        target_modules=["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"],
        layers_to_transform=list(range(blocks - adapted, blocks)),
        task_type="CAUSAL_LM",
    )
    return get_peft_model(model, config)


def _trainer(
    model: Any, tokenizer: Any, rows: list[Row], judged: list[Row], recipe: Recipe, work: Path, note: Note
) -> Any:
    import torch
    from datasets import Dataset
    from torch.nn.functional import cross_entropy
    from transformers import PrinterCallback, TrainerCallback
    from trl.trainer.sft_config import SFTConfig
    from trl.trainer.sft_trainer import SFTTrainer

    class AnswerTrainer(SFTTrainer):
        """SFTTrainer that makes logits for labelled positions only.

        Of a row's hundreds of tokens a title has ten, and all logits would take gigabytes. (TRL's own fused head is a
        Triton kernel, for GPUs only.)
        """

        def compute_loss(
            self, model: Any, inputs: dict[str, Any], return_outputs: bool = False, num_items_in_batch: Any = None
        ) -> Any:
            language_model = self.accelerator.unwrap_model(model).get_base_model()
            with self.accelerator.autocast():
                hidden = language_model.model(
                    input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"], use_cache=False
                ).last_hidden_state
                written = inputs["labels"][:, 1:] != -100
                logits = language_model.lm_head(hidden[:, :-1][written])
            total = cross_entropy(logits.float(), inputs["labels"][:, 1:][written], reduction="sum")
            tokens = written.sum() if num_items_in_batch is None else num_items_in_batch
            loss = total / torch.as_tensor(tokens).clamp(min=1)
            return (loss, None) if return_outputs else loss

    class Report(TrainerCallback):
        def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **rest: Any) -> None:
            shown = [f"{name} {float(logs[name]):.4g}" for name in ("loss", "eval_loss") if name in (logs or {})]
            if shown:
                note(f"step {state.global_step} of {state.max_steps}: {', '.join(shown)}")

    steps_per_epoch = max(1, len(rows) // (recipe.batch_size * recipe.gradient_accumulation))
    every = max(1, steps_per_epoch // recipe.evaluations_per_epoch)
    on_gpu = torch.cuda.is_available()
    config = SFTConfig(
        output_dir=str(work),
        num_train_epochs=recipe.epochs,
        per_device_train_batch_size=recipe.batch_size,
        per_device_eval_batch_size=recipe.batch_size,
        gradient_accumulation_steps=recipe.gradient_accumulation,
        gradient_checkpointing=recipe.gradient_checkpointing,
        learning_rate=recipe.learning_rate,
        warmup_steps=int(steps_per_epoch * recipe.epochs * recipe.warmup_share),
        weight_decay=recipe.weight_decay,
        lr_scheduler_type="cosine",
        max_length=None,
        packing=False,
        prediction_loss_only=True,
        use_cpu=not on_gpu,
        bf16=fast_dtype() is torch.bfloat16,
        eval_strategy="steps" if judged else "no",
        eval_steps=every,
        save_strategy="steps",
        save_steps=every,
        save_total_limit=2,
        load_best_model_at_end=bool(judged),
        metric_for_best_model="eval_loss" if judged else None,
        greater_is_better=False,
        logging_steps=max(1, min(10, every)),
        seed=recipe.seed,
        data_seed=recipe.seed,
        report_to=recipe.report_to,
        logging_nan_inf_filter=False,  # a loss that is no number has to be seen
        disable_tqdm=not sys.stderr.isatty(),
        dataloader_pin_memory=on_gpu,
    )
    trainer = AnswerTrainer(
        model=model,
        args=config,
        train_dataset=Dataset.from_list(rows),
        eval_dataset=Dataset.from_list(judged) if judged else None,
        processing_class=tokenizer,
        callbacks=[Report()],
    )
    trainer.remove_callback(PrinterCallback)  # Report says the same in one line
    return trainer


def _resume(trainer: Any, work: Path) -> int:
    """Train from the newest whole checkpoint, if a killed run left one; returns the step it started at."""
    checkpoints = sorted(work.glob("checkpoint-*"), key=lambda p: int(p.name.rsplit("-", 1)[1]), reverse=True)
    for checkpoint in checkpoints:
        if _is_whole(checkpoint):
            trainer.train(resume_from_checkpoint=str(checkpoint))
            return int(checkpoint.name.rsplit("-", 1)[1])
        shutil.rmtree(checkpoint)
    trainer.train()
    return 0


def _is_whole(checkpoint: Path) -> bool:
    """Whether the checkpoint was written to its end: its last file is there and can be read."""
    try:
        json.loads((checkpoint / "trainer_state.json").read_text())
    except (OSError, ValueError):
        return False
    return True


def _write_log(out: Path, log: Sequence[dict[str, float]]) -> None:
    names = sorted({name for entry in log for name in entry})
    with (out / "training_log.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(log)
    (out / "training_log.json").write_text(json.dumps(log, indent=1))
