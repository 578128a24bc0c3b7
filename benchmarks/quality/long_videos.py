"""Long videos: time and memory of one of many hours, and whether windows leave seams.

    .venv/bin/python -m benchmarks.quality.long_videos ADAPTER FOLDER… [--hours 8]

The talks of the folders are put end to end to make long ones, which are judged by their own chapters, and by where in
the video chapters are found at all. Seams are looked for in each transcript by itself: chapters that start where one
window takes over from the next, against the share of segments that lie there.
"""

import resource
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.quality.study import load
from chapter_assets.chapters.chapterlist import Chapter
from chapter_assets.chapters.metrics import score_video
from chapter_assets.inference.adapters import load_adapter
from chapter_assets.inference.choosers import HeadChooser
from chapter_assets.settings import Settings
from chapter_assets.transcripts.segments import Transcript
from chapter_assets.windows.build import cut_transcript
from chapter_assets.windows.cutting import most_central

NEAR_A_SEAM = (0, 1, 2, 3, 5, 10, 20)  # segments from the nearest place where the owning window changes


def joined(talks: Sequence[tuple[Transcript, list[Chapter]]], seconds: float) -> tuple[Transcript, list[Chapter]]:
    """The talks one after the other, again and again, until they last `seconds`; their chapters likewise."""
    segments, chapters, offset, number = [], [], 0.0, 0
    while offset < seconds:
        part, gold = talks[number % len(talks)]
        segments += [replace(s, start=s.start + offset, end=s.end + offset) for s in part.segments]
        chapters += [replace(c, start=c.start + offset) for c in gold]
        offset, number = offset + part.duration, number + 1
    return Transcript("joined", "A day of talks", offset, tuple(segments)), chapters


def seams(chooser: HeadChooser, transcript: Transcript, starts: list[int]) -> tuple[Counter[int], Counter[int]]:
    """Distance to the nearest seam (segments): of all segments, and of those that start a chapter."""
    owner = most_central(cut_transcript(chooser.builder, transcript, chooser.budget, chooser.overlap).ranges)
    edges = [i for i in range(1, len(owner)) if owner[i] != owner[i - 1]]
    if not edges:
        return Counter(), Counter()
    distance = [min(abs(i - edge) for edge in edges) for i in range(len(owner))]
    return Counter(distance), Counter(distance[i] for i in starts if i)


def main(
    adapter: Annotated[Path, typer.Argument(help="Folder of an adapter")],
    folders: Annotated[list[Path], typer.Argument(help="Folders with chapters.json and asrs.json")],
    hours: Annotated[float, typer.Option(help="How long the long video is")] = 8.0,
) -> None:
    """Print both tables."""
    loaded = load_adapter(adapter, Settings().base_models_dir)
    predictor, chooser = loaded.predictor, loaded.predictor.chooser
    if not isinstance(chooser, HeadChooser):
        raise typer.BadParameter("the adapter writes time stamps itself; windows leave no seams in a list of scores")
    talks = [(transcript, gold) for folder in folders for transcript, _, gold in load(folder)]
    predictor.predict(joined(talks, 1.0)[0])  # warm

    heads = ("hours", "segments", "chapters", "by fifths", "gold", "F1", "control's F1", "s", "s per hour", "peak MiB")
    print(f"| {' | '.join(heads)} |\n|" + " ---: |" * len(heads))
    for length in (0.5, 1.0, 3.0, hours):
        video, gold = joined(talks, 3600 * length)
        began = time.perf_counter()
        chapters = predictor.predict(video).chapters
        spent, lasted = time.perf_counter() - began, video.duration / 3600
        control = loaded.control.predict(video).chapters
        fifths = Counter(min(int(5 * c.start / video.duration), 4) for c in chapters)
        f1, control_f1 = (score_video(gold, found, video.duration)["f1"] for found in (chapters, control))
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
        row = [
            f"{lasted:.1f}",
            len(video.segments),
            len(chapters),
            " ".join(str(fifths[i]) for i in range(5)),
            len(gold),
        ]
        row += [f"{f1:.1f}", f"{control_f1:.1f}", f"{spent:.0f}", f"{spent / lasted:.1f}", f"{peak:.0f}"]
        print("| " + " | ".join(map(str, row)) + " |", flush=True)

    everywhere: Counter[int] = Counter()
    chosen: Counter[int] = Counter()
    for transcript, _ in talks:
        all_here, chosen_here = seams(chooser, transcript, chooser.choose(transcript).starts)
        everywhere += all_here
        chosen += chosen_here
    print(f"\n{chosen.total()} chapters after the first, in transcripts of several windows\n")
    print("| segments from a seam | chapters that start there | segments that lie there |\n| --- | ---: | ---: |")
    for low, high in zip(NEAR_A_SEAM, (*NEAR_A_SEAM[1:], 10**9), strict=True):
        shares = (sum(n for d, n in c.items() if low <= d < high) / max(c.total(), 1) for c in (chosen, everywhere))
        name = f"{low}" if high == low + 1 else f"{low} and more" if high == 10**9 else f"{low} to {high - 1}"
        print(f"| {name} | " + " | ".join(f"{100 * share:.1f} %" for share in shares) + " |")


if __name__ == "__main__":
    typer.run(main)
