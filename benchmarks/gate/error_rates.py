"""How often the gate errs: its own `judge` on made-up paired evidence, in one look and in twenty looks in a row.

    .venv/bin/python -m benchmarks.gate.error_rates [predictions.parquet …]

Given two or more `<store>/chapter_predictions/<finetune>/<version>/predictions.parquet` that share gate videos, the
differences per video are drawn from theirs, by channel and with random signs, since which of two equal finetunes is the
challenger is chance. Else they come from a model:

- F1 of a finetune on a video = the video's own + the channel's liking for this finetune (sd 4) + the list's luck, which
  is 0 with chance 0.42 (the list that any of them finds), else 9.5 times Student's t with 4 degrees of freedom. Paired
  differences then have an sd of 15.5. Two versions of the model that this project makes differed by 14 on 33 real
  videos of 29 channels, with a third of the differences exactly 0.
- An uneven challenger in addition is 8 F1 better on half of the videos, and on the others worse, by an exponential
  distribution: in the mean 0.
- SODA_c moves with F1 at a fifth of its size, and has luck of its own (sd 4).
- A channel has one video, or more with chance 0.15 each: 33 videos come from about 28 channels.

In a row, the champion stays and every look brings a new challenger of the same kind, on the same videos.
"""

from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer

from chapter_assets.evaluation.bootstrap import channel_bootstrap, lower_bound
from chapter_assets.evaluation.predictions import judged_gold
from chapter_assets.evaluation.table import CHAMPION, JUDGED
from chapter_assets.lifecycle.gate import GateVideo, Look, gate_videos, judge
from chapter_assets.settings import Settings
from chapter_assets.store import Store

KINDS = {
    "the same recipe, another seed": (0.0, 0.0, False),
    "1 F1 worse": (-1.0, -0.2, False),
    "equal in the mean, uneven": (0.0, 0.0, True),
    "3 F1 better": (3.0, 0.6, False),
    "8 F1 better": (8.0, 1.6, False),
    "8 F1 better, titles shuffled": (8.0, -3.0, False),
}
"""Challengers: true differences in F1 and SODA_c, and whether they are uneven."""
LOOKS = 20
BEGIN = datetime(2026, 1, 1, tzinfo=UTC)

Kind = tuple[float, float, bool]
Floats = Any


def channels_of(videos: int, rng: np.random.Generator) -> Floats:
    """A channel for each of `videos`: the one before's with chance 0.15."""
    return np.cumsum(rng.random(videos) > 0.15)


def luck(channel_of: Floats, rng: np.random.Generator) -> tuple[Floats, Floats]:
    """How far one finetune is from what its recipe gives, per video: in F1 and in SODA_c."""
    liking = rng.normal(0, 4, channel_of.max() + 1)[channel_of]
    videos = len(channel_of)
    f1 = liking + np.where(rng.random(videos) < 0.58, 9.5 * rng.standard_t(4, videos), 0.0)
    return f1, 0.2 * f1 + rng.normal(0, 4 / 2**0.5, videos)


def unevenness(videos: int, rng: np.random.Generator) -> Floats:
    """Small gains on half of the videos, and large losses that undo them on the others."""
    return 8 - 16 * rng.exponential(1, videos) * (rng.random(videos) < 0.5)


def challengers(videos: int, kind: Kind, rng: np.random.Generator, real: Sequence[Floats]) -> Iterator[list[GateVideo]]:
    """One challenger after the other of the same kind, beside one champion on the same videos."""
    if real:
        pool, pool_channels = real[0], real[1]
        names = rng.choice(np.unique(pool_channels), videos)
        rows = np.concatenate([np.flatnonzero(pool_channels == name) for name in names])[:videos]
        channel_of = np.concatenate([np.full((pool_channels == n).sum(), i) for i, n in enumerate(names)])[:videos]
    else:
        channel_of = channels_of(videos, rng)
    durations = rng.choice([120.0, 400.0, 1200.0], videos, p=[0.4, 0.4, 0.2])
    champion = luck(channel_of, rng)

    while True:
        if real:
            signs = rng.choice([-1, 1], channel_of.max() + 1)[channel_of]
            f1, soda = (kind[i] + signs * pool[rows, i] for i in range(2))
        else:
            own = luck(channel_of, rng)
            f1, soda = (kind[i] + own[i] - champion[i] for i in range(2))
        if kind[2]:
            f1 = f1 + unevenness(videos, rng)
        yield [
            GateVideo(
                f"v{i}",
                f"c{channel_of[i]}",
                "vidchapters",
                durations[i],
                "public",
                {
                    JUDGED: {"F1": float(f1[i]), "SODA_c rougeL": float(soda[i])},
                    CHAMPION: {"F1": 0.0, "SODA_c rougeL": 0.0},
                },
            )
            for i in range(videos)
        ]


