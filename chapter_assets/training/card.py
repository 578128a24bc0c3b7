"""What a finetune leaves for people: the loss plot and the model card."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

_CARD = """---
library_name: peft
base_model: {base}
pipeline_tag: text-generation
tags: [chapters, video, lora]
---

# {key}: chapters for video transcripts

A LoRA adapter with a boundary head. It scores, for each segment of a transcript, whether a chapter starts there, and
writes a title for each chapter that is chosen. Load it with `chapter-assets predict --adapter <this folder>`.

| | |
| --- | --- |
| base model | {base} |
| training set | `{training_set}` |
| corpus shards | {shards} |
| rows | {rows} |
| videos by language | {languages} |
| method | {method} |
| epochs, LoRA rank, learning rate | {epochs}, {rank}, {rate} |
| seed | {seed} |
| seconds | {seconds} |

Trained on automatic transcripts and on chapter lists as their publishers wrote them. How good it is, and on what, is
in the report of the same finetune (`eval_report`); do not serve it without reading that. Titles are written by a
small model and can state what the transcript does not. In languages of few or no videos here, titles are phrases of
the transcript instead.
"""


def losses(log: Sequence[dict[str, float]]) -> list[float]:
    """The training losses, in order."""
    return [float(entry["loss"]) for entry in log if "loss" in entry]


def all_finite(log: Sequence[dict[str, float]]) -> bool:
    """Whether every loss in the log is a finite number."""
    return all(math.isfinite(float(v)) for entry in log for k, v in entry.items() if k == "loss" or k.endswith("_loss"))


def draw_losses(log: Sequence[dict[str, float]], path: Path) -> None:
    """Plot training and validation losses by step, as PNG."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7, 3.5), layout="constrained")
    axes = figure.subplots()
    names = sorted({k for entry in log for k in entry if k == "loss" or k.endswith("_loss")}, key=lambda n: n != "loss")
    for name in names:
        points = [(entry["step"], float(entry[name])) for entry in log if name in entry]
        label = "training" if name == "loss" else "validation"
        axes.plot(*zip(*points, strict=True), marker="." if name == "loss" else "o", markersize=4, label=label)
    axes.set_xlabel("optimizer step")
    axes.set_ylabel("loss")
    axes.grid(alpha=0.3)
    if names:
        axes.legend(frameon=False)
    figure.savefig(path, dpi=110)


def write_card(folder: Path, key: str, details: dict[str, Any]) -> None:
    """Write the model card, `README.md`, of the adapter in `folder`."""
    manifest, recipe = details["manifest"], details["recipe"]
    (folder / "README.md").write_text(
        _CARD.format(
            key=key,
            base=manifest["settings"]["base_model"],
            training_set=details["training_set"],
            shards=", ".join(shard["key"] for shard in manifest["shards"]),
            rows=details["counts"]["rows"],
            languages=", ".join(f"{k} {n}" for k, n in details["counts"]["languages"].items()) or "unknown",
            method=manifest["settings"]["chooser"],
            epochs=recipe["epochs"],
            rank=recipe["lora_rank"],
            rate=recipe["learning_rate"],
            seed=recipe["seed"],
            seconds=details["seconds"],
        )
    )
