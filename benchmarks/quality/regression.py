"""Does the demo's recipe still make the same chapters? A tracked list of the sample's gate videos says what it made.

    .venv/bin/python -m benchmarks.quality.regression            # exit 1 when something moved
    .venv/bin/python -m benchmarks.quality.regression --accept   # write what is made now; the diff says what moved

The newest finetune of the sample shard is looked at (`make demo` makes one). Processors round differently, so lists
need not be the same to the letter: each video's starts are compared by F1, its titles by ROUGE-L.
"""

import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pyarrow.compute as pc
import typer

from chapter_assets.chapters.chapterlist import Chapter
from chapter_assets.chapters.metrics import score_video
from chapter_assets.chapters.title_metrics import rouge_l, words
from chapter_assets.evaluation.predictions import judged_gold
from chapter_assets.evaluation.table import JUDGED
from chapter_assets.settings import Settings
from chapter_assets.store import Store, write_json

EXPECTED = Path(__file__).with_name("regression.json")
SHARD = "sample"
# What another processor's rounding moves is below these; a changed recipe moves more.
LEAST_ALIKE = 80.0  # mean F1 of the starts against the expected ones
LEAST_ALIKE_TITLES = 50.0  # mean ROUGE-L of titles at the same start
MOST_F1_LOST = 5.0  # against gold


def made_now() -> dict[str, Any]:
    """F1 and lists of the newest finetune whose training set is the sample shard and no other."""
    store = Store(Settings().store_dir)
    finetunes = [
        key
        for key in store.partitions("eval_report")
        if [s["key"] for s in store.details("training_set", key)["manifest"]["shards"]] == [SHARD]
    ]
    if not finetunes:
        raise typer.BadParameter(f"no finetune of {SHARD} was evaluated: run `make demo` first")
    gold = judged_gold(store.read("training_set", finetunes[-1]), "gate")
    table = store.read("chapter_predictions", finetunes[-1]).table("chapter_predictions")
    rows = table.filter((pc.field("system") == JUDGED) & pc.field("video_id").isin(list(gold))).to_pylist()
    videos = {
        row["video_id"]: {
            "duration": row["duration"],
            "f1": round(score_video(gold[row["video_id"]][1], _list(row), row["duration"])["f1"], 1),
            "chapters": row["chapters"],
        }
        for row in rows
    }
    return {"f1": round(float(np.mean([v["f1"] for v in videos.values()])), 1), "videos": videos}


def _list(video: dict[str, Any]) -> list[Chapter]:
    return [Chapter(**c) for c in video["chapters"]]


def compare(expected: dict[str, Any], made: dict[str, Any]) -> tuple[list[str], list[str]]:
    """The lines to print, and what is wrong (nothing, when all is as expected)."""
    lines, alike, titles = [], [], []
    for video_id, was in expected["videos"].items():
        now = made["videos"].get(video_id)
        if now is None:
            return lines, [f"there is no prediction for {video_id}"]
        same = score_video(_list(was), _list(now), was["duration"])["f1"]
        title_at = {c.start: c.title for c in _list(was)}
        titles += [rouge_l(words(title_at[c.start]), words(c.title)) for c in _list(now) if c.start in title_at]
        alike.append(same)
        lines.append(f"{video_id}  alike {same:5.1f}   F1 {was['f1']:5.1f} -> {now['f1']:5.1f}")
    mean_alike, mean_titles = float(np.mean(alike)), 100 * float(np.mean(titles or [0.0]))
    lines.append(f"all: alike {mean_alike:.1f}, titles {mean_titles:.1f}, F1 {expected['f1']} -> {made['f1']}")
    wrong = []
    if mean_alike < LEAST_ALIKE:
        wrong.append(f"the starts are {mean_alike:.1f} alike, at least {LEAST_ALIKE:.0f} were expected")
    if mean_titles < LEAST_ALIKE_TITLES:
        wrong.append(f"the titles are {mean_titles:.1f} alike, at least {LEAST_ALIKE_TITLES:.0f} were expected")
    if made["f1"] < expected["f1"] - MOST_F1_LOST:
        wrong.append(f"F1 fell from {expected['f1']} to {made['f1']}")
    return lines, wrong


def main(accept: Annotated[bool, typer.Option(help="Write what is made now as what to expect")] = False) -> None:
    """Compare the sample's chapters with the tracked ones."""
    made = made_now()
    if accept:
        write_json(EXPECTED, made)
        typer.echo(f"F1 {made['f1']} on {len(made['videos'])} videos, written to {EXPECTED}")
        return
    lines, wrong = compare(json.loads(EXPECTED.read_text()), made)
    typer.echo("\n".join(lines))
    if wrong:
        typer.echo(f"Moved: {'; '.join(wrong)}. If that is meant, run this again with --accept and say so", err=True)
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