def promotions(videos: int, kind: Kind, runs: int, settings: Settings, real: Sequence[Floats]) -> tuple[float, float]:
    """The shares (0 to 1) of `runs` in which the first look promotes, and any of `LOOKS`."""
    first = ever = 0
    for run in range(runs):
        rng = np.random.default_rng(run)
        looks: list[Look] = []
        for number, found in enumerate(islice(challengers(videos, kind, rng, real), LOOKS)):
            at = BEGIN + timedelta(days=10 * number)
            decision = judge(found, {CHAMPION: "ft-0001"}, settings, looks, str(number), at)
            if decision.level is not None:
                looks.append(Look(str(number), "ft-0002", at, decision.level, decision.promoted))
            if decision.promoted:
                first += number == 0
                ever += 1
                break
    return first / runs, ever / runs


def real_differences(files: Sequence[Path]) -> Sequence[Floats]:
    """Per video that two of the files share: differences in F1 and SODA_c, shape (pairs x videos, 2); and channels."""
    scored = []
    for file in files:
        store, key = Store(file.parents[3]), file.parents[1].name
        gold = judged_gold(store.read("training_set", key), "gate")
        table = store.read("chapter_predictions", key).table("predictions")
        scored.append({v.video_id: v for v in gate_videos(table, gold, {}, frozenset())})
    rows, channels = [], []
    for i, one in enumerate(scored):
        for other in scored[i + 1 :]:
            for video_id in sorted(one.keys() & other.keys()):
                ours, theirs = one[video_id].scores[JUDGED], other[video_id].scores[JUDGED]
                rows.append([ours[score] - theirs[score] for score in ("F1", "SODA_c rougeL")])
                channels.append(one[video_id].channel)
    return np.array(rows), np.array(channels)


def bound_errors(runs: int) -> list[str]:
    """How often a bound at 5 % or at a look's 0.25 % lies above a true mean of 0."""
    lines = [
        "| channels | differences | percentile bootstrap, 5 % | bound, 5 % | bound, 0.25 % |",
        "| ---: | --- | ---: | ---: | ---: |",
    ]
    for channels in (10, 20, 40, 100):
        for name in ("symmetric", "rarely much worse", "rarely much better"):
            wrong = np.zeros(3)
            for run in range(runs):
                rng = np.random.default_rng(run)
                channel_of = channels_of(round(1.18 * channels), rng)
                difference = luck(channel_of, rng)[0] - luck(channel_of, rng)[0]
                if name != "symmetric":
                    difference = unevenness(len(channel_of), rng) * (1 if "worse" in name else -1)
                percentile = channel_bootstrap(difference[:, None], channel_of, level=0.9, resamples=400, seed=run)
                bounds = (percentile[0].low, *(lower_bound(difference, channel_of, a) for a in (0.05, 0.0025)))
                wrong += [bound is not None and bound > 0 for bound in bounds]
            cells = " | ".join(f"{100 * share:.1f} %" for share in wrong / runs)
            lines.append(f"| {channels} | {name} | {cells} |")
    return lines


def main(
    predictions: Annotated[
        list[Path] | None, typer.Argument(help="predictions.parquet of finetunes in a store")
    ] = None,
    runs: Annotated[int, typer.Option(help="Simulated years for each cell")] = 1000,
) -> None:
    """Print both tables."""
    settings = Settings(_env_file=None)
    real = real_differences(predictions or []) if predictions else ()
    if len(real):
        print(f"Drawn from {len(real[0])} real differences, sd {real[0].std(axis=0).round(1)} (F1, SODA_c)\n")
    print("| gate videos | challenger | promoted in one look | within 20 looks |\n| ---: | --- | ---: | ---: |")
    for videos in (33, 100, 300):
        for name, kind in KINDS.items():
            first, ever = promotions(videos, kind, runs, settings, real)
            print(f"| {videos} | {name} | {100 * first:.1f} % | {100 * ever:.1f} % |", flush=True)
    print("\nHow often a lower bound lies above the truth:\n")
    print("\n".join(bound_errors(2 * runs)))


if __name__ == "__main__":
    typer.run(main)
