"""Whether the model's expected F1 ranks its own lists, by cross-validation over channels as in study.py.

.venv/bin/python -m benchmarks.quality.belief FOLDER…
"""

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from scipy.stats import spearmanr

from benchmarks.quality.study import Reader, fold_of, read_folders
from chapter_assets.inference.decoder import decode
from chapter_assets.settings import Settings
from chapter_assets.training.boundaries import fit_head


def main(
    folders: Annotated[list[Path], typer.Argument(help="Folders with chapters.json and asrs.json")],
    folds: Annotated[int, typer.Option(help="Folds of the cross-validation")] = 5,
) -> None:
    """Print mean F1, mean expected F1 and their rank correlation, as decoded and counted for the spoken share."""
    videos = read_folders(Reader(Settings()), folders, ["middle"])
    fold = fold_of(videos, folds, seed=0)
    figures = np.zeros((len(videos), 3))
    for held in np.unique(fold):
        fitted = fit_head([video.read["middle"] for video, f in zip(videos, fold, strict=True) if f != held])
        for index in np.flatnonzero(fold == held):
            video, states = videos[index], videos[index].read["middle"].states
            assert states is not None
            transcript, starts = video.transcript, [s.start for s in video.transcript.segments]
            scores = fitted.head.score(transcript, states)
            found = decode(starts, list(scores), transcript.duration, fitted.priors)
            spoken = min(transcript.spoken / transcript.duration, 1.0)
            f1 = video.f1([starts[i] for i in found.starts])
            figures[index] = f1, found.expected_f1, found.expected_f1 * spoken
    print(f"{len(videos)} videos, mean F1 {figures[:, 0].mean():.1f}\n")
    print("| expected F1 | mean | rank correlation with F1 |\n| --- | ---: | ---: |")
    for column, name in ((1, "as decoded"), (2, "for the spoken share")):
        correlation = spearmanr(figures[:, column], figures[:, 0]).statistic
        print(f"| {name} | {figures[:, column].mean():.1f} | {correlation:+.2f} |")


if __name__ == "__main__":
    typer.run(main)
