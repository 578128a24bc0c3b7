"""Predictions next to gold, drawn by seed, to be read.

.venv/bin/python -m benchmarks.quality.examples ft-0002 [--number 10] [--seed 0]
"""

from typing import Annotated

import numpy as np
import pyarrow.compute as pc
import typer

from chapter_assets.chapters.chapterlist import Chapter
from chapter_assets.chapters.metrics import score_video
from chapter_assets.chapters.timecodes import format_time
from chapter_assets.evaluation.predictions import judged_gold
from chapter_assets.evaluation.table import JUDGED
from chapter_assets.settings import Settings
from chapter_assets.store import Store


def main(
    finetune: Annotated[str, typer.Argument(help="Key of an evaluated finetune")],
    number: Annotated[int, typer.Option(help="How many of its gate videos")] = 10,
    seed: Annotated[int, typer.Option(help="Of the draw")] = 0,
) -> None:
    """Print gold and prediction of some gate videos."""
    store = Store(Settings().store_dir)
    gold = judged_gold(store.read("training_set", finetune), "gate")
    table = store.read("chapter_predictions", finetune).table("chapter_predictions")
    rows = table.filter((pc.field("system") == JUDGED) & pc.field("video_id").isin(list(gold))).to_pylist()
    rows.sort(key=lambda row: row["video_id"])
    for index in np.random.default_rng(seed).permutation(len(rows))[:number]:
        row = rows[index]
        duration, true = gold[row["video_id"]]
        made = [Chapter(**c) for c in row["chapters"]]
        f1 = score_video(true, made, duration)["f1"]
        typer.echo(f"\n{row['title']}  ({format_time(duration)}, F1 {f1:.0f}, expected {row['expected_f1']:.0f})")
        for name, chapters in (("gold", true), ("made", made)):
            typer.echo(f"  {name}")
            for chapter in chapters:
                typer.echo(f"    {format_time(chapter.start)}  {chapter.title}")


if __name__ == "__main__":
    typer.run(main)
