"""What a finetune's titles are worth against phrases out of the transcript, at the very same chapters.

.venv/bin/python -m benchmarks.quality.titles ft-0002
"""

from dataclasses import replace
from typing import Annotated

import numpy as np
import pyarrow.compute as pc
import typer

from chapter_assets.chapters.chapterlist import Chapter
from chapter_assets.chapters.metrics import score_video
from chapter_assets.evaluation.predictions import judged_gold
from chapter_assets.evaluation.table import JUDGED
from chapter_assets.inference.titlers import LexicalTitler
from chapter_assets.settings import Settings
from chapter_assets.store import Store
from chapter_assets.transcripts.tables import read_transcripts

SCORES = ("soda_c_rougeL", "cider_plain")


def main(finetune: Annotated[str, typer.Argument(help="Key of an evaluated finetune")]) -> None:
    """Print both scores, as means over the gate videos, for each kind of title."""
    store = Store(Settings().store_dir)
    training_set = store.read("training_set", finetune)
    gold = judged_gold(training_set, "gate")
    tables = (training_set.table(name) for name in ("videos", "transcripts"))
    transcripts = {transcript.video_id: transcript for transcript in read_transcripts(*tables)}
    predictions = store.read("chapter_predictions", finetune).table("predictions")
    mine = (pc.field("system") == JUDGED) & pc.field("video_id").isin(list(gold))
    scores: dict[str, list[list[float]]] = {"the model's": [], "lexical": [], "the video's": []}
    for row in predictions.filter(mine).to_pylist():
        transcript, (duration, true) = transcripts[row["video_id"]], gold[row["video_id"]]
        made = [Chapter(**c) for c in row["chapters"]]
        seconds = [int(s.start) for s in transcript.segments]
        lexical = LexicalTitler().titles(transcript, [seconds.index(int(c.start)) for c in made])
        titles = ([c.title for c in made], lexical, [transcript.title] * len(made))
        for name, these in zip(scores, titles, strict=True):
            found = score_video(true, [replace(c, title=t) for c, t in zip(made, these, strict=True)], duration)
            scores[name].append([found[score] for score in SCORES])
    print(f"| titles | {' | '.join(SCORES)} |\n| --- | ---: | ---: |")
    for name, figures in scores.items():
        print(f"| {name} | " + " | ".join(f"{mean:.1f}" for mean in np.nanmean(figures, axis=0)) + " |")


if __name__ == "__main__":
    typer.run(main)
